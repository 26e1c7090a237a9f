//! Writing a checkpoint in the format of another program, and holding it against its source.

use crate::error::RunError;
use crate::observer::Observer;
use crate::round_trip::{RoundTrip, check_export};
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{CodecRegistry, StoredWeights, Written};
use tenuis_export::{ExportOptions, ExportReport, Format, Source};
use tenuis_model::Model;

/// A finished export.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exported {
    /// Where it is and how large.
    pub written: Written,
    /// What became of every weight.
    pub report: ExportReport,
    /// What reading it again has shown.
    pub round_trip: RoundTrip,
}

/// Writes a model in a format, reads what was written and compares it before it appears at `target`.
///
/// # Errors
/// [`RunError::Export`] where the format has no form for the model, [`RunError::RoundTrip`] where what was written is not what
/// it should be. Nothing is left at `target` then.
pub fn export(
    model: &Model,
    codecs: &CodecRegistry,
    format: Format,
    target: &Path,
    options: &ExportOptions,
    observer: &Arc<dyn Observer>,
) -> Result<Exported, RunError> {
    let stored = StoredWeights::from_checkpoint(model.checkpoint())?;
    let source = Source { checkpoint: model.checkpoint(), stored: &stored, codecs, spec: model.spec() };
    let mut begun = false;
    let mut progress = |_: u64, total: u64| {
        if !begun {
            observer.begin(&format!("writing {}", format.name()), total);
            begun = true;
        }
        observer.advance(1);
    };
    let (sealed, report) = tenuis_export::write(&source, format, target, options, &mut progress)?;
    observer.end();
    observer.begin("reading it again", 0);
    let round_trip = check_export(model, sealed.dir(), codecs, &report, options.dtype)?;
    observer.end();
    Ok(Exported { written: sealed.commit()?, report, round_trip })
}
