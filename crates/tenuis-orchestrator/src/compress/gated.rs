//! A stage with a gate behind it: kept, tried again more carefully, or rolled back.

use super::Course;
use super::attempt::State;
use super::ladder::{self, Rung};
use crate::error::RunError;
use crate::workshop::Workshop;
use tenuis_eval::report::Requirement;
use tenuis_plan::gate::{Action, Decision, Exhausted, Progression, Stage};
use tenuis_recipe::{LoadedRecipe, OnFailure};

impl Workshop<'_> {
    /// Checks that every gate can be read, and that somebody can measure what it is about.
    pub(super) fn check_gates(&self, loaded: &LoadedRecipe) -> Result<(), RunError> {
        for index in 0..loaded.recipe.stages.len() {
            let requirements = requirements(loaded, index)?;
            check_texts(loaded, index)?;
            if let Some(gates) = self.gates {
                gates.check(&loaded.recipe.name, &requirements)?;
            } else if let Some(requirement) = requirements.first() {
                let (recipe, requirement) = (loaded.recipe.name.clone(), requirement.to_string());
                return Err(RunError::NoGateText { recipe, requirement });
            }
        }
        Ok(())
    }

    /// Runs a stage and its rungs until one passes; whether the recipe goes on behind it.
    pub(super) fn run_gated(
        &self,
        course: &Course<'_>,
        index: usize,
        state: &mut State,
        decisions: &mut Vec<Decision>,
    ) -> Result<bool, RunError> {
        let stage = &course.loaded.recipe.stages[index];
        let requirements = requirements(course.loaded, index)?;
        // With layer gates the ladder is climbed down by every group for itself.
        let rungs: Vec<Rung> = if stage.layer_gates.is_empty() {
            ladder::rungs(self.plugins, course.loaded, index)?
        } else {
            Vec::new()
        };
        let exhausted = match stage.on_failure.unwrap_or(course.loaded.recipe.on_failure) {
            OnFailure::Stop => Exhausted::Stop,
            OnFailure::Skip => Exhausted::Skip,
        };
        let bold = ladder::label(stage);
        let mut names: Vec<&str> = vec![&bold];
        names.extend(rungs.iter().map(|rung| rung.name.as_str()));
        let name = format!("{}: {}", index + 1, stage.technique);
        let mut plan = Progression::new(vec![Stage::new(&name, &names)], exhausted)
            .map_err(|e| course.loaded.origin.error(&format!("/stages/{index}/ladder"), e.to_string()))?;
        while let Some(attempt) = plan.next() {
            let walk = index..index + 1;
            let made = match attempt.rung_index.checked_sub(1) {
                None => self.attempt(course, course.loaded, &course.techniques, walk, state),
                Some(rung) => {
                    let rung = &rungs[rung];
                    self.attempt(course, &rung.loaded, &rung.techniques, walk, state)
                }
            };
            let decision = match &made {
                Ok(next) => {
                    let conditions = match (&next.last, self.gates) {
                        (Some(last), Some(gates)) if !requirements.is_empty() => gates.conditions(
                            &course.store,
                            &requirements,
                            last,
                            self.codecs,
                            &self.observer,
                        )?,
                        _ => Vec::new(),
                    };
                    plan.judge(conditions)
                }
                // Another rung may do what this one could not; without one the run fails as it would without a gate.
                Err(error) if error.ends_an_attempt() && !rungs.is_empty() => plan.fail(&error.to_string()),
                Err(_) => return made.map(|_| false),
            };
            let decision = decision
                .map_err(|e| course.loaded.origin.error(&format!("/stages/{index}"), e.to_string()))?;
            self.log.gate(decision.clone())?;
            let action = decision.action.clone();
            if action != Action::Accept {
                self.observer.warn(&format!(
                    "{}: {name}: {} did not pass: {}",
                    course.loaded.recipe.name, decision.attempt.rung, decision.reason
                ));
            }
            decisions.push(decision);
            match action {
                Action::Accept => {
                    *state = made?;
                    return Ok(true);
                }
                Action::SkipStage => return Ok(true),
                Action::NextRung { .. } => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Checks that the gates of a stage can be read.
pub(super) fn check_texts(loaded: &LoadedRecipe, index: usize) -> Result<(), RunError> {
    requirements(loaded, index)?;
    Ok(crate::stage::check_layer_gates(loaded, index)?)
}

/// The gates of a stage: the recipe's and its own.
fn requirements(loaded: &LoadedRecipe, index: usize) -> Result<Vec<Requirement>, RunError> {
    let recipe = &loaded.recipe;
    let read = |pointer: String, text: &String| -> Result<Requirement, RunError> {
        text.parse().map_err(|e: tenuis_eval::report::RequirementError| {
            loaded.origin.error(&pointer, e.to_string()).into()
        })
    };
    let shared = recipe.gates.iter().enumerate().map(|(i, text)| read(format!("/gates/{i}"), text));
    let own = recipe.stages[index].gates.iter().enumerate();
    let own = own.map(|(i, text)| read(format!("/stages/{index}/gates/{i}"), text));
    shared.chain(own).collect()
}
