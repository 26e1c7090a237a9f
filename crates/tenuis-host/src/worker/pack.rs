//! The host's views (`tn_group`, `tn_model`, …) as messages, and their tensors as one shared region.

#![expect(unsafe_code, reason = "reads the C structs of our own views")]

use crate::worker::shared::anonymous;
use crate::worker::wire::{
    Place, WireCheckpoint, WireGroup, WireLinear, WireModel, WireTensor, WireTokens, WireWeight,
};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use tenuis_abi::{tn_checkpoint, tn_group, tn_linear, tn_model, tn_str, tn_tensor, tn_tokens, tn_weight};

/// Tensors begin at multiples of a cache line.
const ALIGNMENT: u64 = 64;

/// Collects the tensors of a message. The bytes stay where they are until [`region`](Self::region) copies them.
///
/// Every method that takes a pointer takes it of a view of this crate, whose pointers are null or valid.
#[derive(Default)]
pub(crate) struct Packer {
    parts: Vec<(u64, *const u8, usize)>,
    /// What was placed already: a weight's components are among a checkpoint's tensors too.
    placed: HashMap<(*const u8, usize), Place>,
    len: u64,
}

impl Packer {
    /// The bytes of the region.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Copies the tensors into shared memory; `None` where there are none.
    ///
    /// # Safety
    /// The views that were packed are still valid.
    pub(crate) unsafe fn region(self) -> io::Result<Option<File>> {
        if self.parts.is_empty() {
            return Ok(None);
        }
        let file = anonymous(self.len)?;
        for (offset, data, len) in self.parts {
            // SAFETY: the caller vouches for the views.
            file.write_all_at(unsafe { std::slice::from_raw_parts(data, len) }, offset)?;
        }
        Ok(Some(file))
    }

    fn place(&mut self, data: *const u8, len: usize) -> Place {
        let Self { parts, placed, len: end } = self;
        *placed.entry((data, len)).or_insert_with(|| {
            let offset = end.next_multiple_of(ALIGNMENT);
            parts.push((offset, data, len));
            *end = offset + len as u64;
            (offset, len as u64)
        })
    }

    pub(crate) unsafe fn tensor(&mut self, tensor: *const tn_tensor) -> Option<WireTensor> {
        // SAFETY: null or valid, here and below, as are the pointers inside.
        let tensor = unsafe { tensor.as_ref() }?;
        let place = (!tensor.data.is_null() && tensor.byte_len > 0)
            .then(|| self.place(tensor.data.cast(), tensor.byte_len as usize));
        Some(WireTensor {
            // SAFETY: as above.
            name: unsafe { text(tensor.name) },
            dtype: (tensor.dtype.code, tensor.dtype.bits),
            // SAFETY: as above.
            shape: unsafe { std::slice::from_raw_parts(tensor.shape, tensor.ndim as usize) }.to_vec(),
            place,
        })
    }

    unsafe fn tensors(&mut self, tensors: *const *const tn_tensor, count: u32) -> Vec<WireTensor> {
        // SAFETY: `count` pointers of a view.
        (0..count as usize).filter_map(|i| unsafe { self.tensor(*tensors.add(i)) }).collect()
    }

    pub(crate) unsafe fn weight(&mut self, weight: &tn_weight) -> WireWeight {
        // SAFETY: the pointers of a view, in this function and those below.
        unsafe {
            WireWeight {
                shape: (weight.out_features, weight.in_features),
                descriptor: text(weight.descriptor),
                components: self.tensors(weight.components, weight.n_components),
                dense: self.tensor(weight.dense),
                mask: self.tensor(weight.mask),
                original: self.tensor(weight.original),
            }
        }
    }

    unsafe fn linears(&mut self, linears: *const *const tn_linear, count: u32) -> Vec<WireLinear> {
        let one = |i: usize| {
            // SAFETY: `count` pointers of a view.
            unsafe {
                let linear = &**linears.add(i);
                let (index, name) = (linear.index, text(linear.name));
                let weight = self.weight(&*linear.weight);
                WireLinear { index, name, weight, bias: self.tensor(linear.bias) }
            }
        };
        (0..count as usize).map(one).collect()
    }

    pub(crate) unsafe fn group(&mut self, group: *const tn_group) -> WireGroup {
        // SAFETY: as above.
        unsafe {
            let group = &*group;
            WireGroup {
                block: group.block,
                n_blocks: group.n_blocks,
                rows: group.calib_rows,
                linears: self.linears(group.linears, group.n_linears),
                hessian: self.tensor(group.hessian),
                moments: self.tensor(group.moments),
                producer: self.tensor(group.producer),
            }
        }
    }

    pub(crate) unsafe fn model(&mut self, model: *const tn_model) -> WireModel {
        // SAFETY: as above; a model has a student.
        unsafe {
            let model = &*model;
            WireModel {
                student: self.checkpoint(&*model.student),
                teacher: model.teacher.as_ref().map(|teacher| self.checkpoint(teacher)),
                train: tokens(model.train),
                valid: tokens(model.valid),
                statistics: self.tensors(model.statistics, model.n_statistics),
                state_dir: text(model.state_dir),
                eval_loss: model.eval_loss.is_some(),
            }
        }
    }

    unsafe fn checkpoint(&mut self, checkpoint: &tn_checkpoint) -> WireCheckpoint {
        // SAFETY: as above.
        unsafe {
            WireCheckpoint {
                config: text(checkpoint.config_json),
                spec: text(checkpoint.spec_json),
                hash: text(checkpoint.hash),
                weights: self.linears(checkpoint.weights, checkpoint.n_weights),
                tensors: self.tensors(checkpoint.tensors, checkpoint.n_tensors),
            }
        }
    }
}

unsafe fn tokens(tokens: *const tn_tokens) -> Option<WireTokens> {
    // SAFETY: null or valid.
    let tokens = unsafe { tokens.as_ref() }?;
    let (sequences, sequence_length) = (tokens.n_sequences, tokens.sequence_length);
    // SAFETY: a text of a view.
    Some(WireTokens { sequences, sequence_length, hash: unsafe { text(tokens.hash) } })
}

/// A text of a view, which is UTF-8.
unsafe fn text(text: tn_str) -> String {
    if text.len == 0 {
        return String::new();
    }
    // SAFETY: the caller vouches for it.
    String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(text.ptr.cast(), text.len as usize) })
        .into_owned()
}
