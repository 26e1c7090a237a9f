//! `tenuis probe-memory`: the child process that `eval` measures memory with.

use super::print;
use crate::args::ProbeArgs;
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use serde_json::Value;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, StoredWeights};
use tenuis_eval::memory::{ProbeResult, READY, claims, of_this_process};
use tenuis_model::{Model, Session};

pub(crate) fn run(args: &ProbeArgs) -> Result<(), Failure> {
    let mut ran = None;
    if let Some(dir) = &args.model {
        let checkpoint = Checkpoint::open(dir)?;
        let codecs = codecs(&checkpoint, args)?;
        let model = Model::open(Arc::new(checkpoint), &codecs)?;
        let vocab = model.spec().vocab as u32;
        let mut session = Session::new(&model, 1, args.prompt_tokens + args.decode_tokens)?;
        let prompt: Vec<u32> = (0..args.prompt_tokens as u32).map(|i| i * 7919 % vocab).collect();
        session.forward(&prompt)?;
        print(&format!("{READY}\n"))?;
        for i in 0..args.decode_tokens as u32 {
            session.forward(&[i % vocab])?;
        }
        drop(session);
        ran = Some(model);
    }
    let memory = of_this_process()
        .ok_or_else(|| Failure::new(Code::Internal, "this system does not tell a process's memory"))?;
    let positions = args.prompt_tokens + args.decode_tokens;
    let claims = ran.as_ref().and_then(|model| claims(&memory, model, positions));
    let result = serde_json::to_string(&ProbeResult { peak_bytes: memory.peak_bytes, claims })
        .map_err(|e| Failure::new(Code::Internal, e))?;
    print(&result)
}

/// The codecs that the checkpoint needs. Plugins are loaded only for kinds of their own: reading and hashing a library
/// takes memory that is none of the model's.
fn codecs(checkpoint: &Checkpoint, args: &ProbeArgs) -> Result<CodecRegistry, Failure> {
    let builtin = CodecRegistry::builtin();
    let stored = StoredWeights::from_checkpoint(checkpoint)?;
    let known = |descriptor: &Value| {
        let kind = descriptor.get("kind").and_then(Value::as_str);
        kind.is_some_and(|kind| builtin.kinds().any(|k| k == kind))
    };
    if stored.descriptors().all(|(_, descriptor)| known(descriptor)) {
        return Ok(builtin);
    }
    Ok(plugin_dirs::load(&args.plugins)?.1)
}
