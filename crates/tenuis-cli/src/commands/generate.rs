//! `tenuis generate`.

use super::open;
use crate::args::GenerateArgs;
use crate::exit::Failure;
use crate::plugin_dirs;
use std::io::Write;
use std::ops::ControlFlow;
use tenuis_model::{GenerateOptions, Tokenizer};

pub(crate) fn run(args: &GenerateArgs) -> Result<(), Failure> {
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let model = open(&args.model, &codecs)?;
    let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
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
    options.eos = model.eos_tokens();

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
