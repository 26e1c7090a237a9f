//! `tenuis probe-memory`: the child process that `eval` measures memory with.

use super::print;
use crate::args::ProbeArgs;
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use std::sync::Arc;
use tenuis_core::Checkpoint;
use tenuis_eval::memory::{ProbeResult, peak_resident_bytes};
use tenuis_model::{Model, Session};

pub(crate) fn run(args: &ProbeArgs) -> Result<(), Failure> {
    // The empty process loads the plugins too, so that the difference is the model's alone.
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    if let Some(dir) = &args.model {
        let model = Model::open(Arc::new(Checkpoint::open(dir)?), &codecs)?;
        let vocab = model.spec().vocab as u32;
        let mut session = Session::new(&model, 1, args.prompt_tokens + args.decode_tokens)?;
        let prompt: Vec<u32> = (0..args.prompt_tokens as u32).map(|i| i * 7919 % vocab).collect();
        session.forward(&prompt)?;
        for i in 0..args.decode_tokens as u32 {
            session.forward(&[i % vocab])?;
        }
    }
    let peak_bytes = peak_resident_bytes()
        .ok_or_else(|| Failure::new(Code::Internal, "this system does not tell a process's peak memory"))?;
    let result = serde_json::to_string(&ProbeResult { peak_bytes }).map_err(|e| Failure::new(Code::Internal, e))?;
    print(&result)
}
