//! What the host lends to a model technique.

#![expect(unsafe_code, reason = "reads structs behind raw pointers of the host and calls its functions")]

use crate::error::{TechniqueError, outcome};
use crate::group::StoredWeight;
use crate::tensor::{TensorView, array, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use tenuis_abi::{read_covered, tn_checkpoint, tn_err, tn_linear, tn_model, tn_tokens};

/// A checkpoint of the host, read-only. Its tensors lie in the mapped file as a rule; nothing is copied.
///
/// Everything that is stored is a *tensor*; a matrix of the network is a *weight* too, named by its module, whose
/// components are the tensors `{module}.{suffix}`.
#[derive(Debug)]
pub struct CheckpointView<'a> {
    config_json: &'a str,
    spec_json: &'a str,
    hash: &'a str,
    weights: BTreeMap<&'a str, ModuleView<'a>>,
    tensors: BTreeMap<String, TensorView<'a>>,
    raw: tn_checkpoint,
}

#[derive(Debug)]
struct ModuleView<'a> {
    index: u32,
    weight: StoredWeight<'a>,
}

// SAFETY: everything that the pointers of `raw` lead to is read-only, and the ABI allows `decode` on any thread.
unsafe impl Send for CheckpointView<'_> {}
// SAFETY: as above.
unsafe impl Sync for CheckpointView<'_> {}

impl<'a> CheckpointView<'a> {
    /// Reads and checks a checkpoint; `None` for null.
    ///
    /// # Safety
    /// `checkpoint` is null or a checkpoint of the host that is valid for `'a`.
    unsafe fn read(checkpoint: *const tn_checkpoint) -> Result<Option<Self>, TechniqueError> {
        // SAFETY: the caller vouches for this and for everything that it refers to.
        unsafe {
            let Some(raw) = read_covered(checkpoint) else { return Ok(None) };
            let mut weights = BTreeMap::new();
            for (index, &linear) in (0..).zip(array::<tn_linear>(raw.weights, raw.n_weights)) {
                let linear = read_covered(linear)
                    .ok_or_else(|| TechniqueError::invalid("a weight of the host is null"))?;
                let weight = StoredWeight::read(linear.weight)?;
                weights.insert(text(linear.name)?, ModuleView { index, weight });
            }
            let mut tensors = BTreeMap::new();
            for &tensor in array(raw.tensors, raw.n_tensors) {
                tensors.extend(TensorView::read(tensor)?.map(|tensor| (tensor.name.clone(), tensor)));
            }
            Ok(Some(Self {
                config_json: text(raw.config_json)?,
                spec_json: text(raw.spec_json)?,
                hash: text(raw.hash)?,
                weights,
                tensors,
                raw,
            }))
        }
    }

