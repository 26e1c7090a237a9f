//! `tenuis compress`.

use super::{compress_options, open, print};
use crate::args::CompressArgs;
use crate::exit::Failure;
use crate::plugin_dirs;
use crate::progress::Terminal;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, Ratio};
use tenuis_eval::report::bytes;
use tenuis_model::Tokenizer;
use tenuis_orchestrator::{LoadedRecipe, Text, Workshop, builtin_recipes};

pub(crate) fn run(args: &CompressArgs) -> Result<(), Failure> {
    let recipe = recipe(&args.recipe)?;
    let (plugins, codecs) = plugin_dirs::load(&args.work.plugins)?;
    let model = open(&args.model, &codecs)?;
    let calibration = match &args.calib {
        Some(path) => {
            let tokenizer = Tokenizer::from_dir(&args.model, model.spec().vocab)?;
            Some(Text::open(path, &tokenizer)?)
        }
        None => None,
    };
    let workshop = Workshop {
        plugins: &plugins,
        codecs: &codecs,
        observer: Arc::new(Terminal::new()),
        options: compress_options(&args.work),
    };
    workshop.check(&model, &recipe, calibration.as_ref())?;
    if let Some(parent) = args.out.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| Failure::output(parent, e))?;
    }
    let candidate = workshop.compress(&model, &recipe, calibration.as_ref(), &args.out)?;
    let (before, after) = (model.checkpoint().file_bytes(), Checkpoint::open(&candidate.dir)?.file_bytes());
    print(&format!(
        "{}: {} -> {} ({:.2}x smaller){} in {:.1} s\n",
        candidate.dir.display(),
        bytes(before),
        bytes(after),
        Ratio::of(before, after).get(),
        if candidate.compression.reused { ", reused" } else { "" },
        candidate.compression.seconds,
    ))
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
