//! A model as a plugin sees it, checked against what its technique asks for.

#![expect(unsafe_code, reason = "C functions that receive raw pointers from a plugin")]

use crate::callbacks::{Context, Refusal, with_status};
use crate::error::PluginError;
use crate::model::{ModelCheckpoint, ModelInput, TokenSource, callbacks, stored_names};
use crate::technique::Technique;
use crate::views::{Arena, EMPTY};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;
use tenuis_abi::{
    TN_INVALID, TN_IO, TN_OOM, tn_checkpoint, tn_err, tn_linear, tn_model, tn_tensor, tn_tokens, tn_weight,
};
use tenuis_core::{Tensor, Weight, WeightError};

/// A [`tn_model`] with everything that it refers to, except what the caller's [`ModelInput`] borrows.
pub(crate) struct ModelView<'a> {
    model: *const tn_model,
    _arena: Arena,
    borrowed: PhantomData<&'a ()>,
}

/// What `tn_tokens.ctx` points to.
struct TokenReader {
    context: Arc<Context>,
    /// The caller's, with its lifetime hidden: the view, which the arena belongs to, keeps it borrowed.
    source: *const (dyn TokenSource + 'static),
    sequences: usize,
    sequence_length: usize,
}

/// What `tn_checkpoint.ctx` points to.
struct Decoder {
    context: Arc<Context>,
    weights: Vec<Weight>,
}

impl<'a> ModelView<'a> {
    /// Checks the model and makes the view.
    pub(crate) fn new(
        technique: &Technique,
        input: &ModelInput<'a>,
        context: &Arc<Context>,
    ) -> Result<Self, PluginError> {
        let wrong = |problem: String| PluginError::Input { technique: technique.id().to_owned(), problem };
        check(technique, input).map_err(wrong)?;
        let mut arena = Arena::default();
        let mut checkpoint = |checkpoint: &Arc<ModelCheckpoint>| {
            view_checkpoint(&mut arena, checkpoint, context).map_err(|(name, source)| {
                PluginError::InputWeight {
                    technique: technique.id().to_owned(),
                    name,
                    source: Box::new(source),
                }
            })
        };
        let student = checkpoint(&input.student)?;
        let teacher = input.teacher.as_ref().map_or(Ok(std::ptr::null()), checkpoint)?;
        let mut tokens = |source: Option<&dyn TokenSource>| {
            source.map_or(std::ptr::null(), |source| view_tokens(&mut arena, source, context))
        };
        let (train, valid) = (tokens(input.train), tokens(input.valid));
        let mut statistics = Vec::new();
        for (key, tensor) in &input.statistics {
            let name = arena.keep_text(key.clone());
            let view = arena.stored(name, tensor.clone(), true);
            statistics.push(view.map_err(|e| wrong(format!("statistic {key:?}: {e}")))?);
        }
        let mut state_dir = EMPTY;
        if let Some(dir) = &input.state_dir {
            // Anything else was refused above.
            state_dir = arena.keep_text(dir.to_string_lossy().into_owned());
        }
        let n_statistics = statistics.len() as u32;
        let statistics = arena.keep_slice(statistics);
        let model = arena.keep(tn_model {
            struct_size: size_of::<tn_model>() as u32,
            n_statistics,
            student,
            teacher,
            train,
            valid,
            statistics,
            state_dir,
            ctx: Arc::as_ptr(context).cast_mut().cast(),
            eval_loss: input.eval_loss.is_some().then_some(callbacks::eval_loss),
        });
        Ok(Self { model, _arena: arena, borrowed: PhantomData })
    }

