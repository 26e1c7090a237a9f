//! Which classes of devices a model fits, by memory alone.

use crate::compare::peak;
use crate::data::Entry;
use crate::format::bytes;

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// Classes of devices and their memory, smallest first.
const CLASSES: [(&str, f64); 7] = [
    ("an embedded board with 128 MiB", 128.0 * MIB),
    ("a single-board computer with 512 MiB", 512.0 * MIB),
    ("a single-board computer with 2 GiB", 2.0 * GIB),
    ("a phone with 6 GiB", 6.0 * GIB),
    ("a laptop with 16 GiB", 16.0 * GIB),
    ("a workstation with 64 GiB", 64.0 * GIB),
    ("a server with 512 GiB", 512.0 * GIB),
];
/// The share of a device's memory that a model may take: system and application need the rest.
const USABLE: f64 = 0.5;
/// Memory at work ÷ bytes of the files, assumed where memory was not measured: files, activations and a short cache.
const ESTIMATE: f64 = 1.2;

/// What a model needs at work in bytes, and whether that was measured: peak memory and that of the empty process, or else the
/// files' bytes and a fifth more.
pub(crate) fn need(entry: &Entry) -> (f64, bool) {
    let empty = entry.memory.as_ref().and_then(|memory| memory.empty_bytes).unwrap_or(0) as f64;
    peak(entry).map_or((ESTIMATE * entry.size.bytes as f64, false), |peak| (peak + empty, true))
}

/// The smallest class of devices that leaves a model half of its memory.
pub(crate) fn class(need: f64) -> Option<&'static str> {
    CLASSES.iter().find(|(_, memory)| need <= USABLE * memory).map(|&(name, _)| name)
}

/// A sentence on where a candidate fits, and the baseline beside it.
pub(crate) fn sentence(baseline: &Entry, candidate: &Entry) -> String {
    let (own, measured) = need(candidate);
    let how = if measured {
        "at its peak, process included"
    } else {
        "as estimated from its files; memory was not measured"
    };
    let fits = class(own)
        .map_or("fits none of the classes of devices that are looked at".to_owned(), |class| {
            format!("fits {class} or anything larger")
        });
    let before = class(need(baseline).0);
    let besides = match (before, class(own)) {
        (Some(a), Some(b)) if a == b => " The baseline fits the same class.".to_owned(),
        (Some(a), Some(_)) => format!(" The baseline needs {a}."),
        (None, Some(_)) => " The baseline fits none of the classes.".to_owned(),
        _ => String::new(),
    };
    format!("It takes {} {how}, and {fits}, by memory alone.{besides}", bytes(own))
}
