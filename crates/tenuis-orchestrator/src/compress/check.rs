//! What of a recipe can be checked before any work.

use super::{calibration_for, gated, ladder};
use crate::error::RunError;
use crate::registry;
use crate::stage::model_scope;
use crate::stage::{self, Forms};
use crate::text::Text;
use crate::workshop::Workshop;
use tenuis_host::{PluginRegistry, Scope, Technique};
use tenuis_model::Model;
use tenuis_recipe::{LoadedRecipe, ResolvedTargets};

/// Checks a recipe without a model: that plugins provide its techniques, also those of ladders, and take its options.
///
/// Of the template of a search, whose options are not known yet, only its own grammar was checked when it was read.
///
/// # Errors
/// [`RunError::Recipe`] with the line and column of what is wrong.
pub fn check_recipe(plugins: &PluginRegistry, loaded: &LoadedRecipe) -> Result<(), RunError> {
    if loaded.is_template() {
        return Ok(());
    }
    registry::resolve(plugins, loaded)?;
    for index in 0..loaded.recipe.stages.len() {
        ladder::rungs(plugins, loaded, index)?;
        gated::check_texts(loaded, index)?;
    }
    Ok(())
}

impl Workshop<'_> {
    /// Checks a recipe against plugins, model and calibration text before any work.
    ///
    /// # Errors
    /// [`RunError`] that names the recipe's line, or what is missing.
    pub fn check(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        calibration: Option<&Text>,
    ) -> Result<(), RunError> {
        let techniques = registry::resolve(self.plugins, loaded)?;
        self.check_gates(loaded)?;
        let mut forms = Forms::stored(model, self.codecs)?;
        for (index, technique) in techniques.iter().enumerate() {
            let targets = self.check_stage(model, loaded, index, technique, calibration)?;
            for rung in ladder::rungs(self.plugins, loaded, index)? {
                let checked =
                    self.check_stage(model, &rung.loaded, index, &rung.technique, calibration).map(drop);
                checked.map_err(|error| ladder::in_rung(loaded, index, &rung, error))?;
            }
            forms.pass(loaded, index, technique, targets.as_ref())?;
        }
        calibration_for(self.plugins, model, loaded, &techniques, calibration).map(drop)
    }

    fn check_stage(
        &self,
        model: &Model,
        loaded: &LoadedRecipe,
        index: usize,
        technique: &Technique,
        calibration: Option<&Text>,
    ) -> Result<Option<ResolvedTargets>, RunError> {
        model_scope::check(self, model, loaded, index, technique, calibration)?;
        match technique.scope() {
            Scope::Group => stage::check_targets(model, loaded, index, technique).map(Some),
            Scope::Model => Ok(None),
        }
    }
}
