//! `tenuis export`.

use super::{open, print};
use crate::args::ExportArgs;
use crate::exit::Failure;
use crate::plugin_dirs;
use crate::progress::Terminal;
use std::fmt::Write;
use std::sync::Arc;
use tenuis_core::DType;
use tenuis_eval::report::bytes;
use tenuis_orchestrator::formats::{ExportOptions, Format};
use tenuis_orchestrator::{Exported, Observer, export};

pub(crate) fn run(args: &ExportArgs) -> Result<(), Failure> {
    // Both were checked when the command line was read.
    let format = Format::from_name(&args.format)
        .ok_or_else(|| Failure::usage(format!("--format {} is not known", args.format)))?;
    let mut options = ExportOptions::default();
    options.dtype = args.dtype.as_deref().and_then(DType::from_name);
    options.max_shard_bytes = args.shard_mb.saturating_mul(1_000_000).max(1);
    options.overwrite = args.overwrite;
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let model = open(&args.model, &codecs)?;
    let observer: Arc<dyn Observer> = Arc::new(Terminal::new());
    let done = export(&model, &codecs, format, &args.out, &options, &observer)?;
    let packs = !matches!(format, Format::Dense | Format::Gguf);
    if packs && done.report.layers.iter().all(|l| l.from == "dense") {
        observer.warn(&format!(
            "no weight of this model is packed, so that nothing in the {} file is either; compress it first, for example \
             with --recipe int4-gptq",
            format.name()
        ));
    }
    for (name, why) in done.report.dense_by_need() {
        observer.warn(&format!("{name} is dense in this format: {why}"));
    }
    print(&text(&done))
}

fn text(done: &Exported) -> String {
    let mut text = format!("{}: {}", done.written.dir.display(), bytes(done.written.file_bytes));
    let counts: Vec<String> =
        done.report.counts().into_iter().map(|(kind, count)| format!("{count} in {kind}")).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, ", matrices: {}", counts.join(", "));
    let trip = &done.round_trip;
    let _ = writeln!(
        text,
        "read again: {} tensors and {} weights are what they should be; logits of {} tokens differ by {:.1e} of the largest \
         ({:.0e} allowed)",
        trip.tensors, trip.weights, trip.tokens, trip.logits, trip.tolerance
    );
    text
}
