//! The contract of a technique.

use crate::emit::Emitter;
use crate::error::TechniqueError;
use crate::group::{Group, GroupShape, StoredWeight};
use crate::host::Host;
use crate::model::Model;
use crate::model_emit::ModelEmitter;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ops::Range;
use tenuis_abi as abi;

/// What a technique asks the host for and promises to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// XᵀX over the calibration rows: [`Group::hessian`].
    pub const NEEDS_HESSIAN: Self = Self(abi::TN_NEEDS_HESSIAN);
    /// The group's input itself: [`GroupTechnique::tile`].
    pub const NEEDS_INPUTS: Self = Self(abi::TN_NEEDS_INPUTS);
    /// Channel moments: [`Group::moments`].
    pub const NEEDS_MOMENTS: Self = Self(abi::TN_NEEDS_MOMENTS);
    /// The loss of the parent module: [`Emitter::out_loss`].
    pub const NEEDS_OUT_LOSS: Self = Self(abi::TN_NEEDS_OUT_LOSS);
    /// Several jobs may run at once.
    pub const PARALLEL_JOBS: Self = Self(abi::TN_PARALLEL_JOBS);
    /// Equal input and options give equal bytes, whatever the thread budget.
    pub const DETERMINISTIC: Self = Self(abi::TN_DETERMINISTIC);
    /// Takes embeddings, norms and heads too, each as a group of one.
    pub const ANY_TENSOR: Self = Self(abi::TN_ANY_TENSOR);
    /// Every weight decoded to f32: [`Linear::dense`](crate::Linear::dense).
    pub const NEEDS_DENSE: Self = Self(abi::TN_NEEDS_DENSE);
    /// The uncompressed weight too: [`Linear::original`](crate::Linear::original).
    pub const NEEDS_ORIGINAL: Self = Self(abi::TN_NEEDS_ORIGINAL);
    /// Pruned entries ([`Linear::mask`](crate::Linear::mask)) stay exactly zero.
    pub const KEEPS_MASK: Self = Self(abi::TN_KEEPS_MASK);
    /// Model scope: cannot do without a teacher: [`Model::require_teacher`].
    pub const NEEDS_TEACHER: Self = Self(abi::TN_NEEDS_TEACHER);
    /// Model scope: cannot do without tokens: [`Model::train_tokens`].
    pub const NEEDS_TOKENS: Self = Self(abi::TN_NEEDS_TOKENS);
    /// Model scope: makes use of validation tokens where there are some: [`Model::valid_tokens`].
    pub const USES_VALIDATION: Self = Self(abi::TN_USES_VALIDATION);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of the ABI.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// What a model technique makes use of that the host measures on the calibration text; see [`Model::statistic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Statistics(u64);

impl Statistics {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Of every input that Linears share, `moments/{first module}`, f32 `[4, in]`: Σ|x|, Σx², max|x|, Σx.
    pub const MOMENTS: Self = Self(abi::TN_STATISTIC_MOMENTS);
    /// Of the input of attention's output projection, `gram/{module}`: XᵀX, f32 `[in, in]`, upper triangle.
    pub const GRAM_ATTENTION: Self = Self(abi::TN_STATISTIC_GRAM_ATTENTION);
    /// Of the input of the feed-forward part's last Linear: as [`GRAM_ATTENTION`](Self::GRAM_ATTENTION).
    pub const GRAM_FEED_FORWARD: Self = Self(abi::TN_STATISTIC_GRAM_FEED_FORWARD);
    /// Of every input that Linears share, `gram/{first module}`: as [`GRAM_ATTENTION`](Self::GRAM_ATTENTION).
    pub const GRAM_INPUTS: Self = Self(abi::TN_STATISTIC_GRAM_INPUTS);
    /// `block_similarity`, f32 `[n_blocks]`: the mean cosine of what goes into a block and what comes out.
    pub const BLOCK_SIMILARITY: Self = Self(abi::TN_STATISTIC_BLOCK_SIMILARITY);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of the ABI.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// A tile of a group's input.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Row-major, `[rows, in_features]`.
    pub values: &'a [f32],
    /// The number of columns.
    pub in_features: usize,
}

