//! `tenuis compress`.

use super::{compress_options, open, planned, print, recipe};
use crate::args::CompressArgs;
use crate::detach::detach;
use crate::exit::Failure;
use crate::plugin_dirs;
use crate::progress::Terminal;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, Ratio};
use tenuis_eval::Windows;
use tenuis_eval::report::bytes;
use tenuis_model::Tokenizer;
use tenuis_orchestrator::estimates::Probe;
use tenuis_orchestrator::{Gatekeeper, MeasureRequest, Text, Workshop};

/// The longest windows that gates are decided on.
const GATE_WINDOW: usize = 2048;

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
    let gate_text = match &args.gate_data {
        Some(path) => {
            let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
            let text = Text::open(path, &tokenizer)?;
            let window = model.spec().max_positions.min(GATE_WINDOW);
            let windows = Windows::of(text.data.tokens.len(), window, None);
            Some((text, windows.map_err(|e| Failure::input(path, e))?))
        }
        None => None,
    };
    let gates = gate_text
        .as_ref()
        .map(|(text, windows)| Gatekeeper::new(&model, text, *windows, &[], MeasureRequest::default()));
    let workshop = Workshop::new(&plugins, &codecs, Arc::new(Terminal::new()), compress_options(&args.work))
        .with_gates(gates.as_ref());
    workshop.check(&model, &recipe, calibration.as_ref())?;
    let parent = args.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if args.work.dry_run {
        let probe = Probe::run(parent).map_err(|e| Failure::output(parent, e))?;
        let plan = workshop.plan(&model, &recipe, calibration.as_ref(), None, Some(&probe))?;
        return print(&planned(&probe, &[(recipe.recipe.name.clone(), plan)], parent));
    }
    workshop.refuse_without_room(&model, &recipe, calibration.as_ref(), parent)?;
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
