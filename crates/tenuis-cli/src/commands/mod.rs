//! The commands, one file each.

pub(crate) mod allocate;
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
pub(crate) mod recipe;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod train;

use crate::args::WorkArgs;
use crate::exit::Failure;
use comfy_table::{Table, presets};
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tenuis_core::hub::HubCache;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::Model;
use tenuis_orchestrator::estimates::{Plan, Probe, Room, Size};
use tenuis_orchestrator::recipe::builtin_search;
use tenuis_orchestrator::{CompressOptions, LoadedRecipe, builtin_recipes};

/// Opens a model, printing what is odd about its files.
fn open(dir: &Path, codecs: &CodecRegistry) -> Result<Model, Failure> {
    let checkpoint = Checkpoint::open(&locate(dir)?)?;
    for warning in checkpoint.warnings() {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    let model = Model::open(Arc::new(checkpoint), codecs)?;
    for warning in model.warnings() {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    Ok(model)
}

/// A path, or the snapshot in the cache of downloads that a name of the Hugging Face hub stands for.
fn locate(model: &Path) -> Result<PathBuf, Failure> {
    match model.to_str() {
        Some(text) => Ok(tenuis_core::hub::locate(text, &HubCache::from_env())?),
        None => Ok(model.to_owned()),
    }
}

/// What recipes will take, as tables, and what is free.
fn planned(probe: &Probe, plans: &[(String, Plan)], dir: &Path) -> String {
    let disk = probe
        .write_bytes_per_second
        .map_or_else(String::new, |rate| format!(", {:.0} MB/s to disk", rate / 1e6));
    let mut text = format!(
        "this machine: {:.0} GFLOP/s, {:.1} GB/s of memory{disk}, {} threads\n",
        probe.square_gflops,
        probe.read_bytes_per_second / 1e9,
        probe.threads
    );
    let room = Room::at(dir);
    for (name, plan) in plans {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        let mut rows = plan.rows().into_iter();
        if let Some(heading) = rows.next() {
            table.set_header(heading);
        }
        table.add_rows(rows);
        let verdict = match plan.check(&room) {
            Ok(()) => "fits".to_owned(),
            Err(error) => format!("does not fit: {error}"),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name}: {verdict}\n{table}\n");
    }
    let free = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |b| Size(b).to_string());
    let (ram, disk) = (free(room.ram_available), free(room.disk_available));
    let _ = write!(text, "\nfree: {ram} of memory, {disk} on the disk; nothing was done\n");
    text
}

/// The options that every compressing command shares.
fn compress_options(work: &WorkArgs) -> CompressOptions {
    let mut options = CompressOptions::default();
    options.allow_nonfinite = work.allow_nonfinite;
    options.fresh = work.fresh;
    options.max_memory = work.max_memory.map(|gb| (gb.max(0.0) * 1e9) as u64);
    options.save_every = Duration::from_secs_f64(work.save_every.max(0.0));
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
    let mut builtin = builtin_recipes()?;
    builtin.push(builtin_search()?);
    if !path.exists() {
        if let Some(found) = builtin.iter().find(|r| path.as_os_str() == r.recipe.name.as_str()) {
            return Ok(found.clone());
        }
        builtin.pop();
        let names: Vec<&str> = builtin.iter().map(|r| r.recipe.name.as_str()).collect();
        return Err(Failure::usage(format!(
            "{}: no such recipe file; built-in recipes are {}",
            path.display(),
            names.join(", ")
        )));
    }
    Ok(LoadedRecipe::open(path)?)
}
