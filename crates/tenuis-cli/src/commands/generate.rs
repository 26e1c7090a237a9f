//! `tenuis generate`.

use super::open;
use crate::args::GenerateArgs;
use crate::exit::Failure;
use crate::plugin_dirs;
use serde_json::Value;
use std::io::Write;
use std::ops::ControlFlow;
use tenuis_core::Checkpoint;
use tenuis_model::{GenerateOptions, Tokenizer};

pub(crate) fn run(args: &GenerateArgs) -> Result<(), Failure> {
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let model = open(&args.model, &codecs)?;
    let tokenizer = Tokenizer::from_dir(&args.model, model.spec().vocab)?;
    let prompt = tokenizer.encode(&args.prompt, true)?;
    if prompt.is_empty() {
        return Err(Failure::usage("--prompt is empty; give at least one word to continue"));
    }
    let mut options = GenerateOptions::default();
    options.max_new_tokens = args.max_new_tokens;
    options.temperature = args.temperature;
    options.top_k = args.top_k;
    options.top_p = args.top_p;
    options.seed = args.seed;
    options.eos = eos_tokens(model.checkpoint());

    // The prompt goes through the stream too: whether a space stands before a word depends on what came before it.
    let mut text = tokenizer.decode_stream();
    let mut stdout = std::io::stdout().lock();
    for &token in &prompt {
        if let Some(piece) = text.push(token)? {
            write!(stdout, "{piece}").map_err(|e| Failure::stdout(&e))?;
        }
    }
    let mut failed = None;
    model.generate(&prompt, &options, |token| {
        let shown = text.push(token).map_err(Failure::from).and_then(|piece| {
            let piece = piece.unwrap_or_default();
            write!(stdout, "{piece}").and_then(|()| stdout.flush()).map_err(|e| Failure::stdout(&e))
        });
        failed = shown.err();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match failed {
        Some(failure) => Err(failure),
        None => writeln!(stdout).map_err(|e| Failure::stdout(&e)),
    }
}

/// The tokens that end a text: `eos_token_id` of `generation_config.json`, else of `config.json`; a number or a list.
fn eos_tokens(checkpoint: &Checkpoint) -> Vec<u32> {
    let generation = std::fs::read(checkpoint.dir().join("generation_config.json")).ok();
    let generation: Option<Value> = generation.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let ids = generation
        .as_ref()
        .and_then(|g| g.get("eos_token_id"))
        .or_else(|| checkpoint.config().get("eos_token_id"));
    let number = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match ids {
        Some(Value::Array(ids)) => ids.iter().filter_map(number).collect(),
        Some(id) => number(id).into_iter().collect(),
        None => Vec::new(),
    }
}