    pub(crate) const fn as_ptr(&self) -> *const tn_model {
        self.model
    }
}

/// What the technique cannot do without, and what no technique could use.
fn check(technique: &Technique, input: &ModelInput<'_>) -> Result<(), String> {
    let caps = technique.capabilities();
    if caps.needs_teacher() && input.teacher.is_none() {
        return Err("it needs a teacher, and there is none; name a checkpoint to learn from".to_owned());
    }
    if caps.needs_tokens() && input.train.is_none() {
        return Err("it needs tokens, and there are none; name a text to train or calibrate on".to_owned());
    }
    for (what, source) in [("training", input.train), ("validation", input.valid)] {
        if source.is_some_and(|s| s.sequences() == 0 || s.sequence_length() == 0) {
            return Err(format!(
                "the {what} tokens make up no sequence; give a longer text or a shorter sequence length"
            ));
        }
    }
    if let Some(dir) = &input.state_dir {
        let shown = dir.display();
        if dir.to_str().is_none() || !dir.is_absolute() {
            return Err(format!("state directory {shown} is not an absolute path of UTF-8 text"));
        }
        if !dir.is_dir() {
            return Err(format!("state directory {shown} is not a directory; create it first"));
        }
    }
    for checkpoint in std::iter::once(&input.student).chain(&input.teacher) {
        let components = checkpoint.weights.iter().flat_map(|(module, weight)| stored_names(module, weight));
        if let Some(name) = components.into_iter().find(|name| checkpoint.tensors.contains_key(name)) {
            return Err(format!("{name} is a tensor and a component of a weight at once"));
        }
    }
    Ok(())
}

fn view_checkpoint(
    arena: &mut Arena,
    checkpoint: &Arc<ModelCheckpoint>,
    context: &Arc<Context>,
) -> Result<*const tn_checkpoint, (String, WeightError)> {
    // Sorted by name, components among the others.
    let mut stored: BTreeMap<String, Tensor> = checkpoint.tensors.clone();
    let mut weights = Vec::new();
    for (index, (module, weight)) in checkpoint.weights.iter().enumerate() {
        weights.push(view_weight(arena, index, module, weight).map_err(|e| (module.clone(), e))?);
        for component in weight.components() {
            stored.insert(format!("{module}.{}", component.suffix), component.tensor);
        }
    }
    let mut tensors: Vec<*const tn_tensor> = Vec::new();
    for (name, tensor) in stored {
        // A type that we do not know can be kept, removed and copied, not read.
        if tensor.dtype().known().is_some() {
            let text = arena.keep_text(name.clone());
            tensors.push(arena.stored(text, tensor, true).map_err(|e| (name, e.into()))?);
        }
    }
    let decoder = arena.keep(Decoder {
        context: Arc::clone(context),
        weights: checkpoint.weights.values().map(Arc::clone).collect(),
    });
    let (n_weights, n_tensors) = (weights.len() as u32, tensors.len() as u32);
    let (weights, tensors) = (arena.keep_slice(weights), arena.keep_slice(tensors));
    let config_json = arena.keep_text(checkpoint.config.to_string());
    let spec_json = arena.keep_text(checkpoint.spec.to_string());
    let hash = arena.keep_text(checkpoint.hash.clone().unwrap_or_default());
    Ok(arena.keep(tn_checkpoint {
        struct_size: size_of::<tn_checkpoint>() as u32,
        n_weights,
        n_tensors,
        reserved: 0,
        config_json,
        spec_json,
        hash,
        weights,
        tensors,
        ctx: decoder.cast_mut().cast(),
        decode: Some(decode),
    }))
}

fn view_weight(
    arena: &mut Arena,
    index: usize,
    module: &str,
    weight: &Weight,
) -> Result<*const tn_linear, WeightError> {
    let [out_features, in_features] = weight.shape();
    let mut components: Vec<*const tn_tensor> = Vec::new();
    for component in weight.components() {
        let name = arena.keep_text(component.suffix.into_owned());
        components.push(arena.stored(name, component.tensor, true)?);
    }
    let descriptor = arena.keep_text(weight.descriptor().to_string());
    let n_components = components.len() as u32;
    let components = arena.keep_slice(components);
    let weight = arena.keep(tn_weight {
        struct_size: size_of::<tn_weight>() as u32,
        n_components,
        out_features: out_features as u64,
        in_features: in_features as u64,
        descriptor,
        components,
        dense: std::ptr::null(),
        mask: std::ptr::null(),
        original: std::ptr::null(),
    });
    let name = arena.keep_text(module.to_owned());
    Ok(arena.keep(tn_linear {
        struct_size: size_of::<tn_linear>() as u32,
        index: index as u32,
        name,
        weight,
        bias: std::ptr::null(),
    }))
}

fn view_tokens(arena: &mut Arena, source: &dyn TokenSource, context: &Arc<Context>) -> *const tn_tokens {
    let (sequences, sequence_length) = (source.sequences(), source.sequence_length());
    let hash = arena.keep_text(source.hash().unwrap_or_default().to_owned());
    #[expect(clippy::transmute_ptr_to_ptr, reason = "a cast cannot extend the lifetime in a trait object")]
    // SAFETY: only the lifetime changes; the view, and with it every pointer to the reader, ends before the caller's
    // borrow does.
    let source = unsafe {
        std::mem::transmute::<*const (dyn TokenSource + '_), *const (dyn TokenSource + 'static)>(source)
    };
    let reader = TokenReader { context: Arc::clone(context), source, sequences, sequence_length };
    let reader = arena.keep(reader);
    arena.keep(tn_tokens {
        struct_size: size_of::<tn_tokens>() as u32,
        reserved: 0,
        n_sequences: sequences as u64,
        sequence_length: sequence_length as u64,
        hash,
        ctx: reader.cast_mut().cast(),
        read: Some(read),
    })
}

/// `tn_tokens.read`.
unsafe extern "C" fn read(ctx: *mut c_void, first: u64, count: u64, out: *mut u32, err: *mut tn_err) -> i32 {
    // SAFETY: a plugin passes the context that it was given, while it is valid.
    let Some(reader) = (unsafe { ctx.cast::<TokenReader>().as_ref() }) else { return TN_INVALID };
    let work = |_: &Context| -> Result<(), Refusal> {
        let last = first.checked_add(count).filter(|&last| last <= reader.sequences as u64);
        if last.is_none() || out.is_null() {
            let problem = format!("sequences {first} + {count} of {}, or out is null", reader.sequences);
            return Err((TN_INVALID, problem));
        }
        let Some(values) = (count as usize).checked_mul(reader.sequence_length) else {
            return Err((TN_OOM, format!("{count} sequences are too many at once")));
        };
        // SAFETY: a plugin passes initialised memory for the sequences that it asks for.
        let out = unsafe { std::slice::from_raw_parts_mut(out, values) };
        // SAFETY: the view keeps the source borrowed, and it may be shared between threads.
        let source = unsafe { &*reader.source };
        source.read(first as usize, out).map_err(|e| (TN_IO, format!("tokens: {e}")))
    };
    // SAFETY: the context lives as long as the reader; the plugin's error buffer.
    unsafe { with_status(Arc::as_ptr(&reader.context).cast_mut().cast(), err, work) }
}

/// `tn_checkpoint.decode`.
unsafe extern "C" fn decode(
    ctx: *mut c_void,
    weight: u32,
    row: u64,
    n_rows: u64,
    out: *mut f32,
    err: *mut tn_err,
) -> i32 {
    // SAFETY: a plugin passes the context that it was given, while it is valid.
    let Some(decoder) = (unsafe { ctx.cast::<Decoder>().as_ref() }) else { return TN_INVALID };
    let work = |_: &Context| -> Result<(), Refusal> {
        let invalid = |problem: String| (TN_INVALID, problem);
        let count = decoder.weights.len();
        let found = decoder.weights.get(weight as usize);
        let found = found.ok_or_else(|| invalid(format!("weight {weight} of {count}")))?;
        let [out_features, in_features] = found.shape();
        let last = row.checked_add(n_rows).filter(|&last| last <= out_features as u64);
        if last.is_none() || out.is_null() {
            return Err(invalid(format!("rows {row} + {n_rows} of {out_features}, or out is null")));
        }
        let rows = row as usize..(row + n_rows) as usize;
        // SAFETY: a plugin passes initialised memory for the rows that it asks for, which are the weight's.
        let out = unsafe { std::slice::from_raw_parts_mut(out, rows.len() * in_features) };
        found.decode_rows(rows, out).map_err(|e| invalid(e.to_string()))
    };
    // SAFETY: the context lives as long as the decoder; the plugin's error buffer.
    unsafe { with_status(Arc::as_ptr(&decoder.context).cast_mut().cast(), err, work) }
}
