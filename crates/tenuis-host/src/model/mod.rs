//! What a model technique is given and what it gives back.

mod callbacks;
mod job;
mod outputs;
mod tokens;
mod view;

pub use job::ModelJob;
pub use tokens::{TokenSequences, TokenSource};

#[cfg(unix)]
pub(crate) use callbacks::{CONFIG_LIMIT, eval_loss};
pub(crate) use callbacks::{emit_copy, emit_tensor, emit_weight, remove, retract, set_config};
pub(crate) use outputs::ModelOutputs;

use crate::group::LogLine;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CheckpointError, Tensor, Weight};

/// A checkpoint as a model technique sees it: matrices by module, everything else by the tensor's name.
///
/// Weights and tensors share their bytes with whoever made them; those of an open [`Checkpoint`] stay in its files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelCheckpoint {
    /// `config.json`.
    pub config: Value,
    /// The network as data.
    pub spec: Value,
    /// A text that differs where the checkpoint differs.
    pub hash: Option<String>,
    /// The matrices by module, dense or compressed. Their components are stored as `{module}.{suffix}`.
    pub weights: BTreeMap<String, Weight>,
    /// All other tensors: biases, norms, embeddings where they are no module of the network.
    pub tensors: BTreeMap<String, Tensor>,
}

impl ModelCheckpoint {
    /// A checkpoint without tensors, to fill.
    pub const fn new(config: Value, spec: Value) -> Self {
        Self { config, spec, hash: None, weights: BTreeMap::new(), tensors: BTreeMap::new() }
    }

    /// An open checkpoint whose matrices are `weights`, by module; every tensor that is no component of these is
    /// listed by its name.
    ///
    /// Reading the hash of a checkpoint that has no manifest means reading all of it; set
    /// [`hash`](Self::hash) where that is worth it.
    ///
    /// # Errors
    /// [`CheckpointError`] where a file changed meanwhile.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        spec: Value,
        weights: BTreeMap<String, Weight>,
    ) -> Result<Self, CheckpointError> {
        let mut model = Self::new(checkpoint.config().clone(), spec);
        // Whatever convention the weight is stored in: every tensor of its module but the bias belongs to it.
        let is_component = |name: &str| {
            name.match_indices('.').any(|(at, _)| &name[at..] != ".bias" && weights.contains_key(&name[..at]))
        };
        for name in checkpoint.names().filter(|name| !is_component(name)) {
            model.tensors.insert(name.to_owned(), checkpoint.tensor(name)?);
        }
        model.weights = weights;
        Ok(model)
    }

    /// The f32 values that it has, decoded.
    fn elements(&self) -> usize {
        let weights = self.weights.values().map(|weight| weight.shape().iter().product::<usize>());
        weights.chain(self.tensors.values().map(Tensor::elements)).sum()
    }
}

/// The names of the tensors that a weight is stored as.
fn stored_names(module: &str, weight: &Weight) -> Vec<String> {
    weight.components().iter().map(|component| format!("{module}.{}", component.suffix)).collect()
}

/// Scores the student with what a technique has emitted so far.
pub type EvalLoss<'a> = dyn Fn(&ModelOutput) -> Result<f64, Box<dyn Error + Send + Sync>> + 'a;

/// What a model technique works on.
#[non_exhaustive]
pub struct ModelInput<'a> {
    /// The checkpoint that is worked on.
    pub student: Arc<ModelCheckpoint>,
    /// A checkpoint to learn from.
    pub teacher: Option<Arc<ModelCheckpoint>>,
    /// Tokens to train or calibrate on.
    pub train: Option<&'a dyn TokenSource>,
    /// Other tokens, to judge by.
    pub valid: Option<&'a dyn TokenSource>,
    /// What was measured, by key, such as `block_similarity`.
    pub statistics: BTreeMap<String, Tensor>,
    /// A directory that outlives the job, for resuming; it has to exist.
    pub state_dir: Option<PathBuf>,
    /// The loss of a candidate, for techniques that search by it.
    pub eval_loss: Option<&'a EvalLoss<'a>>,
}

impl ModelInput<'_> {
    /// A checkpoint alone.
    pub fn new(student: impl Into<Arc<ModelCheckpoint>>) -> Self {
        Self {
            student: student.into(),
            teacher: None,
            train: None,
            valid: None,
            statistics: BTreeMap::new(),
            state_dir: None,
            eval_loss: None,
        }
    }
}

impl fmt::Debug for ModelInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelInput")
            .field("weights", &self.student.weights.len())
            .field("tensors", &self.student.tensors.len())
            .field("teacher", &self.teacher.is_some())
            .field("statistics", &self.statistics.keys().collect::<Vec<_>>())
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

/// What a technique made of a model, checked; what is not mentioned stays as it was.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModelOutput {
    /// Tensors by name, new or in the place of the student's.
    pub tensors: BTreeMap<String, Tensor>,
    /// Weights by module, new or in the place of all components that the module had.
    pub weights: BTreeMap<String, Weight>,
    /// The stored tensors of the student that are gone; for a weight, all of its components.
    pub removals: BTreeSet<String>,
    /// The new `config.json`, an object.
    pub config: Option<Value>,
    /// Numbers for the report, in the order in which they were reported.
    pub metrics: Vec<(String, f64)>,
    /// What was logged.
    pub log: Vec<LogLine>,
}
