//! What a model technique learns from: a teacher and texts.

use crate::error::RunError;
use crate::text::Text;
use crate::workshop::Workshop;
use serde_json::{Value, json};
use std::sync::Arc;
use tenuis_core::Checkpoint;
use tenuis_host::{Scope, Technique, TokenSequences};
use tenuis_model::{Model, Tokenizer};
use tenuis_recipe::{LoadedRecipe, Targets};

/// Tokens of the pieces in which a text is handed over; techniques cut it as they like.
const PIECE: usize = 256;
/// The share of the training text that is kept for validation where there is no text for that, and the most pieces.
const KEPT: (usize, usize) = (20, 64);

/// The teacher and the texts of a stage.
pub(crate) struct ModelInputs {
    pub(crate) teacher: Arc<Checkpoint>,
    pub(crate) train: Option<TokenSequences>,
    pub(crate) valid: Option<TokenSequences>,
    /// What tells these inputs from others.
    identity: Value,
}

impl ModelInputs {
    /// Opens what a stage names.
    ///
    /// # Errors
    /// [`RunError`] where a text or checkpoint cannot be read, or there is none.
    pub(crate) fn open(
        model: &Model,
        loaded: &LoadedRecipe,
        index: usize,
        technique: &Technique,
        calibration: Option<&Text>,
    ) -> Result<Self, RunError> {
        let stage = &loaded.recipe.stages[index];
        let teacher = match &stage.teacher {
            Some(dir) => Arc::new(Checkpoint::open(&loaded.path(dir))?),
            None => Arc::clone(model.checkpoint()),
        };
        let tokenizer = || Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab);
        let named = match &stage.data.train {
            Some(path) => Some(Text::open(&loaded.path(path), &tokenizer()?)?),
            None => None,
        };
        let text = named.as_ref().or(calibration);
        if text.is_none() && technique.capabilities().needs_tokens() {
            return Err(no_text(loaded, technique));
        }
        let mut train: Vec<u32> = text.map(|text| text.data.tokens.clone()).unwrap_or_default();
        let mut valid = Vec::new();
        if let Some(path) = &stage.data.valid {
            valid = Text::open(&loaded.path(path), &tokenizer()?)?.data.tokens;
        } else {
            let pieces = train.len() / PIECE;
            let kept = (pieces / KEPT.0).min(KEPT.1);
            if kept > 0 {
                valid = train.split_off((pieces - kept) * PIECE);
            }
        }
        let sequences = |tokens: Vec<u32>| (!tokens.is_empty()).then(|| TokenSequences::new(tokens, PIECE));
        let (train, valid) = (sequences(train), sequences(valid));
        let hash = |tokens: &Option<TokenSequences>| {
            tokens.as_ref().and_then(|t| tenuis_host::TokenSource::hash(t).map(str::to_owned))
        };
        let identity = json!({
            "teacher": teacher.hash().to_hex().to_string(), "train": hash(&train), "valid": hash(&valid),
        });
        Ok(Self { teacher, train, valid, identity })
    }

    pub(crate) const fn identity(&self) -> &Value {
        &self.identity
    }
}

fn no_text(loaded: &LoadedRecipe, technique: &Technique) -> RunError {
    RunError::NoTrainingText { technique: technique.id().to_owned(), recipe: loaded.recipe.name.clone() }
}

/// Checks, before any work, that a stage asks for what its technique's scope has.
///
/// # Errors
/// [`RunError`] that names the recipe's line, the text or the teacher.
pub(crate) fn check(
    workshop: &Workshop<'_>,
    model: &Model,
    loaded: &LoadedRecipe,
    index: usize,
    technique: &Technique,
    calibration: Option<&Text>,
) -> Result<(), RunError> {
    let stage = &loaded.recipe.stages[index];
    let wrong = |key: &str, problem: String| {
        RunError::from(loaded.origin.error(&format!("/stages/{index}/{key}"), problem))
    };
    let id = technique.id();
    if technique.scope() == Scope::Group {
        for (key, given) in [
            ("teacher", stage.teacher.is_some()),
            ("data", stage.data.train.is_some() || stage.data.valid.is_some()),
        ] {
            if given {
                return Err(wrong(key, format!("technique {id} works on one group of weights and has none")));
            }
        }
        return Ok(());
    }
    if stage.targets != Targets::default() {
        return Err(wrong(
            "targets",
            format!("technique {id} works on the whole model; see its own options"),
        ));
    }
    if stage.true_sequential {
        return Err(wrong(
            "true_sequential",
            format!("technique {id} works on the whole model and has no order"),
        ));
    }
    if let Some(dir) = &stage.teacher {
        let dir = loaded.path(dir);
        let teacher = Model::open(Arc::new(Checkpoint::open(&dir)?), workshop.codecs)?;
        let (found, expected) = (teacher.spec().vocab, model.spec().vocab);
        if found != expected {
            return Err(RunError::TeacherVocabulary { teacher: dir, found, expected });
        }
        let (ours, theirs) = (model.checkpoint().tokenizer_json(), teacher.checkpoint().tokenizer_json());
        if let (Ok(Some(ours)), Ok(Some(theirs))) = (ours, theirs)
            && ours != theirs
        {
            workshop.observer.warn(&format!(
                "{}: its tokenizer.json is another one than the student's; its tokens may mean other things",
                dir.display()
            ));
        }
    }
    if index == 0 {
        // What a later stage is given is not known yet; it asks when it is run.
        let options = serde_json::Value::Object(stage.options.clone());
        let mut job = technique
            .start_model(&options, 1, Arc::new(tenuis_host::NoEvents))
            .map_err(|e| wrong("options", e.to_string()))?;
        for (module, weight) in super::view(model)?.weights {
            job.accepts(&weight.descriptor()).map_err(|e| wrong("technique", format!("{module}: {e}")))?;
        }
    }
    for path in [&stage.data.train, &stage.data.valid].into_iter().flatten() {
        let path = loaded.path(path);
        std::fs::File::open(&path).map_err(|source| RunError::File { path, source })?;
    }
    if stage.data.train.is_none() && calibration.is_none() && technique.capabilities().needs_tokens() {
        return Err(no_text(loaded, technique));
    }
    Ok(())
}