    /// `config.json`.
    pub const fn config_json(&self) -> &'a str {
        self.config_json
    }

    /// `config.json`, parsed.
    ///
    /// # Errors
    /// [`TechniqueError`] where the host's text is not JSON.
    pub fn config(&self) -> Result<Value, TechniqueError> {
        serde_json::from_str(self.config_json)
            .map_err(|e| TechniqueError::invalid(format!("config.json: {e}")))
    }

    /// The network as data (a `DecoderSpec` of `tenuis-spec`), as JSON.
    pub const fn spec_json(&self) -> &'a str {
        self.spec_json
    }

    /// A text that differs where the checkpoint differs; for the keys of what is cached.
    pub const fn hash(&self) -> Option<&'a str> {
        if self.hash.is_empty() { None } else { Some(self.hash) }
    }

    /// Every stored tensor by its name, sorted; those of an element type that the host does not know are left out.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &TensorView<'a>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// A stored tensor, such as `model.norm.weight`.
    ///
    /// # Errors
    /// [`TechniqueError`] where there is none of that name.
    pub fn tensor(&self, name: &str) -> Result<&TensorView<'a>, TechniqueError> {
        self.tensors.get(name).ok_or_else(|| {
            TechniqueError::invalid("the checkpoint has no tensor of this name and a known type").about(name)
        })
    }

    /// Whether [`tensor`](Self::tensor) finds one.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The matrices of the network by module, sorted, as they are stored.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = (&'a str, &StoredWeight<'a>)> {
        self.weights.iter().map(|(&module, view)| (module, &view.weight))
    }

    /// The weight of a module, such as `model.layers.0.mlp.up_proj`, as it is stored.
    ///
    /// # Errors
    /// [`TechniqueError`] where there is no such module.
    pub fn weight(&self, module: &str) -> Result<&StoredWeight<'a>, TechniqueError> {
        Ok(&self.module(module)?.weight)
    }

    /// Whether [`weight`](Self::weight) finds one.
    pub fn has_weight(&self, module: &str) -> bool {
        self.weights.contains_key(module)
    }

    /// Decodes rows of a weight of any kind, `[rows.len(), in_features]`; the host does it.
    ///
    /// # Errors
    /// [`TechniqueError`] where there is no such module, `rows` or `out` do not fit it, or its components are damaged.
    pub fn decode_rows(
        &self,
        module: &str,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), TechniqueError> {
        let view = self.module(module)?;
        let [out_features, in_features] = view.weight.shape();
        if rows.start > rows.end || rows.end > out_features || out.len() != rows.len() * in_features {
            let problem = format!("rows {rows:?} of {out_features} do not fit {} values", out.len());
            return Err(TechniqueError::invalid(problem).about(module));
        }
        let decode = self.raw.decode.ok_or_else(|| TechniqueError::missing("decode"))?;
        let (row, count) = (rows.start as u64, rows.len() as u64);
        let mut error = tn_err::default();
        // SAFETY: the host's function with its own context; `out` holds rows × in_features values.
        let status =
            unsafe { decode(self.raw.ctx, view.index, row, count, out.as_mut_ptr(), &raw mut error) };
        outcome(status, &error).map_err(|e| e.about(module))
    }

    /// Decodes a weight of any kind to f32, `[out_features, in_features]`.
    ///
    /// # Errors
    /// As [`decode_rows`](Self::decode_rows).
    pub fn dense(&self, module: &str) -> Result<Vec<f32>, TechniqueError> {
        let [out_features, in_features] = self.weight(module)?.shape();
        let mut dense = vec![0.0; out_features * in_features];
        self.decode_rows(module, 0..out_features, &mut dense)?;
        Ok(dense)
    }

    fn module(&self, module: &str) -> Result<&ModuleView<'a>, TechniqueError> {
        self.weights.get(module).ok_or_else(|| {
            TechniqueError::invalid("the checkpoint has no module of this name with a weight").about(module)
        })
    }
}

/// Token sequences of one length. May be read from any thread, until the call is over.
#[derive(Debug)]
pub struct Tokens<'a> {
    raw: tn_tokens,
    sequences: usize,
    sequence_length: usize,
    hash: &'a str,
}

// SAFETY: the ABI allows `read` on any thread, and `ctx` is only passed on.
unsafe impl Send for Tokens<'_> {}
// SAFETY: as above.
unsafe impl Sync for Tokens<'_> {}

impl Tokens<'_> {
    /// # Safety
    /// `tokens` is null or of the host and valid for the lifetime that the caller gives the result.
    unsafe fn read_struct(tokens: *const tn_tokens) -> Result<Option<Self>, TechniqueError> {
        // SAFETY: the caller vouches for it.
        let Some(raw) = (unsafe { read_covered(tokens) }) else { return Ok(None) };
        let size = |n: u64| usize::try_from(n).map_err(|_| TechniqueError::invalid("too many tokens"));
        let (sequences, sequence_length) = (size(raw.n_sequences)?, size(raw.sequence_length)?);
        // SAFETY: as above.
        Ok(Some(Self { raw, sequences, sequence_length, hash: unsafe { text(raw.hash) }? }))
    }

    /// The number of sequences.
    pub const fn sequences(&self) -> usize {
        self.sequences
    }

    /// The tokens of each.
    pub const fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    /// A text that differs where the tokens differ; for the keys of what is cached.
    pub const fn hash(&self) -> Option<&str> {
        if self.hash.is_empty() { None } else { Some(self.hash) }
    }

    /// Reads sequences one after the other, `[range.len(), sequence_length]`.
    ///
    /// # Errors
    /// [`TechniqueError`] where the range reaches beyond the last sequence, or the host cannot read.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u32>, TechniqueError> {
        if range.start > range.end || range.end > self.sequences {
            let problem = format!("sequences {range:?} of {}", self.sequences);
            return Err(TechniqueError::invalid(problem));
        }
        let count = range.len().checked_mul(self.sequence_length);
        let mut tokens = vec![0; count.ok_or_else(|| TechniqueError::invalid("too many tokens"))?];
        let read = self.raw.read.ok_or_else(|| TechniqueError::missing("read"))?;
        let (first, count) = (range.start as u64, range.len() as u64);
        let mut error = tn_err::default();
        // SAFETY: the host's function with its own context; the vector holds the sequences asked for.
        let status = unsafe { read(self.raw.ctx, first, count, tokens.as_mut_ptr(), &raw mut error) };
        outcome(status, &error).map(|()| tokens)
    }
}

