//! Everything that an evaluation reads, opened and checked before any work begins.

use super::robustness::Harder;
use super::{EvalRequest, business};
use crate::error::RunError;
use crate::observer::Observer;
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_eval::quality::Business;
use tenuis_eval::tasks::Task;
use tenuis_eval::{EvalError, Windows};
use tenuis_model::{Model, Tokenizer};

/// The longest windows that are chosen by default.
const LONGEST_WINDOW: usize = 2048;

/// What an evaluation reads.
pub(super) struct Inputs {
    pub(super) model: Model,
    pub(super) data: Text,
    /// What gates and searches choose by: text that is not reported on.
    pub(super) selection: Option<(Text, Windows)>,
    pub(super) calibration: Option<Text>,
    pub(super) tasks: Vec<Task>,
    pub(super) windows: Windows,
    pub(super) harder: Harder,
    /// What the user's own commands say of the model: run first, so that one that fails does so before any work.
    pub(super) business: BTreeMap<String, Business>,
    /// Checkpoints that were made elsewhere, by name.
    pub(super) others: Vec<(String, Model)>,
    /// What the reader should know.
    pub(super) warnings: Vec<String>,
}

impl Inputs {
    pub(super) fn open(
        request: &EvalRequest,
        codecs: &CodecRegistry,
        observer: &dyn Observer,
    ) -> Result<Self, RunError> {
        let mut names = BTreeSet::new();
        let others: Vec<String> = request.others.iter().map(|dir| name_of(dir)).collect();
        let all = request.recipes.iter().map(|r| &r.recipe.name).chain(&others);
        if let Some(twice) = all.into_iter().find(|name| !names.insert(name.as_str())) {
            return Err(RunError::DuplicateName { name: twice.clone() });
        }
        let checkpoint = Arc::new(Checkpoint::open(&request.model)?);
        let mut warnings = checkpoint.warnings().to_vec();
        let model = Model::open(checkpoint, codecs)?;
        warnings.extend_from_slice(model.warnings());
        let max_positions = model.spec().max_positions;
        let seq_len = request.seq_len.unwrap_or_else(|| max_positions.min(LONGEST_WINDOW));
        if seq_len > max_positions {
            return Err(RunError::TooLong { what: "--seq-len", seq_len, max_positions });
        }
        request.measure.check(&model)?;
        let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
        observer.begin("tokenising", 0);
        let data = Text::open(&request.data, &tokenizer)?;
        let calibration = request.calibration.as_deref().map(|p| Text::open(p, &tokenizer)).transpose()?;
        let tasks = open_tasks(&request.tasks, &tokenizer, &model)?;
        let cut = |text: &Text| {
            let (tokens, stride) = (text.data.tokens.len(), request.stride.unwrap_or(seq_len));
            Windows::strided(tokens, seq_len, stride, request.max_tokens).map_err(EvalError::from)
        };
        let whole = data;
        let (selection, data) = match (&request.select, request.chooses()) {
            (Some(path), true) => (Some(Text::open(path, &tokenizer)?), whole.clone()),
            (None, true) => {
                let (first, second) = whole.halves(seq_len);
                (Some(first), second)
            }
            (_, false) => (None, whole.clone()),
        };
        let windows = cut(&data)?;
        let selection = selection.map(|text| cut(&text).map(|windows| (text, windows))).transpose()?;
        let harder =
            request.robustness.texts(&whole, &tokenizer, windows, max_positions, request.max_tokens)?;
        observer.end();
        warnings.extend_from_slice(&harder.notes);
        if calibration.as_ref().is_some_and(|c| c.data.hash == data.data.hash) {
            warnings
                .push("calibration and evaluation text are the same file: the figures flatter".to_owned());
        }
        let business = business::measure(&request.business, &request.model)?;
        let others = open_others(&request.others, &model, codecs, &mut warnings)?;
        Ok(Self { model, data, selection, calibration, tasks, windows, harder, business, others, warnings })
    }
}

/// Opens what was made elsewhere, whose predictions have to be about the same tokens.
fn open_others(
    dirs: &[PathBuf],
    model: &Model,
    codecs: &CodecRegistry,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, Model)>, RunError> {
    let mut opened = Vec::with_capacity(dirs.len());
    for dir in dirs {
        let other = Model::open(Arc::new(Checkpoint::open(dir)?), codecs)?;
        if other.spec().vocab != model.spec().vocab {
            let (expected, found) = (model.spec().vocab, other.spec().vocab);
            return Err(RunError::OtherVocabulary { dir: dir.clone(), expected, found });
        }
        let name = name_of(dir);
        let said = other.checkpoint().warnings().iter().chain(other.warnings());
        warnings.extend(said.map(|warning| format!("{name}: {warning}")));
        opened.push((name, other));
    }
    Ok(opened)
}

/// What a checkpoint that was made elsewhere is called.
pub(super) fn name_of(dir: &Path) -> String {
    dir.file_name().map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Reads and checks every task.
fn open_tasks(paths: &[PathBuf], tokenizer: &Tokenizer, model: &Model) -> Result<Vec<Task>, RunError> {
    let mut names = BTreeSet::new();
    let mut tasks = Vec::with_capacity(paths.len());
    for path in paths {
        let task = Task::open(path, tokenizer, model).map_err(EvalError::from)?;
        if !names.insert(task.name().to_owned()) {
            return Err(RunError::DuplicateTask { name: task.name().to_owned() });
        }
        tasks.push(task);
    }
    Ok(tasks)
}
