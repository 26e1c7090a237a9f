//! Handing a changed checkpoint to the host.

#![expect(unsafe_code, reason = "calls C functions of the host and writes into its buffers")]

use crate::emit::buffer;
use crate::error::{TechniqueError, outcome};
use crate::host::Host;
use crate::model::{Loss, Model};
use serde_json::Value;
use std::marker::PhantomData;
use tenuis_abi::{tn_err, tn_str};
use tenuis_core::{DType, Representation, element_count};

/// One of the checkpoints that a model technique is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The one that is worked on.
    Student,
    /// The one to learn from.
    Teacher,
}

/// Takes what a model technique makes of the student: tensors, weights, removals and a configuration.
///
/// What is not mentioned stays as it is. No name may be emitted twice, or emitted and removed, unless it is
/// [retracted](Self::retract) in between.
#[derive(Debug)]
pub struct ModelEmitter<'a> {
    host: &'a Host<'a>,
    loss: Loss<'a>,
    /// What is emitted has to come from the thread that the host called on.
    not_send: PhantomData<*mut ()>,
}

impl<'a> ModelEmitter<'a> {
    pub(crate) const fn new(host: &'a Host<'a>, model: &Model<'a>) -> Self {
        Self { host, loss: model.loss, not_send: PhantomData }
    }

    /// The host's other functions.
    pub const fn host(&self) -> &'a Host<'a> {
        self.host
    }

    /// Hands over a tensor, new or in the place of the student's of that name; `bytes` are little-endian.
    ///
    /// # Errors
    /// [`TechniqueError`] where the bytes do not fit the shape; what the host finds wrong with it.
    pub fn emit_tensor(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<(), TechniqueError> {
        let expected = element_count(shape)?.checked_mul(dtype.size());
        if expected != Some(bytes.len()) {
            let problem = format!("{} bytes for {dtype} {shape:?}", bytes.len());
            return Err(TechniqueError::invalid(problem).about(name));
        }
        self.tensor_buffer(name, dtype, shape)?.copy_from_slice(bytes);
        self.commit_tensor(name)
    }

    /// Borrows the host's buffer for a tensor, to write into without a copy: every byte of it, before
    /// [`commit_tensor`](Self::commit_tensor).
    ///
    /// # Errors
    /// Where the host has no memory, or the name or shape is impossible.
    pub fn tensor_buffer(
        &mut self,
        name: &str,
        dtype: DType,
        shape: &[usize],
    ) -> Result<&mut [u8], TechniqueError> {
        self.weight_buffer(name, "", dtype, shape)
    }

    /// Hands over the tensor whose buffer was written.
    ///
    /// # Errors
    /// What the host finds wrong with it.
    pub fn commit_tensor(&mut self, name: &str) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let emit = host.emit_tensor.ok_or_else(|| TechniqueError::missing("emit_tensor"))?;
        let mut error = tn_err::default();
        // SAFETY: the host's function; everything that it is given outlives the call, here and below.
        let status = unsafe { emit(host.ctx, tn_str::new(name), &raw mut error) };
        outcome(status, &error)
    }

    /// Hands over the weight of a module, new or in the place of all components that the module has.
    ///
    /// # Errors
    /// What the host finds wrong with it.
    pub fn emit_weight(&mut self, module: &str, weight: &dyn Representation) -> Result<(), TechniqueError> {
        let components = weight.components();
        for component in &components {
            let tensor = &component.tensor;
            let buffer =
                self.weight_buffer(module, &component.suffix, tensor.known_dtype()?, tensor.shape())?;
            buffer.copy_from_slice(tensor.data());
        }
        let suffixes: Vec<&str> = components.iter().map(|c| c.suffix.as_ref()).collect();
        self.commit_weight(module, weight.shape(), &weight.descriptor(), &suffixes)
    }

    /// Borrows the host's buffer for a component of a weight, to write into without a copy: every byte of it, before
    /// [`commit_weight`](Self::commit_weight).
    ///
    /// # Errors
    /// As [`tensor_buffer`](Self::tensor_buffer).
    pub fn weight_buffer(
        &mut self,
        module: &str,
        suffix: &str,
        dtype: DType,
        shape: &[usize],
    ) -> Result<&mut [u8], TechniqueError> {
        // SAFETY: the bytes are the host's until the weight is emitted, which needs this emitter again.
        unsafe { buffer(self.host, module, suffix, dtype, shape) }
    }

