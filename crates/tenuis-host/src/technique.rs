//! A technique that a plugin provides.

use crate::callbacks::Context;
use crate::error::PluginError;
use crate::events::HostEvents;
use crate::instance::Instance;
use crate::job::Job;
use crate::library::{Functions, TechniqueTable};
use crate::manifest::Produces;
use crate::model::ModelJob;
use crate::schema::{OptionsSchema, SchemaProblem};
use crate::weight::PluginCodec;
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tenuis_abi as abi;
use tenuis_core::CodecRegistry;

/// What a technique works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Groups of Linears that share an input.
    Group,
    /// The whole checkpoint.
    Model,
}

impl Scope {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Model => "model",
        }
    }
}

/// What a technique asks for and promises: the ABI's flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $flag:ident;)*) => {
        impl Capabilities {
            $($(#[$doc])* pub const fn $name(self) -> bool {
                self.0 & abi::$flag != 0
            })*
        }

        impl fmt::Debug for Capabilities {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut set = f.debug_set();
                $(if self.$name() {
                    set.entry(&format_args!("{}", stringify!($name)));
                })*
                set.finish()
            }
        }
    };
}

flags! {
    /// Needs XᵀX.
    needs_hessian = TN_NEEDS_HESSIAN;
    /// Needs the input itself, in tiles.
    needs_inputs = TN_NEEDS_INPUTS;
    /// Needs channel moments.
    needs_moments = TN_NEEDS_MOMENTS;
    /// Needs the loss of the parent module.
    needs_out_loss = TN_NEEDS_OUT_LOSS;
    /// Several jobs may run at once.
    parallel_jobs = TN_PARALLEL_JOBS;
    /// Equal input gives equal bytes.
    deterministic = TN_DETERMINISTIC;
    /// Takes any floating-point tensor, one at a time.
    any_tensor = TN_ANY_TENSOR;
    /// Needs every weight decoded to f32.
    needs_dense = TN_NEEDS_DENSE;
    /// Needs the uncompressed weight too.
    needs_original = TN_NEEDS_ORIGINAL;
    /// Leaves pruned entries at zero.
    keeps_mask = TN_KEEPS_MASK;
    /// Model scope: cannot do without a teacher.
    needs_teacher = TN_NEEDS_TEACHER;
    /// Model scope: cannot do without tokens.
    needs_tokens = TN_NEEDS_TOKENS;
    /// Model scope: makes use of validation tokens.
    uses_validation = TN_USES_VALIDATION;
}

