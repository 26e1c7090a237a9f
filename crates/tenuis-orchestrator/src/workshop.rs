//! What stages are run with.

use crate::gate::Gatekeeper;
use crate::log::RunLog;
use crate::observer::Observer;
use crate::store::StageStore;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenuis_core::CodecRegistry;
use tenuis_host::PluginRegistry;

/// What a compression run works with.
pub struct Workshop<'a> {
    /// The loaded plugins.
    pub plugins: &'a PluginRegistry,
    /// The codecs of weights, those of plugins included.
    pub codecs: &'a CodecRegistry,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// What is asked for.
    pub options: CompressOptions,
    /// Who measures what gates ask for; recipes with gates fail without.
    pub(crate) gates: Option<&'a Gatekeeper<'a>>,
    /// Where what happens is written down.
    pub(crate) log: RunLog,
    /// Keys of the stages that this workshop has run: what is to be made afresh is made once.
    made: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Workshop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workshop").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Options of a compression run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompressOptions {
    /// Copy weights that are NaN or infinite through, uncompressed, instead of failing.
    pub allow_nonfinite: bool,
    /// Start over even where an earlier run has left a finished checkpoint of the same inputs.
    pub fresh: bool,
    /// Payload bytes at which a new weight file is begun.
    pub max_shard_bytes: u64,
    /// Worker threads.
    pub threads: usize,
    /// The most bytes of memory that a recipe may need by its plan; what is free where absent.
    pub max_memory: Option<u64>,
    /// Where outputs of stages are kept for other runs; by default beside the target, until it is finished.
    pub store: Option<StageStore>,
    /// A stage that looks at activations saves its finished blocks when the last save is so long ago: a kill loses one block,
    /// or so much work where blocks take less.
    pub save_every: Duration,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self {
            allow_nonfinite: false,
            fresh: false,
            max_shard_bytes: 5_000_000_000,
            threads: rayon::current_num_threads(),
            max_memory: None,
            store: None,
            save_every: Duration::from_secs(1),
        }
    }
}

impl<'a> Workshop<'a> {
    /// A workshop without gates and without a ledger.
    pub fn new(
        plugins: &'a PluginRegistry,
        codecs: &'a CodecRegistry,
        observer: Arc<dyn Observer>,
        options: CompressOptions,
    ) -> Self {
        Self {
            plugins,
            codecs,
            observer,
            options,
            gates: None,
            log: RunLog::default(),
            made: Mutex::default(),
        }
    }

    /// Measures what gates ask for by this gatekeeper.
    #[must_use]
    pub fn with_gates(self, gates: Option<&'a Gatekeeper<'a>>) -> Self {
        Self { gates, ..self }
    }

    /// Writes down what happens.
    #[must_use]
    pub fn with_log(self, log: RunLog) -> Self {
        Self { log, ..self }
    }
}

impl Workshop<'_> {
    /// Whether what the store has under a key may be taken.
    pub(crate) fn may_reuse(&self, key: &str) -> bool {
        !self.options.fresh || self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Remembers that the stage of a key was run.
    pub(crate) fn remember(&self, key: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
    }
}
