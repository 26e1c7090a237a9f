//! `tenuis logits`: the model held against other implementations.

use super::open;
use crate::args::LogitsArgs;
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use tenuis_model::ModelError;

pub(crate) fn run(args: &LogitsArgs) -> Result<(), Failure> {
    let (_plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let model = open(&args.model, &codecs)?;
    let file =
        candle_core::safetensors::load(&args.ids, &Device::Cpu).map_err(|e| Failure::input(&args.ids, e))?;
    let ids = file.get("input_ids").ok_or_else(|| {
        Failure::input(&args.ids, "holds no tensor input_ids; write it as i64 [batch, seq]")
    })?;
    let (batch, seq) = ids.dims2().map_err(|_| {
        Failure::input(&args.ids, format!("input_ids is {:?}, expected [batch, seq]", ids.dims()))
    })?;
    let ids: Vec<i64> = ids
        .to_dtype(DType::I64)
        .and_then(|t| t.flatten_all())
        .and_then(|t| t.to_vec1())
        .map_err(|e| Failure::input(&args.ids, e))?;
    let vocab = model.spec().vocab;
    let tokens = ids
        .iter()
        .map(|&id| u32::try_from(id).ok().filter(|&t| (t as usize) < vocab).ok_or(id))
        .collect::<Result<Vec<u32>, i64>>()
        .map_err(|id| {
            Failure::input(&args.ids, format!("token id {id} is outside the vocabulary 0..{vocab}"))
        })?;
    let mut out: HashMap<String, Tensor> = HashMap::new();
    out.insert("logits".to_owned(), model.logits(&tokens, batch, seq)?);
    for (index, hidden) in model.hidden_states(&tokens, batch, seq)?.into_iter().enumerate() {
        out.insert(format!("hidden_states.{index}"), hidden);
    }
    for tensor in out.values_mut() {
        *tensor = tensor.contiguous().map_err(ModelError::from)?;
    }
    // Beside the target first, so that no half-written file appears under its name.
    let name = args.out.file_name().ok_or_else(|| Failure::usage("--out must name a file"))?;
    let mut hidden_name = std::ffi::OsString::from(".");
    hidden_name.push(name);
    hidden_name.push(".tmp");
    let temporary = args.out.with_file_name(hidden_name);
    candle_core::safetensors::save(&out, &temporary)
        .map_err(|e| Failure::new(Code::Output, format!("{}: {e}", args.out.display())))?;
    std::fs::rename(&temporary, &args.out).map_err(|e| Failure::output(&args.out, e))
}
