//! What a plugin hands back for a model, checked before it is kept.

use crate::buffer::Buffer;
use crate::error::OutputProblem;
use crate::model::{ModelCheckpoint, ModelOutput, stored_names};
use crate::outputs::{ALLOWANCE, MAX_GROWTH, TILE, check_values, into_tensor, lend, parse_descriptor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tenuis_core::{CodecRegistry, Components, DType, Dense, Tensor, TensorError, Weight, convert};

/// The name under which a refused configuration is remembered.
pub(crate) const CONFIG: &str = "config.json";
/// Names are no longer than this; a longer one is a broken pointer.
const NAME_LIMIT: usize = 1024;
/// The name that safetensors reserves.
const RESERVED: &str = "__metadata__";
/// The part of a module that is not one of its weight's components.
const BIAS: &str = "bias";

/// The buffers that are lent, and what is kept.
pub(crate) struct ModelOutputs {
    student: Arc<ModelCheckpoint>,
    teacher: Option<Arc<ModelCheckpoint>>,
    buffers: BTreeMap<(String, String), Buffer>,
    /// What has been kept so far.
    pub(crate) kept: ModelOutput,
    /// For each name that was removed, the stored tensors that went with it.
    removed: BTreeMap<String, Vec<String>>,
    /// Why the latest attempt at a name was refused.
    refused: BTreeMap<String, OutputProblem>,
    /// The most bytes that one buffer may have.
    limit: usize,
    seed: u64,
}

impl ModelOutputs {
    pub(crate) fn new(
        student: Arc<ModelCheckpoint>,
        teacher: Option<Arc<ModelCheckpoint>>,
        seed: u64,
    ) -> Self {
        let elements = std::iter::once(&student).chain(&teacher).map(|c| c.elements()).max().unwrap_or(0);
        Self {
            student,
            teacher,
            buffers: BTreeMap::new(),
            kept: ModelOutput::default(),
            removed: BTreeMap::new(),
            refused: BTreeMap::new(),
            limit: elements.saturating_mul(4 * MAX_GROWTH).saturating_add(ALLOWANCE),
            seed,
        }
    }

    /// Remembers why something about a name was refused, and returns the message for the plugin.
    pub(crate) fn refuse(&mut self, name: &str, problem: OutputProblem) -> String {
        let message = problem.to_string();
        self.refused.insert(name.to_owned(), problem);
        message
    }

    /// The first refusal that was not mended by a later attempt.
    pub(crate) fn take_refusal(&mut self) -> Option<(String, OutputProblem)> {
        self.refused.pop_first()
    }

    /// What is kept, unless a refusal stands.
    pub(crate) fn finish(mut self) -> Result<ModelOutput, (String, OutputProblem)> {
        match self.take_refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(self.kept),
        }
    }

    /// Lends a buffer, for a tensor where `component` is empty; `Ok(None)` where there is not enough memory.
    pub(crate) fn allocate(
        &mut self,
        name: &str,
        component: &str,
        dtype: Option<DType>,
        shape: Option<Vec<usize>>,
    ) -> Result<Option<(*mut u8, usize)>, OutputProblem> {
        check_name(name)?;
        // Components of components, as factors have them, are named `b.weight`; nothing is named `.x`.
        if component == BIAS || (component.contains('.') && component.split('.').any(str::is_empty)) {
            let problem = "a component's name has no empty parts and is not that of a bias".to_owned();
            return Err(OutputProblem::Allocation { component: component.to_owned(), problem });
        }
        self.seed = self.seed.wrapping_add(0x5851_f42d_4c95_7f2d);
        let Some(buffer) = lend(component, dtype, shape, self.limit, self.seed)? else { return Ok(None) };
        let slot = self.buffers.entry((name.to_owned(), component.to_owned()));
        let buffer = slot.insert_entry(buffer).into_mut();
        Ok(Some((buffer.as_mut_ptr(), buffer.len())))
    }

    /// A buffer that is lent.
    #[cfg(unix)]
    pub(crate) fn buffer_mut(&mut self, name: &str, component: &str) -> Option<&mut Buffer> {
        self.buffers.get_mut(&(name.to_owned(), component.to_owned()))
    }

    /// Takes the buffer of a tensor, checks it and keeps the tensor.
    pub(crate) fn emit_tensor(&mut self, name: &str) -> Result<(), OutputProblem> {
        let tensor = self.take("", name)?;
        if let Some((element, value)) = non_finite(&tensor)?
            && !self.was_non_finite(name)
        {
            return Err(OutputProblem::NonFiniteElement { value, element });
        }
        self.keep_tensor(name, tensor)
    }

    /// Takes the buffers of a weight, checks them and keeps the weight.
    pub(crate) fn emit_weight(
        &mut self,
        module: &str,
        shape: [usize; 2],
        descriptor: &str,
        components: &[String],
        codecs: &CodecRegistry,
    ) -> Result<(), OutputProblem> {
        let descriptor = parse_descriptor(descriptor)?;
        let mut tensors = Components::new();
        for component in components {
            tensors.insert(component.clone(), self.take(component, module)?);
        }
        let weight = codecs.decode(shape, &descriptor, tensors)?;
        match check_values(&weight, None) {
            Err(OutputProblem::NonFinite { .. }) if self.was_non_finite(module) => {}
            other => other?,
        }
        self.keep_weight(module, weight)
    }

    /// Keeps a tensor or weight of one of the checkpoints under a name.
    pub(crate) fn emit_copy(
        &mut self,
        name: &str,
        from_teacher: bool,
        source: &str,
    ) -> Result<(), OutputProblem> {
        let origin = if from_teacher { self.teacher.as_ref() } else { Some(&self.student) };
        let origin = Arc::clone(origin.ok_or(OutputProblem::NoTeacher)?);
        if let Some(weight) = origin.weights.get(source) {
            return self.keep_weight(name, Arc::clone(weight));
        }
        if let Some(tensor) = stored_tensor(&origin, source) {
            return self.keep_tensor(name, tensor.clone());
        }
        Err(missing(&origin, source))
    }

    /// Drops a stored tensor of the student, or all components of a weight.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), OutputProblem> {
        let gone = if let Some(weight) = self.student.weights.get(name) {
            stored_names(name, weight)
        } else if stored_tensor(&self.student, name).is_some() {
            vec![name.to_owned()]
        } else {
            return Err(missing(&self.student, name));
        };
        let emitted = |name: &String| {
            self.kept.tensors.contains_key(name)
                || weight_of(name).is_some_and(|module| self.kept.weights.contains_key(module))
        };
        if gone.iter().any(emitted) {
            return Err(OutputProblem::Duplicate);
        }
        if gone.iter().any(|name| self.kept.removals.contains(name)) {
            return Err(OutputProblem::Removed);
        }
        self.kept.removals.extend(gone.iter().cloned());
        self.removed.insert(name.to_owned(), gone);
        self.refused.remove(name);
        Ok(())
    }

    /// Takes back what was emitted, removed or refused under a name; under the empty one everything.
    pub(crate) fn retract(&mut self, name: &str) -> Result<(), OutputProblem> {
        if name.is_empty() {
            self.kept = ModelOutput::default();
            self.buffers.clear();
            self.removed.clear();
            self.refused.clear();
            return Ok(());
        }
        if self.removed.get(name).is_some_and(|gone| self.rests_on(name, gone)) {
            return Err(OutputProblem::Duplicate);
        }
        let emitted = self.kept.tensors.remove(name).is_some() | self.kept.weights.remove(name).is_some();
        let refused = self.refused.remove(name).is_some();
        let removed = self.removed.remove(name);
        for stored in removed.iter().flatten() {
            self.kept.removals.remove(stored);
        }
        if emitted || refused || removed.is_some() { Ok(()) } else { Err(OutputProblem::NothingToRetract) }
    }

    /// Whether something was emitted under another name that would stand beside what was removed, if it came back.
    fn rests_on(&self, removed: &str, gone: &[String]) -> bool {
        let compressed = self.student.weights.get(removed).is_some_and(|w| dense_tensor(w).is_none());
        let weight = |module| module != removed && self.kept.weights.contains_key(module);
        let mut tensors = self.kept.tensors.keys();
        (compressed && tensors.any(|name| weight_of(name) == Some(removed)))
            || gone.iter().any(|name| weight_of(name).is_some_and(weight))
    }

    /// Keeps a configuration, in the place of an earlier one.
    pub(crate) fn set_config(&mut self, text: &str) -> Result<(), OutputProblem> {
        let wrong = |problem: String| OutputProblem::Config { problem };
        let config: Value = serde_json::from_str(text).map_err(|e| wrong(format!("is not JSON: {e}")))?;
        if !config.is_object() {
            return Err(wrong("is not a JSON object".to_owned()));
        }
        self.kept.config = Some(config);
        self.refused.remove(CONFIG);
        Ok(())
    }

    fn keep_tensor(&mut self, name: &str, tensor: Tensor) -> Result<(), OutputProblem> {
        check_name(name)?;
        if let Some(module) = weight_of(name) {
            // Whoever reads the result would find two representations of one weight.
            let stays =
                |weight: &&Weight| dense_tensor(weight).is_none() && !self.removed.contains_key(module);
            if let Some(weight) = self.student.weights.get(module).filter(stays) {
                return Err(part_of(module, weight));
            }
            if self.kept.weights.contains_key(module) {
                return Err(OutputProblem::Duplicate);
            }
        }
        if self.kept.tensors.contains_key(name) || self.kept.weights.contains_key(name) {
            return Err(OutputProblem::Duplicate);
        }
        if self.kept.removals.contains(name) {
            return Err(OutputProblem::Removed);
        }
        if let Some(replaced) = stored_tensor(&self.student, name).and_then(|t| t.dtype().known())
            && tensor.dtype().known().is_none_or(|d| d.is_float() != replaced.is_float())
        {
            let found = tensor.dtype().to_string();
            return Err(OutputProblem::ElementType { found, replaced: replaced.to_string() });
        }
        self.kept.tensors.insert(name.to_owned(), tensor);
        self.refused.remove(name);
        Ok(())
    }

    fn keep_weight(&mut self, module: &str, weight: Weight) -> Result<(), OutputProblem> {
        check_name(module)?;
        let below = |name: &&String| weight_of(name) == Some(module);
        let taken = self.kept.tensors.contains_key(module) || self.kept.tensors.keys().any(|n| below(&n));
        if taken || self.kept.weights.contains_key(module) {
            return Err(OutputProblem::Duplicate);
        }
        if stored_names(module, &weight).iter().any(|name| self.kept.removals.contains(name)) {
            return Err(OutputProblem::Removed);
        }
        // It would stay beside the components of the new weight.
        let mut beside = self.student.tensors.keys().filter(below);
        if let Some(name) = beside.find(|name| !self.kept.removals.contains(*name)) {
            let problem = format!("{name} is a tensor of the checkpoint and no weight's; remove it first");
            return Err(OutputProblem::Name { problem });
        }
        self.kept.weights.insert(module.to_owned(), weight);
        self.refused.remove(module);
        Ok(())
    }

    /// Takes a written buffer.
    fn take(&mut self, component: &str, name: &str) -> Result<Tensor, OutputProblem> {
        let buffer = self.buffers.remove(&(name.to_owned(), component.to_owned()));
        let buffer = buffer.ok_or_else(|| OutputProblem::NotAllocated { component: component.to_owned() })?;
        into_tensor(component, buffer)
    }

    /// Whether the student's tensor or weight of this name holds a value that is not finite, so that one may stay.
    fn was_non_finite(&self, name: &str) -> bool {
        let weight = self.student.weights.get(name);
        if let Some(weight) = weight.or_else(|| component_of(&self.student, name).map(|(_, weight)| weight)) {
            return matches!(check_values(weight, None), Err(OutputProblem::NonFinite { .. }));
        }
        let tensor = self.student.tensors.get(name);
        tensor.is_some_and(|tensor| matches!(non_finite(tensor), Ok(Some(_))))
    }
}