    /// Joins a descriptor and buffers that were written into the weight of a module, `[out_features, in_features]`.
    ///
    /// # Errors
    /// What the host finds wrong with it.
    pub fn commit_weight(
        &mut self,
        module: &str,
        shape: [usize; 2],
        descriptor: &Value,
        suffixes: &[&str],
    ) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let emit = host.emit_weight.ok_or_else(|| TechniqueError::missing("emit_weight"))?;
        let descriptor = descriptor.to_string();
        let names: Vec<tn_str> = suffixes.iter().map(|s| tn_str::new(s)).collect();
        let mut error = tn_err::default();
        // SAFETY: as above.
        let status = unsafe {
            emit(
                host.ctx,
                tn_str::new(module),
                shape[0] as u64,
                shape[1] as u64,
                tn_str::new(&descriptor),
                names.len() as u32,
                names.as_ptr(),
                &raw mut error,
            )
        };
        outcome(status, &error)
    }

    /// Puts a tensor or the weight of a module of one of the checkpoints under `name`, without a copy in memory: how
    /// blocks are kept under another number, or taken over from the teacher.
    ///
    /// # Errors
    /// Where there is no such tensor or module; what the host finds wrong with the name.
    pub fn emit_copy(&mut self, name: &str, from: Source, source: &str) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let copy = host.emit_copy.ok_or_else(|| TechniqueError::missing("emit_copy"))?;
        let teacher = i32::from(from == Source::Teacher);
        let mut error = tn_err::default();
        // SAFETY: as above.
        let status =
            unsafe { copy(host.ctx, tn_str::new(name), teacher, tn_str::new(source), &raw mut error) };
        outcome(status, &error)
    }

    /// Drops a tensor of the student, or a module's weight with all of its components.
    ///
    /// # Errors
    /// Where there is no such tensor or module, or it was emitted.
    pub fn remove(&mut self, name: &str) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let remove = host.remove.ok_or_else(|| TechniqueError::missing("remove"))?;
        let mut error = tn_err::default();
        // SAFETY: as above.
        let status = unsafe { remove(host.ctx, tn_str::new(name), &raw mut error) };
        outcome(status, &error)
    }

    /// Takes back what was emitted, removed or refused under a name.
    ///
    /// # Errors
    /// Where nothing was.
    pub fn retract(&mut self, name: &str) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let retract = host.retract.ok_or_else(|| TechniqueError::missing("retract"))?;
        let mut error = tn_err::default();
        // SAFETY: as above.
        let status = unsafe { retract(host.ctx, tn_str::new(name), &raw mut error) };
        outcome(status, &error)
    }

    /// Takes back everything, the configuration too, so that another candidate can be built.
    ///
    /// # Errors
    /// Where the host is too old.
    pub fn retract_all(&mut self) -> Result<(), TechniqueError> {
        self.retract("")
    }

    /// Replaces `config.json`, by a whole one.
    ///
    /// # Errors
    /// Where it is not an object.
    pub fn set_config(&mut self, config: &Value) -> Result<(), TechniqueError> {
        self.set_config_json(&config.to_string())
    }

    /// Replaces `config.json`, by the text of a whole one.
    ///
    /// # Errors
    /// Where it is not JSON, or not an object.
    pub fn set_config_json(&mut self, config: &str) -> Result<(), TechniqueError> {
        let host = &self.host.raw;
        let set_config = host.set_config.ok_or_else(|| TechniqueError::missing("set_config"))?;
        let mut error = tn_err::default();
        // SAFETY: as above.
        let status = unsafe { set_config(host.ctx, tn_str::new(config), &raw mut error) };
        outcome(status, &error)
    }

    /// The host's loss of the student with what is emitted, removed and configured so far; `None` where it has none.
    ///
    /// # Errors
    /// Where the host cannot compute it, say because the configuration does not fit the tensors.
    pub fn eval_loss(&mut self) -> Result<Option<f64>, TechniqueError> {
        let Some(eval_loss) = self.loss.function else { return Ok(None) };
        let (mut loss, mut error) = (f64::NAN, tn_err::default());
        // SAFETY: the host's function with its own context, on the thread of the call.
        let status = unsafe { eval_loss(self.loss.ctx, &raw mut loss, &raw mut error) };
        outcome(status, &error).map(|()| Some(loss))
    }
}