/// What a model technique is given.
#[derive(Debug)]
pub struct Model<'a> {
    student: CheckpointView<'a>,
    teacher: Option<CheckpointView<'a>>,
    train: Option<Tokens<'a>>,
    valid: Option<Tokens<'a>>,
    statistics: BTreeMap<String, TensorView<'a>>,
    state_dir: Option<&'a Path>,
    pub(crate) loss: Loss<'a>,
}

/// The host's loss of a candidate, which the emitter offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss<'a> {
    pub(crate) ctx: *mut c_void,
    pub(crate) function: Option<unsafe extern "C" fn(*mut c_void, *mut f64, *mut tn_err) -> i32>,
    borrowed: PhantomData<&'a ()>,
}

// SAFETY: only `ModelEmitter`, which stays on the thread of the call, calls the function.
unsafe impl Send for Loss<'_> {}
// SAFETY: as above.
unsafe impl Sync for Loss<'_> {}

impl<'a> Model<'a> {
    /// # Safety
    /// `model` is null or a model of the host that is valid for `'a`.
    pub(crate) unsafe fn read(model: *const tn_model) -> Result<Self, TechniqueError> {
        // SAFETY: the caller vouches for this and for everything that it refers to.
        unsafe {
            let raw = read_covered(model).ok_or_else(|| TechniqueError::invalid("the model is null"))?;
            let student = CheckpointView::read(raw.student)?;
            let mut statistics = BTreeMap::new();
            for &tensor in array(raw.statistics, raw.n_statistics) {
                statistics.extend(TensorView::read(tensor)?.map(|tensor| (tensor.name.clone(), tensor)));
            }
            let state_dir = text(raw.state_dir)?;
            Ok(Self {
                student: student.ok_or_else(|| TechniqueError::invalid("the student is null"))?,
                teacher: CheckpointView::read(raw.teacher)?,
                train: Tokens::read_struct(raw.train)?,
                valid: Tokens::read_struct(raw.valid)?,
                statistics,
                state_dir: (!state_dir.is_empty()).then(|| Path::new(state_dir)),
                loss: Loss { ctx: raw.ctx, function: raw.eval_loss, borrowed: PhantomData },
            })
        }
    }

    /// The checkpoint that is worked on.
    pub const fn student(&self) -> &CheckpointView<'a> {
        &self.student
    }

    /// The checkpoint to learn from, where there is one.
    pub const fn teacher(&self) -> Option<&CheckpointView<'a>> {
        self.teacher.as_ref()
    }

    /// The checkpoint to learn from; under `NEEDS_TEACHER`.
    ///
    /// # Errors
    /// [`TechniqueError`] without one.
    pub fn require_teacher(&self) -> Result<&CheckpointView<'a>, TechniqueError> {
        self.teacher.as_ref().ok_or_else(|| {
            TechniqueError::invalid("there is no teacher; name one, or ask for it with NEEDS_TEACHER")
        })
    }

    /// Tokens to train or calibrate on; under `NEEDS_TOKENS`.
    ///
    /// # Errors
    /// [`TechniqueError`] without them.
    pub fn train_tokens(&self) -> Result<&Tokens<'a>, TechniqueError> {
        self.train.as_ref().ok_or_else(|| {
            TechniqueError::invalid("there are no training tokens; ask for them with NEEDS_TOKENS")
        })
    }

    /// Other tokens, to judge by, where there are some.
    pub const fn valid_tokens(&self) -> Option<&Tokens<'a>> {
        self.valid.as_ref()
    }

    /// What the host measured, such as `block_similarity`: what [`ModelTechnique::statistics`] asked for, and `rows`, the
    /// number of calibration rows (tokens) as i64. Any of it may be absent.
    ///
    /// [`ModelTechnique::statistics`]: crate::ModelTechnique::statistics
    pub fn statistic(&self, key: &str) -> Option<&TensorView<'a>> {
        self.statistics.get(key)
    }

    /// A directory that outlives the job, for resuming: the same stage gets it again.
    pub const fn state_dir(&self) -> Option<&'a Path> {
        self.state_dir
    }
}
