//! What can stop a run.

use std::io;
use std::path::PathBuf;
use tenuis_core::{CheckpointError, StorageError, TensorError, WeightError};
use tenuis_eval::EvalError;
use tenuis_export::ExportError;
use tenuis_host::{PluginError, SchemaProblem};
use tenuis_linalg::StatsError;
use tenuis_model::{ModelError, TokenizerError};
use tenuis_recipe::RecipeError;
use thiserror::Error;

/// A run that stopped; nothing partial is left at the output path.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A recipe cannot be carried out as written.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Nothing could be allocated.
    #[error(transparent)]
    Allocate(#[from] crate::allocate::AllocateError),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint's declaration of its weights does not hold.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A model could not be run.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// A checkpoint could not be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// What was written is not what it was made of.
    #[error(
        "{}: {what} came back as {found}, expected {expected}; nothing was kept: check memory and disk, then report it",
        dir.display()
    )]
    RoundTrip {
        /// Where it was written.
        dir: PathBuf,
        /// The tensor and place, or the logit.
        what: String,
        /// What was in memory.
        expected: String,
        /// What was read.
        found: String,
    },
    /// A tokenizer is missing, does not fit the model or cannot read a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A measurement could not be made.
    #[error(transparent)]
    Eval(Box<EvalError>),
    /// Two harder texts would have one result.
    #[error(
        "two of the harder texts are called {name:?} (misspelt and long_context are taken); rename the file"
    )]
    DuplicateText {
        /// The name.
        name: String,
    },
    /// A line of a file of documents has no text.
    #[error("{}, line {line}: {problem}; every line has to be a JSON object with the document in field \"text\"", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// What should be a command with a name is none.
    #[error("{text:?} is no metric; write NAME=COMMAND, or NAME:lower=COMMAND where less is better")]
    BusinessForm {
        /// What was given.
        text: String,
    },
    /// A command of the user's own gave no figure.
    #[error(
        "metric {name}: `{command}`: {problem}; it has to end with success and print a number on a line of its own"
    )]
    Business {
        /// The metric's name.
        name: String,
        /// What was run.
        command: String,
        /// What happened.
        problem: String,
    },
    /// A plugin failed or gave something that cannot be used.
    #[error("{weight}: technique {technique} failed: {source}")]
    Technique {
        /// The first weight of the group.
        weight: String,
        /// The technique.
        technique: String,
        /// What the plugin did.
        source: Box<PluginError>,
    },
    /// A plugin could not be loaded or started.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A weight could not be decoded.
    #[error("{tensor}: {source}")]
    Weight {
        /// The weight.
        tensor: String,
        /// What is wrong with it.
        source: WeightError,
    },
    /// A tensor could not be read.
    #[error("{tensor}: {source}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        source: TensorError,
    },
    /// A text or output file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A text file is not UTF-8.
    #[error("{}: is not UTF-8 text (byte {position}); convert it first", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where it stops being UTF-8.
        position: usize,
    },
    /// Weights that are NaN or infinite.
    #[error("{}: tensor {tensor} holds {count} values that are not finite; pass --allow-nonfinite to copy it through uncompressed", checkpoint.display())]
    NonFiniteWeight {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The tensor.
        tensor: String,
        /// How many.
        count: usize,
    },
    /// A technique needs calibration text and there is none.
    #[error("technique {technique} of recipe {recipe} needs calibration text; pass --calib FILE.txt")]
    NoCalibration {
        /// The technique.
        technique: String,
        /// The recipe.
        recipe: String,
    },
    /// The calibration text does not fill one window.
    #[error("{}: holds {tokens} tokens, too few to calibrate on: one window takes {seq_len}; pass a longer text", path.display())]
    TooLittleCalibration {
        /// The text.
        path: PathBuf,
        /// Tokens in it.
        tokens: usize,
        /// Tokens of a window.
        seq_len: usize,
    },
    /// Windows longer than the model's context.
    #[error(
        "{what} of {seq_len} tokens exceeds the {max_positions} positions of the model; choose a smaller {what}"
    )]
    TooLong {
        /// What was too long.
        what: &'static str,
        /// The length asked for.
        seq_len: usize,
        /// The positions of the model.
        max_positions: usize,
    },
    /// Too many calibration batches had activations that are not finite.
    #[error(
        "block {block}: {dropped} of {batches} calibration batches gave activations that are not finite; the model overflows on this text"
    )]
    NonFiniteActivations {
        /// The block.
        block: usize,
        /// Batches dropped.
        dropped: u64,
        /// Batches seen.
        batches: u64,
    },
    /// Statistics could not be gathered.
    #[error("block {block}: {source}")]
    Statistics {
        /// The block.
        block: usize,
        /// What is wrong.
        source: StatsError,
    },
    /// A technique asked the host for something it does not offer.
    #[error("technique {technique} of recipe {recipe} {problem}")]
    Unsupported {
        /// The technique.
        technique: String,
        /// The recipe.
        recipe: String,
        /// What cannot be done.
        problem: String,
    },
    /// A technique trains and there is nothing to train on.
    #[error(
        "technique {technique} of recipe {recipe} needs text to train on; pass --calib FILE.txt, or name one in the recipe: data = {{ train = \"FILE.txt\" }}"
    )]
    NoTrainingText {
        /// The technique.
        technique: String,
        /// The recipe.
        recipe: String,
    },
    /// Teacher and student do not share a vocabulary.
    #[error("{}: the teacher has {found} tokens and the student {expected}; choose a teacher with the student's tokenizer", teacher.display())]
    TeacherVocabulary {
        /// The teacher.
        teacher: PathBuf,
        /// Its tokens.
        found: usize,
        /// Those of the student.
        expected: usize,
    },
    /// The report could not be made into a page.
    #[error("report.html: {0}")]
    Page(#[source] tenuis_report::ReportError),
    /// A checkpoint to compare with has another vocabulary.
    #[error("{}: has {found} tokens and the model {expected}; only models of one tokenizer can be compared", dir.display())]
    OtherVocabulary {
        /// Its directory.
        dir: PathBuf,
        /// Its tokens.
        found: usize,
        /// Those of the model.
        expected: usize,
    },
    /// A stage would not fit into memory.
    #[error("technique {technique} of recipe {recipe} needs about {} MiB and {} MiB are free; lower batch_size or seq_len, or set checkpoint_blocks", needed >> 20, available >> 20)]
    TooLittleMemory {
        /// The technique.
        technique: String,
        /// The recipe.
        recipe: String,
        /// Bytes, by the technique's estimate.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// A technique made a configuration that describes no network.
    #[error("the technique's new configuration cannot be used: {source}")]
    NewConfig {
        /// What is wrong with it.
        source: tenuis_spec::SpecError,
    },
    /// A stage that can go on was asked to stop.
    #[error("cancelled; start the same command again to go on from {}", state.display())]
    Paused {
        /// Where its state is.
        state: PathBuf,
    },
    /// Two candidates share a name, hence a directory.
    #[error("two recipes are named {name:?}; give each its own name")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two tasks share a name, hence a column of the report.
    #[error(
        "two tasks are named {name:?}; a task's name is its file's without the extension: rename one file"
    )]
    DuplicateTask {
        /// The name.
        name: String,
    },
    /// Gates left nothing of a recipe.
    #[error("recipe {recipe}: no stage passed its gates, so there is nothing to write: {reason}")]
    NothingPassed {
        /// The recipe.
        recipe: String,
        /// Why the last stage did not pass.
        reason: String,
    },
    /// A gate asks for a quality and there is no text to measure it on.
    #[error(
        "recipe {recipe} has the gate \"{requirement}\", and nothing to measure it on; pass --gate-data FILE.txt, or run it with eval"
    )]
    NoGateText {
        /// The recipe.
        recipe: String,
        /// The gate.
        requirement: String,
    },
    /// A gate asks for what gates do not measure.
    #[error("recipe {recipe}: gate \"{requirement}\": {problem}")]
    Gate {
        /// The recipe.
        recipe: String,
        /// The gate.
        requirement: String,
        /// Why it cannot be decided.
        problem: String,
    },
    /// Another run works on the same output.
    #[error("{}: another run is writing there; wait for it, or choose another directory", dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// A recipe would not fit into memory or onto the disk, or the machine cannot be probed.
    #[error(transparent)]
    Preflight(Box<tenuis_preflight::PreflightError>),
    /// A scenario cannot be applied.
    #[error(transparent)]
    Scenario(Box<tenuis_plan::scenario::ScenarioError>),
    /// The ledger of runs cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] tenuis_plan::ledger::LedgerError),
    /// The run was asked to stop.
    #[error("cancelled; what was finished is kept, and the same command goes on from it")]
    Cancelled,
}