/// A technique that works on the Linears that share one input.
///
/// Required are the names, the options, [`new`](Self::new) and [`process`](Self::process). The host makes one value for a
/// stage and calls it for one group after the other, never at the same time, though perhaps on different threads.
///
/// Poll [`Host::check_cancelled`] at least every 100 ms.
pub trait GroupTechnique: Sized + Send + 'static {
    /// The name by which recipes call it.
    const ID: &'static str;
    /// Its version, which enters the key of cached results.
    const VERSION: &'static str;
    /// What it asks for and promises.
    const CAPABILITIES: Capabilities;
    /// The kinds of representation that only [`decode_rows`](Self::decode_rows) can read.
    const KINDS: &'static [&'static str] = &[];
    /// The options. `deny_unknown_fields` and a default for every field are expected.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a technique of options that satisfy the schema.
    ///
    /// # Errors
    /// [`TechniqueError::invalid`] for what the schema cannot express.
    fn new(config: Self::Config, host: &Host<'_>) -> Result<Self, TechniqueError>;

    /// Says whether it takes weights of this descriptor; asked when a recipe is checked. By default it takes all.
    ///
    /// # Errors
    /// [`TechniqueError::unsupported`] with the reason.
    fn accepts(&self, _descriptor: &Value) -> Result<(), TechniqueError> {
        Ok(())
    }

    /// The peak of RAM in bytes beside inputs and outputs, from shapes alone; `None`, the default, where that is
    /// not known.
    fn estimate(&self, _group: &GroupShape) -> Option<u64> {
        None
    }

    /// Begins a group, before the first tile. By default nothing.
    ///
    /// # Errors
    /// A [`TechniqueError`] abandons the group.
    fn begin(&mut self, _group: &Group<'_>, _host: &Host<'_>) -> Result<(), TechniqueError> {
        Ok(())
    }

    /// Takes a tile of the group's input; called under [`Capabilities::NEEDS_INPUTS`] only. By default nothing.
    ///
    /// # Errors
    /// A [`TechniqueError`] abandons the group.
    fn tile(&mut self, _rows: Rows<'_>, _host: &Host<'_>) -> Result<(), TechniqueError> {
        Ok(())
    }

    /// Compresses a group: emits a weight for every member.
    ///
    /// # Errors
    /// A [`TechniqueError`] abandons the group.
    fn process(&mut self, group: &Group<'_>, out: &mut Emitter<'_>) -> Result<(), TechniqueError>;

    /// Decodes rows of a weight of one of [`KINDS`](Self::KINDS) to f32, `[rows.len(), in_features]`. A pure function.
    ///
    /// # Errors
    /// [`TechniqueError::invalid`] where descriptor or components are wrong: they may come from a damaged file.
    fn decode_rows(
        weight: &StoredWeight<'_>,
        _rows: Range<usize>,
        _out: &mut [f32],
    ) -> Result<(), TechniqueError> {
        Err(TechniqueError::unsupported(format!("{} cannot decode {}", Self::ID, weight.descriptor())))
    }
}

/// A technique that works on the whole checkpoint: distillation, training, structured pruning.
///
/// Required are the names, the options, [`new`](Self::new) and [`run`](Self::run). The host makes one value for a stage
/// and calls `run` once, on whatever thread.
///
/// Poll [`Host::check_cancelled`] at least every 100 ms, report progress, and keep what a later run can go on from in
/// [`Model::state_dir`].
pub trait ModelTechnique: Sized + Send + 'static {
    /// The name by which recipes call it.
    const ID: &'static str;
    /// Its version, which enters the key of cached results.
    const VERSION: &'static str;
    /// What it asks for and promises.
    const CAPABILITIES: Capabilities;
    /// The kinds of representation that only [`decode_rows`](Self::decode_rows) can read.
    const KINDS: &'static [&'static str] = &[];
    /// The options. `deny_unknown_fields` and a default for every field are expected.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a technique of options that satisfy the schema.
    ///
    /// # Errors
    /// [`TechniqueError::invalid`] for what the schema cannot express.
    fn new(config: Self::Config, host: &Host<'_>) -> Result<Self, TechniqueError>;

    /// Says whether it takes a student with weights of this descriptor; asked when a recipe is checked. By default it
    /// takes all.
    ///
    /// # Errors
    /// [`TechniqueError::unsupported`] with the reason.
    fn accepts(&self, _descriptor: &Value) -> Result<(), TechniqueError> {
        Ok(())
    }

    /// What it makes use of that the host measures on the calibration text. By default nothing.
    fn statistics(&self) -> Statistics {
        Statistics::NONE
    }

    /// The peak of RAM in bytes beside the checkpoints; `None`, the default, where that is not known.
    fn estimate(&self, _model: &Model<'_>) -> Option<u64> {
        None
    }

    /// Does the work: emits what changes.
    ///
    /// # Errors
    /// A [`TechniqueError`] drops what was emitted.
    fn run(&mut self, model: &Model<'_>, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError>;

    /// Decodes rows of a weight of one of [`KINDS`](Self::KINDS) to f32, `[rows.len(), in_features]`. A pure function.
    ///
    /// # Errors
    /// [`TechniqueError::invalid`] where descriptor or components are wrong: they may come from a damaged file.
    fn decode_rows(
        weight: &StoredWeight<'_>,
        _rows: Range<usize>,
        _out: &mut [f32],
    ) -> Result<(), TechniqueError> {
        Err(TechniqueError::unsupported(format!("{} cannot decode {}", Self::ID, weight.descriptor())))
    }
}
