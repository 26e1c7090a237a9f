//! The identity of a stage's output: what went in and what was done to it.

use super::{Course, looks_at_text};
use crate::calibration::Calibration;
use crate::error::RunError;
use crate::stage::model_scope::ModelInputs;
use serde_json::{Value, json};
use std::ops::Range;
use tenuis_core::Checkpoint;
use tenuis_host::{Scope, Technique};
use tenuis_recipe::{LoadedRecipe, Stage};

/// What a stage's key is made of, beside what went in before.
pub(super) struct Done<'a> {
    pub(super) loaded: &'a LoadedRecipe,
    pub(super) techniques: &'a [Technique],
    pub(super) walk: Range<usize>,
    pub(super) calibration: Option<&'a Calibration>,
    pub(super) learns_from: Option<&'a Value>,
}

impl Done<'_> {
    /// The key of the walk's output, given that of its input.
    pub(super) fn key(&self, input: &str) -> String {
        let side_by_side = self.walk.len();
        self.walk.clone().fold(input.to_owned(), |key, index| self.stage(&key, index, side_by_side))
    }

    fn stage(&self, input: &str, index: usize, side_by_side: usize) -> String {
        let technique = &self.techniques[index];
        let mut identity = json!({
            "input": input,
            "technique": technique.id(),
            "version": technique.version(),
            "plugin": technique.plugin_hash(),
            "stage": essence(&self.loaded.recipe.stages[index]),
            "seed": self.loaded.recipe.seed,
            "calibration": self.calibration.map(Calibration::source),
        });
        if let Some(inputs) = self.learns_from {
            identity["inputs"] = inputs.clone();
        }
        if side_by_side > 1 {
            identity["side by side"] = side_by_side.into();
        }
        blake3::hash(identity.to_string().as_bytes()).to_hex().to_string()
    }
}

/// A stage without what decides about its output and not what that is.
fn essence(stage: &Stage) -> Stage {
    let mut stage = stage.clone();
    stage.gates.clear();
    stage.on_failure = None;
    stage.only_if.clear();
    if stage.layer_gates.is_empty() {
        stage.ladder.clear();
    }
    stage
}

impl Course<'_> {
    /// The key that the checkpoint at the target has to have if it is what this course would make: with the stages taken
    /// together as that checkpoint says it took them.
    pub(super) fn key_at_target(&self) -> Result<Option<String>, RunError> {
        let walks = || {
            let checkpoint = Checkpoint::open(self.target).ok()?;
            let provenance = &checkpoint.manifest()?.provenance;
            let ends: Vec<usize> = serde_json::from_value(provenance.get("walks")?.clone()).ok()?;
            let fits = ends.is_sorted() && ends.last() == Some(&self.techniques.len());
            fits.then_some(ends)
        };
        let Some(ends) = walks() else { return Ok(None) };
        let mut key = self.model.checkpoint().hash().to_hex().to_string();
        let mut start = 0;
        for end in ends.into_iter().filter(|&end| end > 0) {
            let inputs = self.inputs(self.loaded, &self.techniques, start)?;
            let done = Done {
                loaded: self.loaded,
                techniques: &self.techniques,
                calibration: self.calibration_of(self.loaded, &self.techniques, start)?,
                learns_from: inputs.as_ref().map(ModelInputs::identity),
                walk: start..end,
            };
            key = done.key(&key);
            start = end;
        }
        Ok(Some(key))
    }

    /// The calibration text of a stage, where it looks at any.
    pub(super) fn calibration_of(
        &self,
        loaded: &LoadedRecipe,
        techniques: &[Technique],
        index: usize,
    ) -> Result<Option<&Calibration>, RunError> {
        let looks = looks_at_text(loaded, index, &techniques[index])?;
        Ok(self.calibration.as_ref().filter(|_| looks))
    }

    /// What a stage learns from, where it works on the whole model.
    pub(super) fn inputs(
        &self,
        loaded: &LoadedRecipe,
        techniques: &[Technique],
        index: usize,
    ) -> Result<Option<ModelInputs>, RunError> {
        match techniques[index].scope() {
            Scope::Group => Ok(None),
            Scope::Model => {
                ModelInputs::open(self.model, loaded, index, &techniques[index], self.text).map(Some)
            }
        }
    }
}