/// Module and suffix of a stored name, such as `model.norm` and `weight`.
fn module_of(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('.')
}

/// The module that a tensor of this name would be a component of, if that had a weight.
fn weight_of(name: &str) -> Option<&str> {
    module_of(name).filter(|(_, suffix)| *suffix != BIAS).map(|(module, _)| module)
}

/// The weight that a stored tensor is a component of.
fn component_of<'a>(checkpoint: &'a ModelCheckpoint, name: &str) -> Option<(&'a str, &'a Weight)> {
    let (module, suffix) = module_of(name)?;
    let (module, weight) = checkpoint.weights.get_key_value(module)?;
    weight.components().iter().any(|c| c.suffix == suffix).then_some((module, weight))
}

/// A stored tensor that may be replaced: one of its own, or the only component of a dense weight.
fn stored_tensor<'a>(checkpoint: &'a ModelCheckpoint, name: &str) -> Option<&'a Tensor> {
    let of_weight = || component_of(checkpoint, name).and_then(|(_, weight)| dense_tensor(weight));
    checkpoint.tensors.get(name).or_else(of_weight)
}

/// The only component of a dense weight.
fn dense_tensor(weight: &Weight) -> Option<&Tensor> {
    weight.downcast::<Dense>().map(Dense::tensor)
}

