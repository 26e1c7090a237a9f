//! `tenuis compress`.

use super::{compress_options, open, print, recipe};
use crate::args::CompressArgs;
use crate::detach::detach;
use crate::exit::Failure;
use crate::plugin_dirs;
use crate::progress::Terminal;
use std::sync::Arc;
use tenuis_core::{Checkpoint, Ratio};
use tenuis_eval::report::bytes;
use tenuis_model::Tokenizer;
use tenuis_orchestrator::{Text, Workshop};

pub(crate) fn run(args: &CompressArgs) -> Result<(), Failure> {
    if args.work.detach {
        return print(&detach(&args.out)?);
    }
    let recipe = recipe(&args.recipe)?;
    let (plugins, codecs) = plugin_dirs::load(&args.work.plugins)?;
    let model = open(&args.model, &codecs)?;
    let calibration = match &args.calib {
        Some(path) => {
            let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
            Some(Text::open(path, &tokenizer)?)
        }
        None => None,
    };
    let workshop = Workshop::new(&plugins, &codecs, Arc::new(Terminal::new()), compress_options(&args.work));
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
