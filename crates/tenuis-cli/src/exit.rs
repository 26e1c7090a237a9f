//! Errors as one line and a documented exit code (`docs/exit-codes.md`).

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use tenuis_core::hub::HubError;
use tenuis_core::{CheckpointError, StorageError};
use tenuis_distill::TrainError;
use tenuis_eval::EvalError;
use tenuis_model::{ModelError, TokenizerError};
use tenuis_orchestrator::allocate::AllocateError;
use tenuis_orchestrator::formats::ExportError;
use tenuis_orchestrator::plugin::{LoadError, PluginError};
use tenuis_orchestrator::{RecipeError, RunError};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Something that should not happen.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A model, text or tokenizer cannot be used.
    Input = 3,
    /// A recipe cannot be carried out.
    Recipe = 4,
    /// A plugin is missing or failed.
    Plugin = 5,
    /// The output cannot be written.
    Output = 6,
    /// The numbers do not allow it.
    Numerical = 7,
    /// A file changed under the program's hands.
    Changed = 8,
    /// Stopped on request, with its state saved.
    Stopped = 9,
    /// A condition that the user set does not hold.
    Requirement = 10,
}

/// An error on its way out of the program.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    broken_pipe: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        // One line, whatever a dependency's message looks like.
        let message = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { code, message, broken_pipe: false }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// An error of reading an input file.
    pub(crate) fn input(path: &Path, error: impl fmt::Display) -> Self {
        Self::new(Code::Input, format!("{}: {error}", path.display()))
    }

    /// An error of writing an output file.
    pub(crate) fn output(path: &Path, error: impl fmt::Display) -> Self {
        Self::new(Code::Output, format!("{}: {error}", path.display()))
    }

    /// An error of writing to standard output.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { broken_pipe, ..Self::new(Code::Output, format!("standard output: {error}")) }
    }

    pub(crate) const fn code(&self) -> u8 {
        self.code as u8
    }

    pub(crate) const fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::new(Code::Input, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Checkpoint(e) => checkpoint_code(e),
            RunError::Storage(e) => storage_code(e),
            RunError::Model(e) => model_code(e),
            RunError::Export(e) => export_code(e),
            RunError::RoundTrip { .. } | RunError::Page(_) | RunError::Ledger(_) | RunError::Busy { .. } => {
                Code::Output
            }
            RunError::NothingPassed { .. } => Code::Requirement,
            RunError::Eval(e) => eval_code(e),
            RunError::Allocate(AllocateError::Menu { .. })
            | RunError::Recipe(_)
            | RunError::DuplicateName { .. }
            | RunError::Gate { .. } => Code::Recipe,
            RunError::Allocate(AllocateError::Solver(_))
            | RunError::NonFiniteWeight { .. }
            | RunError::NonFiniteActivations { .. }
            | RunError::Statistics { .. } => Code::Numerical,
            RunError::Technique { .. }
            | RunError::Plugin(_)
            | RunError::NewConfig { .. }
            | RunError::Unsupported { .. } => Code::Plugin,
            RunError::File { .. }
            | RunError::TeacherVocabulary { .. }
            | RunError::OtherVocabulary { .. }
            | RunError::NotUtf8 { .. }
            | RunError::Document { .. }
            | RunError::Business { .. }
            | RunError::Tokenizer(_)
            | RunError::Weight { .. }
            | RunError::Tensor { .. }
            | RunError::TooLittleCalibration { .. } => Code::Input,
            RunError::Allocate(_)
            | RunError::NoCalibration { .. }
            | RunError::NoGateText { .. }
            | RunError::Scenario(_)
            | RunError::Preflight(_)
            | RunError::BusinessForm { .. }
            | RunError::NoTrainingText { .. }
            | RunError::TooLong { .. }
            | RunError::TooLittleMemory { .. }
            | RunError::DuplicateTask { .. }
            | RunError::DuplicateText { .. } => Code::Usage,
            RunError::Paused { .. } | RunError::Cancelled => Code::Stopped,
            _ => Code::Internal,
        };
        Self::new(code, &error)
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self::new(checkpoint_code(&error), &error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::new(storage_code(&error), &error)
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self::new(model_code(&error), &error)
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        let code = match &error {
            TrainError::Option { .. } | TrainError::Pattern { .. } | TrainError::NothingToTrain { .. } => {
                Code::Usage
            }
            TrainError::NonFinite { .. } | TrainError::NoGradient { .. } => Code::Numerical,
            TrainError::Io { .. } => Code::Output,
            TrainError::Cancelled { .. } => Code::Stopped,
            TrainError::Model(e) => model_code(e),
            TrainError::Checkpoint(e) => checkpoint_code(e),
            TrainError::Vocabulary { .. }
            | TrainError::TooFewTokens { .. }
            | TrainError::Token { .. }
            | TrainError::Layer { .. }
            | TrainError::Shape { .. }
            | TrainError::OtherRun { .. }
            | TrainError::State { .. }
            | TrainError::Weight { .. } => Code::Input,
            _ => Code::Internal,
        };
        Self::new(code, &error)
    }
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        Self::new(Code::Input, &error)
    }
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        Self::new(eval_code(&error), &error)
    }
}

impl From<RecipeError> for Failure {
    fn from(error: RecipeError) -> Self {
        Self::new(Code::Recipe, &error)
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Self::new(Code::Plugin, &error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::new(Code::Plugin, &error)
    }
}

/// Whatever concerns the directory being written is an output error; the rest is about the input.
fn checkpoint_code(error: &CheckpointError) -> Code {
    match error {
        CheckpointError::TargetName { .. }
        | CheckpointError::TargetExists { .. }
        | CheckpointError::TargetForeign { .. }
        | CheckpointError::TargetIsInput { .. }
        | CheckpointError::Locked { .. }
        | CheckpointError::NoSpace { .. }
        | CheckpointError::Duplicate { .. }
        | CheckpointError::FileName { .. } => Code::Output,
        CheckpointError::Io { action, .. }
            if !["list", "map", "open", "read", "resolve"].contains(action) =>
        {
            Code::Output
        }
        _ => Code::Input,
    }
}

fn storage_code(error: &StorageError) -> Code {
    match error {
        StorageError::Checkpoint(e) => checkpoint_code(e),
        _ => Code::Input,
    }
}

fn export_code(error: &ExportError) -> Code {
    match error {
        ExportError::Checkpoint(e) => checkpoint_code(e),
        ExportError::Storage(e) => storage_code(e),
        ExportError::Range { .. } => Code::Numerical,
        _ => Code::Input,
    }
}

fn model_code(error: &ModelError) -> Code {
    match error {
        ModelError::Checkpoint(e) => checkpoint_code(e),
        ModelError::Candle(_) => Code::Internal,
        _ => Code::Input,
    }
}

fn eval_code(error: &EvalError) -> Code {
    match error {
        EvalError::Model(e) => model_code(e),
        EvalError::NonFinite { .. } | EvalError::NonFiniteTask { .. } => Code::Numerical,
        EvalError::Context { .. } => Code::Usage,
        EvalError::Child { .. } => Code::Internal,
        _ => Code::Input,
    }
}