impl Capabilities {
    pub(crate) const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The ABI's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// What a model technique makes use of that the host measures: the ABI's `TN_STATISTIC_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statistics(u64);

impl Statistics {
    pub(crate) const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether it asks for anything.
    pub const fn any(self) -> bool {
        self.0 != 0
    }

    /// The moments of every input that Linears share.
    pub const fn moments(self) -> bool {
        self.0 & abi::TN_STATISTIC_MOMENTS != 0
    }

    /// XᵀX of the input of attention's output projection.
    pub const fn gram_attention(self) -> bool {
        self.0 & abi::TN_STATISTIC_GRAM_ATTENTION != 0
    }

    /// XᵀX of the input of the feed-forward part's last Linear.
    pub const fn gram_feed_forward(self) -> bool {
        self.0 & abi::TN_STATISTIC_GRAM_FEED_FORWARD != 0
    }

    /// XᵀX of every input that Linears share.
    pub const fn gram_inputs(self) -> bool {
        self.0 & abi::TN_STATISTIC_GRAM_INPUTS != 0
    }

    /// The mean cosine of what goes into each block and what comes out.
    pub const fn block_similarity(self) -> bool {
        self.0 & abi::TN_STATISTIC_BLOCK_SIMILARITY != 0
    }
}

/// A technique of a loaded plugin; cheap to clone.
#[derive(Clone)]
pub struct Technique {
    inner: Arc<Inner>,
    seed: u64,
}

struct Inner {
    table: Arc<TechniqueTable>,
    schema: OptionsSchema,
    library: Arc<Path>,
    hash: Arc<str>,
    produces: Option<Produces>,
}

impl Technique {
    pub(crate) fn new(
        table: TechniqueTable,
        schema: OptionsSchema,
        library: Arc<Path>,
        hash: Arc<str>,
        produces: Option<Produces>,
    ) -> Self {
        let table = Arc::new(table);
        Self { inner: Arc::new(Inner { table, schema, library, hash, produces }), seed: 0 }
    }

    pub(crate) fn table(&self) -> &Arc<TechniqueTable> {
        &self.inner.table
    }

    /// The same technique, whose jobs are told this seed for whatever they draw at random; else it is 0.
    #[must_use]
    pub fn seeded(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// The name by which recipes call it.
    pub fn id(&self) -> &str {
        &self.inner.table.id
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.inner.table.version
    }

    /// What it works on.
    pub fn scope(&self) -> Scope {
        if self.inner.table.scope == abi::TN_SCOPE_MODEL { Scope::Model } else { Scope::Group }
    }

    /// What it asks for and promises.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.inner.table.caps)
    }

    /// The representation kinds of its own.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.inner.table.kinds.iter().copied()
    }

    /// The kinds of representation that it may make of a weight, as its manifest says; `None` where that does not say.
    /// A job of scope group that hands back any other fails.
    pub fn produces(&self) -> Option<&Produces> {
        self.inner.produces.as_ref()
    }

    /// The JSON Schema of its options.
    pub fn schema(&self) -> &Value {
        self.inner.schema.value()
    }

    /// The library that it came from.
    pub fn plugin_path(&self) -> &Path {
        &self.inner.library
    }

    /// The blake3 of that library, in hex.
    pub fn plugin_hash(&self) -> &str {
        &self.inner.hash
    }

    /// Whether its code runs in processes of its own.
    pub fn is_isolated(&self) -> bool {
        matches!(self.inner.table.functions, Functions::Worker(_))
    }

    /// Checks options against the schema.
    ///
    /// # Errors
    /// Every problem, with its path and what is allowed.
    pub fn validate(&self, options: &Value) -> Result<(), Vec<SchemaProblem>> {
        let problems = self.inner.schema.problems(options);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Starts a job of scope group with the given options.
    ///
    /// `thread_budget` is the number of threads that the plugin may use, at least 1.
    ///
    /// # Errors
    /// [`PluginError::Scope`] for a technique of another scope, [`PluginError::Options`] where the options break the
    /// schema, [`PluginError::Failed`] or [`PluginError::Panicked`] where the plugin does not want them.
    pub fn start(
        &self,
        options: &Value,
        thread_budget: u32,
        events: Arc<dyn HostEvents>,
    ) -> Result<Job, PluginError> {
        self.instance(Scope::Group, options, thread_budget, events).map(Job::new)
    }

    /// Starts a job of scope model with the given options.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_model(
        &self,
        options: &Value,
        thread_budget: u32,
        events: Arc<dyn HostEvents>,
    ) -> Result<ModelJob, PluginError> {
        self.instance(Scope::Model, options, thread_budget, events).map(ModelJob::new)
    }

    fn instance(
        &self,
        asked: Scope,
        options: &Value,
        thread_budget: u32,
        events: Arc<dyn HostEvents>,
    ) -> Result<Instance, PluginError> {
        if self.scope() != asked {
            return Err(PluginError::Scope {
                technique: self.id().to_owned(),
                scope: self.scope().name(),
                asked: asked.name(),
            });
        }
        self.validate(options)
            .map_err(|problems| PluginError::Options { technique: self.id().to_owned(), problems })?;
        let mut codecs = CodecRegistry::builtin();
        self.register_codecs(&mut codecs);
        Instance::create(self, options, Context::new(events, codecs, thread_budget.max(1), self.seed))
    }

    /// Adds a codec for each of its own kinds, so that checkpoints that hold them can be read.
    pub fn register_codecs(&self, codecs: &mut CodecRegistry) {
        for kind in self.kinds() {
            codecs.register(Arc::new(PluginCodec { table: Arc::clone(self.table()), kind }));
        }
    }
}

impl fmt::Debug for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Technique")
            .field("id", &self.id())
            .field("version", &self.version())
            .field("scope", &self.scope())
            .field("capabilities", &self.capabilities())
            .field("library", &self.inner.library)
            .finish_non_exhaustive()
    }
}