/// Why [`stored_tensor`] finds nothing.
fn missing(checkpoint: &ModelCheckpoint, name: &str) -> OutputProblem {
    component_of(checkpoint, name)
        .map_or(OutputProblem::NotInModel, |(module, weight)| part_of(module, weight))
}

fn part_of(module: &str, weight: &Weight) -> OutputProblem {
    OutputProblem::PartOfWeight { module: module.to_owned(), kind: weight.kind().to_owned() }
}

fn check_name(name: &str) -> Result<(), OutputProblem> {
    let problem = if name.is_empty() {
        "a name is missing"
    } else if name.len() > NAME_LIMIT {
        "the name is too long"
    } else if name == RESERVED {
        "safetensors reserves this name"
    } else if name.contains(|c: char| c.is_control() || c == '\u{fffd}') {
        "the name holds control characters or broken UTF-8"
    } else {
        return Ok(());
    };
    Err(OutputProblem::Name { problem: problem.to_owned() })
}

/// The first element that is NaN or infinite, and its value; integers have none.
fn non_finite(tensor: &Tensor) -> Result<Option<(usize, f64)>, TensorError> {
    let Some(dtype) = tensor.dtype().known().filter(|d| d.is_float()) else { return Ok(None) };
    if dtype == DType::F64 {
        // A large one would become infinite in f32.
        let (words, _) = tensor.data().as_chunks::<8>();
        let values = words.iter().map(|word| f64::from_le_bytes(*word)).enumerate();
        return Ok(values.into_iter().find(|(_, value)| !value.is_finite()));
    }
    let mut tile = vec![0.0; TILE.min(tensor.elements())];
    for (index, bytes) in tensor.data().chunks(TILE * dtype.size()).enumerate() {
        let tile = &mut tile[..bytes.len() / dtype.size()];
        convert::to_f32(dtype, bytes, tile)?;
        if let Some(at) = tile.iter().position(|v| !v.is_finite()) {
            return Ok(Some((index * TILE + at, f64::from(tile[at]))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_finite_are_found_in_every_type() {
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            let mut values = vec![1.0; TILE + 5];
            let finite = Tensor::from_f32(dtype, vec![TILE + 5], &values).unwrap();
            assert_eq!(non_finite(&finite).unwrap(), None);
            values[TILE + 3] = f32::NEG_INFINITY;
            let tensor = Tensor::from_f32(dtype, vec![TILE + 5], &values).unwrap();
            assert_eq!(non_finite(&tensor).unwrap(), Some((TILE + 3, f64::NEG_INFINITY)));
        }
        let large = Tensor::from_vec(DType::F64, vec![2], vec![1e300, f64::INFINITY]).unwrap();
        assert_eq!(non_finite(&large).unwrap(), Some((1, f64::INFINITY)));
        let whole = Tensor::from_vec(DType::I32, vec![1], vec![-1i32]).unwrap();
        assert_eq!(non_finite(&whole).unwrap(), None);
    }

    #[test]
    fn names_that_no_file_could_hold_are_refused() {
        for name in ["", "__metadata__", "a\nb", "\u{fffd}", &"x".repeat(NAME_LIMIT + 1)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("model.layers.0.mlp.up_proj").unwrap();
    }
}
