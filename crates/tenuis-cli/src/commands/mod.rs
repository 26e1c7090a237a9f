//! The commands, one file each.

pub(crate) mod compress;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod logits;
pub(crate) mod measure;
pub(crate) mod metrics;
pub(crate) mod plugin_worker;
pub(crate) mod plugins;
pub(crate) mod probe;
pub(crate) mod ratings;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod train;

use crate::args::WorkArgs;
use crate::exit::Failure;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::Model;
use tenuis_orchestrator::{CompressOptions, LoadedRecipe, builtin_recipes};

/// Opens a model, printing what is odd about its files.
fn open(dir: &Path, codecs: &CodecRegistry) -> Result<Model, Failure> {
    let checkpoint = Checkpoint::open(dir)?;
    for warning in checkpoint.warnings() {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    let model = Model::open(Arc::new(checkpoint), codecs)?;
    for warning in model.warnings() {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    Ok(model)
}

/// The options that every compressing command shares.
fn compress_options(work: &WorkArgs) -> CompressOptions {
    let mut options = CompressOptions::default();
    options.allow_nonfinite = work.allow_nonfinite;
    options.fresh = work.fresh;
    options.max_shard_bytes = work.shard_mb.saturating_mul(1_000_000).max(1);
    options
}

/// Prints to standard output.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|e| Failure::stdout(&e))
}

/// A recipe file, or a built-in recipe where no such file exists.
fn recipe(path: &Path) -> Result<LoadedRecipe, Failure> {
    let builtin = builtin_recipes()?;
    if !path.exists() {
        if let Some(found) = builtin.iter().find(|r| path.as_os_str() == r.recipe.name.as_str()) {
            return Ok(found.clone());
        }
        let names: Vec<&str> = builtin.iter().map(|r| r.recipe.name.as_str()).collect();
        return Err(Failure::usage(format!(
            "{}: no such recipe file; built-in recipes are {}",
            path.display(),
            names.join(", ")
        )));
    }
    Ok(LoadedRecipe::open(path)?)
}
