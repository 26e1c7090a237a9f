//! In what forms the weights of a model may be between the stages of a recipe.

use crate::error::RunError;
use crate::recipe::{LoadedRecipe, ResolvedTargets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tenuis_core::{CodecRegistry, StoredWeights};
use tenuis_host::{NoEvents, PluginError, Scope, Technique};
use tenuis_model::Model;

/// A Linear and the descriptors that its weight may have.
struct Form {
    block: usize,
    /// One before the first stage; behind a technique that says what it produces, one for each kind, of which nothing but
    /// the `kind` is known; `None` behind one that does not say.
    possible: Option<Vec<Value>>,
}

/// The forms of all Linears, carried from stage to stage without running any.
///
/// A composition is refused where a technique takes none of the forms that a weight may have when it gets there. What is
/// not known (a technique that does not say what it makes) is not refused here, but when the stage begins.
pub(crate) struct Forms {
    linears: BTreeMap<String, Form>,
}

impl Forms {
    /// The forms that the model has as it is stored.
    ///
    /// # Errors
    /// [`RunError::Storage`].
    pub(crate) fn stored(model: &Model, codecs: &CodecRegistry) -> Result<Self, RunError> {
        let checkpoint = model.checkpoint();
        let stored = StoredWeights::from_checkpoint(checkpoint)?;
        let mut linears = BTreeMap::new();
        for (block, layer) in model.spec().layers.iter().enumerate() {
            for linear in layer.linears() {
                let weight = stored.weight(checkpoint, codecs, &linear.name, linear.shape, linear.layout)?;
                linears.insert(linear.name, Form { block, possible: Some(vec![weight.descriptor()]) });
            }
        }
        Ok(Self { linears })
    }

    /// Asks a stage's technique whether it takes the forms that there are, and goes on to those that it makes.
    ///
    /// `targets` is `None` for a technique of the whole model.
    ///
    /// # Errors
    /// [`RunError::Recipe`] with the line of the technique and the first weight that it cannot take in any form.
    pub(crate) fn pass(
        &mut self,
        loaded: &LoadedRecipe,
        index: usize,
        technique: &Technique,
        targets: Option<&ResolvedTargets>,
    ) -> Result<(), RunError> {
        let options = Value::Object(loaded.recipe.stages[index].options.clone());
        let mut accepts = Accepts::start(technique, &options)?;
        let produces: Option<Vec<Value>> =
            technique.produces().map(|kinds| kinds.iter().map(|kind| json!({ "kind": kind })).collect());
        for (name, form) in &mut self.linears {
            if targets.is_some_and(|targets| !targets.in_block(form.block, name)) {
                continue;
            }
            let mut refusal = None;
            let mut taken = false;
            for descriptor in form.possible.iter().flatten() {
                match accepts.ask(descriptor) {
                    None => taken = true,
                    Some(problem) => refusal = refusal.or(Some(problem)),
                }
            }
            if let (Some(problem), false) = (refusal, taken) {
                let pointer = format!("/stages/{index}/technique");
                return Err(loaded.origin.error(&pointer, format!("{name}: {problem}")).into());
            }
            form.possible.clone_from(&produces);
        }
        Ok(())
    }
}

/// A job that is only asked, and its answers: most weights of a model have the same form.
struct Accepts<'a> {
    ask: Box<dyn FnMut(&Value) -> Result<(), PluginError> + 'a>,
    answers: Vec<(Value, Option<String>)>,
}

impl Accepts<'_> {
    fn start(technique: &Technique, options: &Value) -> Result<Self, PluginError> {
        let ask: Box<dyn FnMut(&Value) -> Result<(), PluginError>> = match technique.scope() {
            Scope::Group => {
                let mut job = technique.start(options, 1, Arc::new(NoEvents))?;
                Box::new(move |descriptor| job.accepts(descriptor))
            }
            Scope::Model => {
                let mut job = technique.start_model(options, 1, Arc::new(NoEvents))?;
                Box::new(move |descriptor| job.accepts(descriptor))
            }
        };
        Ok(Self { ask, answers: Vec::new() })
    }

    /// Why the technique does not take weights of this descriptor, if it does not.
    fn ask(&mut self, descriptor: &Value) -> Option<String> {
        if let Some((_, answer)) = self.answers.iter().find(|(known, _)| known == descriptor) {
            return answer.clone();
        }
        let answer = (self.ask)(descriptor).err().map(|error| error.to_string());
        self.answers.push((descriptor.clone(), answer.clone()));
        answer
    }
}
