//! Messages as the C structs that a plugin is given, with the tensors in mapped shared memory.

use crate::views::{Arena, dtype_of};
use crate::worker::shared;
use crate::worker::wire::{
    WireCheckpoint, WireGroup, WireLinear, WireModel, WireTensor, WireTokens, WireWeight,
};
use memmap2::Mmap;
use std::ffi::c_void;
use std::fs::File;
use std::mem::size_of;
use tenuis_abi::{
    tn_checkpoint, tn_dtype, tn_group, tn_linear, tn_model, tn_str, tn_tensor, tn_tokens, tn_weight,
};

/// What does not fit together in a message.
pub(crate) type Misfit = String;

/// A view with everything that it refers to.
pub(crate) struct Unpacked<T> {
    pub(crate) view: *const T,
    _arena: Arena,
    _region: Option<Mmap>,
}

/// The functions behind a model's view, and what they work on.
#[derive(Clone, Copy)]
pub(crate) struct ModelFunctions {
    /// For training and validation tokens.
    pub(crate) tokens: [*mut c_void; 2],
    /// For student and teacher.
    pub(crate) checkpoints: [*mut c_void; 2],
    /// For the loss.
    pub(crate) context: *mut c_void,
    /// `tn_tokens.read`.
    pub(crate) read: ReadTokens,
    /// `tn_checkpoint.decode`.
    pub(crate) decode: DecodeRows,
    /// `tn_model.eval_loss`.
    pub(crate) eval_loss: EvalLoss,
}

type ReadTokens = unsafe extern "C" fn(*mut c_void, u64, u64, *mut u32, *mut tenuis_abi::tn_err) -> i32;
type DecodeRows = unsafe extern "C" fn(*mut c_void, u32, u64, u64, *mut f32, *mut tenuis_abi::tn_err) -> i32;
type EvalLoss = unsafe extern "C" fn(*mut c_void, *mut f64, *mut tenuis_abi::tn_err) -> i32;

struct Unpacker {
    arena: Arena,
    region: Option<Mmap>,
}

/// `tn_group`.
pub(crate) fn group(group: WireGroup, region: Option<File>) -> Result<Unpacked<tn_group>, Misfit> {
    unpack(region, |unpacker| unpacker.group(group))
}

/// `tn_tensor`.
pub(crate) fn tensor(tensor: WireTensor, region: Option<File>) -> Result<Unpacked<tn_tensor>, Misfit> {
    unpack(region, |unpacker| unpacker.tensor(tensor))
}

/// `tn_weight`.
pub(crate) fn weight(weight: WireWeight, region: Option<File>) -> Result<Unpacked<tn_weight>, Misfit> {
    unpack(region, |unpacker| unpacker.weight(weight))
}

/// `tn_model`.
pub(crate) fn model(
    model: WireModel,
    region: Option<File>,
    functions: ModelFunctions,
) -> Result<Unpacked<tn_model>, Misfit> {
    unpack(region, |unpacker| unpacker.model(model, functions))
}

fn unpack<T>(
    region: Option<File>,
    work: impl FnOnce(&mut Unpacker) -> Result<*const T, Misfit>,
) -> Result<Unpacked<T>, Misfit> {
    let region =
        region.map(|file| shared::map(&file)).transpose().map_err(|e| format!("shared memory: {e}"))?;
    let mut unpacker = Unpacker { arena: Arena::default(), region };
    let view = work(&mut unpacker)?;
    Ok(Unpacked { view, _arena: unpacker.arena, _region: unpacker.region })
}

impl Unpacker {
    fn tensor(&mut self, tensor: WireTensor) -> Result<*const tn_tensor, Misfit> {
        let WireTensor { name, dtype: (code, bits), shape, place } = tensor;
        let misfit = || format!("tensor {name:?} {shape:?} at {place:?}");
        let dtype = dtype_of(tn_dtype { code, bits, lanes: 1 }).ok_or_else(misfit)?;
        let extents: Vec<usize> =
            shape.iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(|_| misfit())?;
        let elements = extents.iter().try_fold(1, |n: usize, &d| n.checked_mul(d)).ok_or_else(misfit)?;
        let data = match place {
            None => std::ptr::null(),
            Some((offset, len)) => {
                let end = offset.checked_add(len).map(|end| offset as usize..end as usize);
                let bytes = self.region.as_ref().zip(end).and_then(|(region, range)| region.get(range));
                // Whoever reads the tensor relies on its shape.
                let bytes = bytes.filter(|b| elements.checked_mul(dtype.size()) == Some(b.len()));
                bytes.ok_or_else(misfit)?.as_ptr().cast()
            }
        };
        let name = self.arena.keep_text(name);
        Ok(self.arena.tensor(name, dtype, &extents, data))
    }

