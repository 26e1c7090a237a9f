//! A running technique of scope group.

use crate::call::Call;
use crate::error::{OutputProblem, PluginError};
use crate::group::{GroupInput, GroupOutput};
use crate::inputs::GroupView;
use crate::instance::Instance;
use crate::outputs::Outputs;
use crate::technique::Technique;
use crate::views::{Arena, EMPTY};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tenuis_core::DType;

/// A technique with its options, ready to take one group after the other.
///
/// Dropping it frees the plugin's state. After [`PluginError::Panicked`] nothing else is possible.
pub struct Job(Instance);

impl Job {
    pub(crate) const fn new(instance: Instance) -> Self {
        Self(instance)
    }

    /// The technique.
    pub const fn technique(&self) -> &Technique {
        self.0.technique()
    }

    /// Asks whether it takes weights of this descriptor.
    ///
    /// # Errors
    /// [`PluginError::Failed`] with the plugin's reason where it does not.
    pub fn accepts(&mut self, descriptor: &Value) -> Result<(), PluginError> {
        self.0.accepts(descriptor)
    }

    /// The peak of RAM in bytes that a group would take beside its inputs and outputs, from shapes alone; `None` where the plugin does
    /// not know.
    ///
    /// # Errors
    /// [`PluginError::Failed`] where the plugin cannot take the group.
    pub fn estimate(&mut self, group: &GroupInput<'_>) -> Result<Option<u64>, PluginError> {
        if !self.technique().table().estimates {
            return Ok(None);
        }
        let view = GroupView::new(self.technique(), group, false)?;
        // The view lives until the call is over.
        self.0.ask(Call::Estimate(view.as_ptr()))
    }

    /// Compresses a group.
    ///
    /// # Errors
    /// [`PluginError::Input`] where a statistic is missing that the technique's capabilities ask for; `Failed`, `Cancelled`,
    /// `Panicked` as the plugin says; [`PluginError::Output`] where what it hands back cannot be kept.
    pub fn run(&mut self, mut input: GroupInput<'_>) -> Result<GroupOutput, PluginError> {
        let id = self.technique().id().to_owned();
        let view = GroupView::new(self.technique(), &input, true)?;
        let outputs = Outputs::new(&input.linears, self.0.next_seed());
        let tiles = input.tiles.take();
        let columns = input.linears.first().map_or(0, |l| l.weight.shape()[1]);
        let context = Arc::clone(self.0.context());
        let (result, outputs) =
            context.with_group(outputs, input.out_loss, || self.drive(&view, tiles, columns));
        // What `create` reported belongs to the first group.
        let (metrics, log) = context.take_reported();
        let bad = |(weight, problem): (String, OutputProblem)| PluginError::Output {
            technique: id.clone(),
            weight,
            problem: Box::new(problem),
        };
        if let Some(message) = context.take_panic() {
            let weight = input.linears.first().map(|l| l.name.clone()).unwrap_or_default();
            return Err(bad((weight, OutputProblem::HostPanic { message })));
        }
        let Some(mut outputs) = outputs else {
            return Err(PluginError::Poisoned { technique: id });
        };
        match result {
            Ok(()) => {}
            // The plugin gave up because of something that we refused: our reason is the better one.
            Err(failed @ PluginError::Failed { .. }) => {
                return Err(outputs.take_refusal().map_or(failed, bad));
            }
            Err(other) => return Err(other),
        }
        let mut output = outputs.finish().map_err(bad)?;
        if let Some(declared) = self.technique().produces() {
            let mut kinds = output.weights.iter().map(|(name, weight)| (name, weight.kind()));
            if let Some((name, kind)) = kinds.find(|(_, kind)| !declared.all().any(|d| d == *kind)) {
                let declared: BTreeSet<&str> = declared.all().collect();
                let (kind, declared) = (kind.to_owned(), declared.into_iter().map(str::to_owned).collect());
                return Err(bad((name.clone(), OutputProblem::UndeclaredKind { kind, declared })));
            }
        }
        output.metrics = metrics;
        output.log = log;
        Ok(output)
    }

    /// The calls of one group.
    fn drive(
        &mut self,
        view: &GroupView,
        tiles: Option<&mut dyn Iterator<Item = Vec<f32>>>,
        columns: usize,
    ) -> Result<(), PluginError> {
        // The view lives until the calls are over.
        self.0.call(Call::GroupBegin(view.as_ptr()))?;
        if self.technique().capabilities().needs_inputs() {
            for values in tiles.into_iter().flatten() {
                if columns == 0 || values.len() % columns != 0 {
                    return Err(PluginError::Input {
                        technique: self.technique().id().to_owned(),
                        problem: format!("an input tile has {} values for {columns} columns", values.len()),
                    });
                }
                let mut arena = Arena::default();
                let shape = [values.len() / columns, columns];
                // So do the tile and its view.
                let rows = arena.tensor(EMPTY, DType::F32, &shape, values.as_ptr().cast());
                self.0.call(Call::GroupTile(rows))?;
            }
        }
        self.0.call(Call::GroupFinish(view.as_ptr())).map(|_| ())
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("technique", self.technique()).finish_non_exhaustive()
    }
}