impl From<ModelError> for RunError {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<EvalError> for RunError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Cancelled => Self::Cancelled,
            error => Self::Eval(Box::new(error)),
        }
    }
}

impl From<tenuis_preflight::PreflightError> for RunError {
    fn from(error: tenuis_preflight::PreflightError) -> Self {
        Self::Preflight(Box::new(error))
    }
}

impl RunError {
    /// Whether somebody asked the run to stop.
    pub fn is_cancelled(&self) -> bool {
        let plugin = match self {
            Self::Cancelled | Self::Paused { .. } => return true,
            Self::Plugin(error) => error,
            Self::Technique { source, .. } => source,
            _ => return false,
        };
        matches!(plugin, PluginError::Cancelled { .. })
    }

    /// Whether the error is one of what was tried, so that something else may go well: a technique that fails, numbers that
    /// do not allow it, too little memory or disk for it. What is wrong with the input or the recipe is wrong for all.
    pub fn ends_an_attempt(&self) -> bool {
        match self {
            Self::Technique { .. }
            | Self::Plugin(_)
            | Self::Unsupported { .. }
            | Self::NewConfig { .. }
            | Self::RoundTrip { .. }
            | Self::NonFiniteActivations { .. }
            | Self::Statistics { .. }
            | Self::TooLittleMemory { .. }
            | Self::Preflight(_)
            | Self::Eval(_)
            | Self::Weight { .. }
            | Self::NothingPassed { .. } => !self.is_cancelled(),
            Self::Checkpoint(error) => {
                matches!(error, CheckpointError::NoSpace { .. } | CheckpointError::Io { .. })
            }
            // A recipe that a search made may ask for what its model does not have.
            Self::Recipe(_) => true,
            _ => false,
        }
    }
}

/// Joins what a plugin's schema found into one message for a recipe's line.
pub(crate) fn schema_problem(problems: &[SchemaProblem]) -> Option<(String, String)> {
    let first = problems.first()?;
    let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
    Some((first.pointer.clone(), format!("{}{more}", first.message)))
}
