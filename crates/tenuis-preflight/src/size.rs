//! Bytes and seconds as people read them.

use std::fmt;

/// Shows bytes in the largest binary unit of which there is at least one.
///
/// ```
/// use tenuis_preflight::Size;
/// let shown = [0, 1023, 1536, 300 << 20, (3 << 30) + (1 << 29)].map(|bytes| Size(bytes).to_string());
/// assert_eq!(shown, ["0 B", "1023 B", "1.5 KiB", "300.0 MiB", "3.5 GiB"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut units) = (self.0 as f64, ["B", "KiB", "MiB", "GiB", "TiB"].into_iter());
        let mut unit = units.next().unwrap_or_default();
        for larger in units {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, larger);
        }
        let text = if unit == "B" { format!("{value} B") } else { format!("{value:.1} {unit}") };
        f.pad(&text)
    }
}

/// Shows seconds, minutes or hours with about two digits: an estimate has no more.
///
/// ```
/// use tenuis_preflight::Span;
/// let shown = [0.02, 7.26, 61.0, 3600.0, 100_000.0].map(|seconds| Span(seconds).to_string());
/// assert_eq!(shown, ["< 1 s", "7 s", "61 s", "60 min", "28 h"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Span(pub f64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            seconds if seconds < 1.0 => "< 1 s".to_owned(),
            seconds if seconds < 120.0 => format!("{seconds:.0} s"),
            seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
            seconds => format!("{:.0} h", seconds / 3600.0),
        };
        f.pad(&text)
    }
}
