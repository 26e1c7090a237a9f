//! In what forms the weights of a model may be between the stages of a recipe.

use crate::error::RunError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tenuis_core::{CodecRegistry, StoredWeights};
use tenuis_host::{NoEvents, PluginError, Scope, Technique};
use tenuis_model::Model;
use tenuis_recipe::{LoadedRecipe, ResolvedTargets};

/// A Linear and the form of its weight.
struct Form {
    block: usize,
    /// The descriptor of what is stored, before the first stage. Behind a technique that says what it makes of such a
    /// weight, what it makes as a rule, of which nothing but the `kind` is known; `None` behind one that does not say.
    usual: Option<Value>,
    /// The technique that made it so.
    made_by: Option<String>,
}

/// The forms of all Linears, carried from stage to stage without running any.
///
/// A composition is refused where a technique does not take the form that a weight has as a rule when it gets there. What
/// is not known (a technique that does not say what it makes, an exception to its rule) is asked about again when the stage
/// begins.
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
                linears.insert(linear.name, Form { block, usual: Some(weight.descriptor()), made_by: None });
            }
        }
        Ok(Self { linears })
    }

    /// Asks a stage's technique whether it takes the forms that there are, and goes on to those that it makes.
    ///
    /// `targets` is `None` for a technique of the whole model.
    ///
    /// # Errors
    /// [`RunError::Recipe`] with the line of the technique and the first weight that it does not take.
    pub(crate) fn pass(
        &mut self,
        loaded: &LoadedRecipe,
        index: usize,
        technique: &Technique,
        targets: Option<&ResolvedTargets>,
    ) -> Result<(), RunError> {
        let options = Value::Object(loaded.recipe.stages[index].options.clone());
        let mut accepts = Accepts::start(technique, &options)?;
        for (name, form) in &mut self.linears {
            if targets.is_some_and(|targets| !targets.in_block(form.block, name)) {
                continue;
            }
            let Some(descriptor) = form.usual.take() else { continue };
            if let Some(problem) = accepts.ask(&descriptor) {
                let pointer = format!("/stages/{index}/technique");
                let after = form.made_by.as_ref().map_or_else(String::new, |id| format!("after {id}, "));
                return Err(loaded.origin.error(&pointer, format!("{name}: {after}{problem}")).into());
            }
            let kind = descriptor["kind"].as_str().unwrap_or_default();
            let usual = technique.produces().and_then(|produces| produces.of(kind).first());
            form.usual = usual.map(|kind| json!({ "kind": kind }));
            form.made_by = Some(technique.id().to_owned());
        }
        Ok(())
    }
}

/// Whether a job takes a weight of this descriptor.
type Ask<'a> = Box<dyn FnMut(&Value) -> Result<(), PluginError> + 'a>;

/// A job that is only asked, and its answers: most weights of a model have the same form.
struct Accepts<'a> {
    /// Of a technique that takes one weight after the other and does not keep zeros: its id.
    loses_zeros: Option<&'a str>,
    ask: Ask<'a>,
    answers: Vec<(Value, Option<String>)>,
}

impl<'a> Accepts<'a> {
    fn start(technique: &'a Technique, options: &Value) -> Result<Self, PluginError> {
        let ask: Ask<'_> = match technique.scope() {
            Scope::Group => {
                let mut job = technique.start(options, 1, Arc::new(NoEvents))?;
                Box::new(move |descriptor| job.accepts(descriptor))
            }
            Scope::Model => {
                let mut job = technique.start_model(options, 1, Arc::new(NoEvents))?;
                Box::new(move |descriptor| job.accepts(descriptor))
            }
        };
        let loses_zeros = technique.scope() == Scope::Group && !technique.capabilities().keeps_mask();
        Ok(Self { loses_zeros: loses_zeros.then(|| technique.id()), ask, answers: Vec::new() })
    }

    /// Why the technique does not take weights of this descriptor, if it does not.
    fn ask(&mut self, descriptor: &Value) -> Option<String> {
        if let Some((_, answer)) = self.answers.iter().find(|(known, _)| known == descriptor) {
            return answer.clone();
        }
        let answer = match self.loses_zeros.filter(|_| descriptor["kind"] == "sparse") {
            Some(id) => Some(format!("it is pruned, and {id} does not keep pruned entries at zero")),
            None => (self.ask)(descriptor).err().map(|error| match error {
                PluginError::Failed { message, .. } => message,
                other => other.to_string(),
            }),
        };
        self.answers.push((descriptor.clone(), answer.clone()));
        answer
    }
}
