//! A running technique of scope model.

use crate::call::Call;
use crate::error::{OutputProblem, PluginError};
use crate::instance::Instance;
use crate::model::view::ModelView;
use crate::model::{ModelInput, ModelOutput, ModelOutputs};
use crate::technique::{Statistics, Technique};
use serde_json::Value;
use std::sync::Arc;

/// What a fault belongs to that concerns no tensor of its own.
const WHOLE: &str = "checkpoint";

/// A technique with its options, ready to work on a whole checkpoint.
///
/// Dropping it frees the plugin's state. After [`PluginError::Panicked`] nothing else is possible.
///
/// ```no_run
/// use std::sync::Arc;
/// use tenuis_host::{ModelCheckpoint, ModelInput, NoEvents, PluginRegistry, TokenSequences};
/// # fn example(student: ModelCheckpoint, teacher: ModelCheckpoint, tokens: Vec<u32>) -> Result<(), Box<dyn std::error::Error>> {
/// let registry = PluginRegistry::discover(&["plugins".into()])?;
/// let options = serde_json::json!({ "steps": 1000 });
/// let mut job = registry.require("distill")?.start_model(&options, 2, Arc::new(NoEvents))?;
/// let train = TokenSequences::new(tokens, 256);
/// let mut input = ModelInput::new(student);
/// input.teacher = Some(Arc::new(teacher));
/// input.train = Some(&train);
/// input.state_dir = Some("/var/tmp/distill".into());
/// let output = job.run(input)?;
/// println!("{} tensors, {} removed", output.tensors.len(), output.removals.len());
/// # Ok(())
/// # }
/// ```
pub struct ModelJob(Instance);

impl ModelJob {
    pub(crate) const fn new(instance: Instance) -> Self {
        Self(instance)
    }

    /// The technique.
    pub const fn technique(&self) -> &Technique {
        self.0.technique()
    }

    /// Asks whether it takes a student with weights of this descriptor.
    ///
    /// # Errors
    /// [`PluginError::Failed`] with the plugin's reason where it does not.
    pub fn accepts(&mut self, descriptor: &Value) -> Result<(), PluginError> {
        self.0.accepts(descriptor)
    }

    /// What a [`run`](Self::run) with these options makes use of that has to be measured; nothing where the plugin is older
    /// than the question.
    ///
    /// # Errors
    /// [`PluginError::Failed`] where the plugin cannot say.
    pub fn statistics(&mut self) -> Result<Statistics, PluginError> {
        Ok(Statistics::new(self.0.ask(Call::ModelStatistics)?.unwrap_or_default()))
    }

    /// The peak of RAM in bytes that [`run`](Self::run) would take beside the checkpoints; `None` where the plugin does
    /// not know.
    ///
    /// # Errors
    /// [`PluginError::Input`] as `run`, [`PluginError::Failed`] where the plugin cannot take the model.
    pub fn estimate(&mut self, input: &ModelInput<'_>) -> Result<Option<u64>, PluginError> {
        if !self.technique().table().estimates {
            return Ok(None);
        }
        let view = ModelView::new(self.technique(), input, self.0.context())?;
        // The view lives until the call is over.
        self.0.ask(Call::ModelEstimate(view.as_ptr()))
    }

    /// Works on a checkpoint.
    ///
    /// # Errors
    /// [`PluginError::Input`] where something is missing that the technique's capabilities ask for, before the plugin is
    /// called; `Failed`, `Cancelled`, `Panicked` as the plugin says; [`PluginError::Output`] where what it hands back
    /// cannot be kept.
    #[expect(clippy::needless_pass_by_value, reason = "as Job::run: what is given is used up")]
    pub fn run(&mut self, input: ModelInput<'_>) -> Result<ModelOutput, PluginError> {
        let id = self.technique().id().to_owned();
        let context = Arc::clone(self.0.context());
        let view = ModelView::new(self.technique(), &input, &context)?;
        let outputs =
            ModelOutputs::new(Arc::clone(&input.student), input.teacher.clone(), self.0.next_seed());
        let (result, outputs) = context.with_model(outputs, input.eval_loss, || {
            // The view lives until the call is over.
            self.0.call(Call::ModelRun(view.as_ptr()))
        });
        let (metrics, log) = context.take_reported();
        let bad = |(weight, problem): (String, OutputProblem)| PluginError::Output {
            technique: id.clone(),
            weight,
            problem: Box::new(problem),
        };
        if let Some(message) = context.take_panic() {
            return Err(bad((WHOLE.to_owned(), OutputProblem::HostPanic { message })));
        }
        let Some(mut outputs) = outputs else {
            return Err(PluginError::Poisoned { technique: id });
        };
        match result {
            Ok(_) => {}
            // The plugin gave up because of something that we refused: our reason is the better one.
            Err(failed @ PluginError::Failed { .. }) => {
                return Err(outputs.take_refusal().map_or(failed, bad));
            }
            Err(other) => return Err(other),
        }
        let mut output = outputs.finish().map_err(bad)?;
        output.metrics = metrics;
        output.log = log;
        Ok(output)
    }
}

impl std::fmt::Debug for ModelJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelJob").field("technique", self.technique()).finish_non_exhaustive()
    }
}