    fn optional(&mut self, tensor: Option<WireTensor>) -> Result<*const tn_tensor, Misfit> {
        tensor.map_or(Ok(std::ptr::null()), |tensor| self.tensor(tensor))
    }

    fn tensors(&mut self, tensors: Vec<WireTensor>) -> Result<(*const *const tn_tensor, u32), Misfit> {
        let count = tensors.len() as u32;
        let tensors: Vec<_> = tensors.into_iter().map(|t| self.tensor(t)).collect::<Result<_, _>>()?;
        Ok((self.arena.keep_slice(tensors), count))
    }

    fn weight(&mut self, weight: WireWeight) -> Result<*const tn_weight, Misfit> {
        let (components, n_components) = self.tensors(weight.components)?;
        let weight = tn_weight {
            struct_size: size_of::<tn_weight>() as u32,
            n_components,
            out_features: weight.shape.0,
            in_features: weight.shape.1,
            descriptor: self.arena.keep_text(weight.descriptor),
            components,
            dense: self.optional(weight.dense)?,
            mask: self.optional(weight.mask)?,
            original: self.optional(weight.original)?,
        };
        Ok(self.arena.keep(weight))
    }

    fn linears(&mut self, linears: Vec<WireLinear>) -> Result<(*const *const tn_linear, u32), Misfit> {
        let count = linears.len() as u32;
        let mut views: Vec<*const tn_linear> = Vec::new();
        for WireLinear { index, name, weight, bias } in linears {
            let linear = tn_linear {
                struct_size: size_of::<tn_linear>() as u32,
                index,
                name: self.arena.keep_text(name),
                weight: self.weight(weight)?,
                bias: self.optional(bias)?,
            };
            views.push(self.arena.keep(linear));
        }
        Ok((self.arena.keep_slice(views), count))
    }

    fn group(&mut self, group: WireGroup) -> Result<*const tn_group, Misfit> {
        let (linears, n_linears) = self.linears(group.linears)?;
        let group = tn_group {
            struct_size: size_of::<tn_group>() as u32,
            n_linears,
            block: group.block,
            n_blocks: group.n_blocks,
            linears,
            hessian: self.optional(group.hessian)?,
            moments: self.optional(group.moments)?,
            calib_rows: group.rows,
            producer: self.optional(group.producer)?,
        };
        Ok(self.arena.keep(group))
    }

    fn model(&mut self, model: WireModel, functions: ModelFunctions) -> Result<*const tn_model, Misfit> {
        let (statistics, n_statistics) = self.tensors(model.statistics)?;
        let [of_student, of_teacher] = functions.checkpoints;
        let [of_train, of_valid] = functions.tokens;
        let teacher = model
            .teacher
            .map_or(Ok(std::ptr::null()), |teacher| self.checkpoint(teacher, of_teacher, functions.decode))?;
        let model = tn_model {
            struct_size: size_of::<tn_model>() as u32,
            n_statistics,
            student: self.checkpoint(model.student, of_student, functions.decode)?,
            teacher,
            train: self.tokens(model.train, of_train, functions.read),
            valid: self.tokens(model.valid, of_valid, functions.read),
            statistics,
            state_dir: self.arena.keep_text(model.state_dir),
            ctx: functions.context,
            eval_loss: model.eval_loss.then_some(functions.eval_loss),
        };
        Ok(self.arena.keep(model))
    }

    fn checkpoint(
        &mut self,
        checkpoint: WireCheckpoint,
        ctx: *mut c_void,
        decode: DecodeRows,
    ) -> Result<*const tn_checkpoint, Misfit> {
        let (weights, n_weights) = self.linears(checkpoint.weights)?;
        let (tensors, n_tensors) = self.tensors(checkpoint.tensors)?;
        let checkpoint = tn_checkpoint {
            struct_size: size_of::<tn_checkpoint>() as u32,
            n_weights,
            n_tensors,
            reserved: 0,
            config_json: self.arena.keep_text(checkpoint.config),
            spec_json: self.arena.keep_text(checkpoint.spec),
            hash: self.arena.keep_text(checkpoint.hash),
            weights,
            tensors,
            ctx,
            decode: Some(decode),
        };
        Ok(self.arena.keep(checkpoint))
    }

    fn tokens(&mut self, tokens: Option<WireTokens>, ctx: *mut c_void, read: ReadTokens) -> *const tn_tokens {
        let Some(WireTokens { sequences, sequence_length, hash }) = tokens else { return std::ptr::null() };
        let hash: tn_str = self.arena.keep_text(hash);
        self.arena.keep(tn_tokens {
            struct_size: size_of::<tn_tokens>() as u32,
            reserved: 0,
            n_sequences: sequences,
            sequence_length,
            hash,
            ctx,
            read: Some(read),
        })
    }
}
