//! A running technique.

#![expect(unsafe_code, reason = "calls the functions of a plugin")]

use crate::callbacks::Context;
use crate::error::{OutputProblem, PluginError, Status};
use crate::group::{GroupInput, GroupOutput};
use crate::inputs::GroupView;
use crate::outputs::Outputs;
use crate::technique::{Scope, Technique};
use crate::views::{Arena, EMPTY};
use serde_json::Value;
use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_host, tn_str};
use tenuis_core::DType;

/// A technique with its options, ready to take one group after the other.
///
/// Dropping it frees the plugin's state. After [`PluginError::Panicked`] nothing else is possible.
pub struct Job {
    technique: Technique,
    /// The plugin's state.
    state: *mut c_void,
    /// `state` may refer to this, and this refers to `context`: neither moves while the job lives.
    _host: Rc<tn_host>,
    context: Arc<Context>,
    poisoned: bool,
    seed: u64,
}

// SAFETY: the ABI lets the calls on a job, which `&mut self` serialises, come from different threads; `_host` is
// never cloned.
unsafe impl Send for Job {}

impl Job {
    pub(crate) fn create(
        technique: &Technique,
        options: &Value,
        context: Context,
    ) -> Result<Self, PluginError> {
        let id = technique.id().to_owned();
        let Some(create) = technique.table().raw.create else {
            return Err(PluginError::Input { technique: id, problem: "has no create function".to_owned() });
        };
        let context = Arc::new(context);
        let host = Rc::new(context.host());
        let options = options.to_string();
        let mut state = std::ptr::null_mut();
        let mut error = tn_err::default();
        // SAFETY: the host's functions outlive the job, the text outlives the call.
        let status =
            unsafe { create(Rc::as_ptr(&host), tn_str::new(&options), &raw mut state, &raw mut error) };
        outcome(&id, "create", status, &error)?;
        let seed = RandomState::new().hash_one(&id);
        Ok(Self { technique: technique.clone(), state, _host: host, context, poisoned: false, seed })
    }

    /// The technique.
    pub const fn technique(&self) -> &Technique {
        &self.technique
    }

    /// Asks whether it takes weights of this descriptor.
    ///
    /// # Errors
    /// [`PluginError::Failed`] with the plugin's reason where it does not.
    pub fn accepts(&mut self, descriptor: &Value) -> Result<(), PluginError> {
        let Some(accepts) = self.technique.table().raw.accepts else { return Ok(()) };
        let text = descriptor.to_string();
        // SAFETY: the state is that of `create`; the text outlives the call.
        self.call("accepts", |state, err| unsafe { accepts(state, tn_str::new(&text), err) })
    }

    /// The peak of RAM in bytes that a group would take beside its inputs and outputs, from shapes alone; `None` where the plugin does
    /// not know.
    ///
    /// # Errors
    /// [`PluginError::Failed`] where the plugin cannot take the group.
    pub fn estimate(&mut self, group: &GroupInput<'_>) -> Result<Option<u64>, PluginError> {
        let Some(estimate) = self.technique.table().raw.estimate else { return Ok(None) };
        let view = GroupView::new(&self.technique, group, false)?;
        let mut bytes = 0;
        let answer = self.call("estimate", |state, err| {
            // SAFETY: the view lives until the call is over.
            unsafe { estimate(state, view.as_ptr(), &raw mut bytes, err) }
        });
        match answer {
            Ok(()) => Ok(Some(bytes)),
            Err(PluginError::Failed { status: Status::Unsupported, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Compresses a group.
    ///
    /// # Errors
    /// [`PluginError::Input`] where a statistic is missing that the technique's capabilities ask for; `Failed`, `Cancelled`,
    /// `Panicked` as the plugin says; [`PluginError::Output`] where what it hands back cannot be kept.
    pub fn run(&mut self, mut input: GroupInput<'_>) -> Result<GroupOutput, PluginError> {
        let id = self.technique.id().to_owned();
        if self.technique.scope() != Scope::Group {
            return Err(PluginError::Scope { technique: id, scope: self.technique.scope().name() });
        }
        let view = GroupView::new(&self.technique, &input, true)?;
        self.seed = self.seed.wrapping_add(1);
        let outputs = Outputs::new(&input.linears, self.seed);
        let tiles = input.tiles.take();
        let columns = input.linears.first().map_or(0, |l| l.weight.shape()[1]);
        let context = Arc::clone(&self.context);
        let (result, outputs) =
            context.with_group(outputs, input.out_loss, || self.drive(&view, tiles, columns));
        // What `create` reported belongs to the first group.
        let (metrics, log) = self.context.take_reported();
        let bad = |(weight, problem): (String, OutputProblem)| PluginError::Output {
            technique: id.clone(),
            weight,
            problem: Box::new(problem),
        };
        if let Some(message) = self.context.take_panic() {
            let weight = input.linears.first().map(|l| l.name.clone()).unwrap_or_default();
            return Err(bad((weight, OutputProblem::HostPanic { message })));
        }
        let Some(mut outputs) = outputs else {
            return Err(PluginError::Poisoned { technique: id });
        };
        match result {
            Ok(()) => {}
            // The plugin gave up because of something that we refused: our reason is the better one.
            Err(PluginError::Failed { call, status, message, technique }) => {
                return Err(match outputs.take_refusal() {
                    Some(refusal) => bad(refusal),
                    None => PluginError::Failed { technique, call, status, message },
                });
            }
            Err(other) => return Err(other),
        }
        let mut output = outputs.finish().map_err(bad)?;
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
        let raw = &self.technique.table().raw;
        let (begin, tile, finish) = (raw.group_begin, raw.group_tile, raw.group_finish);
        let (Some(begin), Some(finish)) = (begin, finish) else {
            return Err(PluginError::Scope { technique: self.technique.id().to_owned(), scope: "none" });
        };
        // SAFETY: the view lives until the call is over, here and below.
        self.call("group_begin", |state, err| unsafe { begin(state, view.as_ptr(), err) })?;
        if let (Some(tile), true) = (tile, self.technique.capabilities().needs_inputs()) {
            for values in tiles.into_iter().flatten() {
                if columns == 0 || values.len() % columns != 0 {
                    return Err(PluginError::Input {
                        technique: self.technique.id().to_owned(),
                        problem: format!("an input tile has {} values for {columns} columns", values.len()),
                    });
                }
                let mut arena = Arena::default();
                let shape = [values.len() / columns, columns];
                let rows = arena.tensor(EMPTY, DType::F32, &shape, values.as_ptr().cast());
                // SAFETY: the tile and its view live until the call is over.
                self.call("group_tile", |state, err| unsafe { tile(state, rows, err) })?;
            }
        }
        // SAFETY: as above.
        self.call("group_finish", |state, err| unsafe { finish(state, view.as_ptr(), err) })
    }

    /// One call of a function of the plugin.
    fn call(
        &mut self,
        name: &'static str,
        function: impl FnOnce(*mut c_void, *mut tn_err) -> i32,
    ) -> Result<(), PluginError> {
        let technique = self.technique.id();
        if self.poisoned {
            return Err(PluginError::Poisoned { technique: technique.to_owned() });
        }
        if self.context.events.cancelled() {
            return Err(PluginError::Cancelled { technique: technique.to_owned() });
        }
        let mut error = tn_err::default();
        let status = function(self.state, &raw mut error);
        self.poisoned = status == abi::TN_PANIC;
        outcome(technique, name, status, &error)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(destroy) = self.technique.table().raw.destroy {
            // SAFETY: the state of `create`, which is not used again; legal even after a panic.
            unsafe { destroy(self.state) };
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("technique", &self.technique).finish_non_exhaustive()
    }
}

fn outcome(technique: &str, call: &'static str, status: i32, error: &tn_err) -> Result<(), PluginError> {
    let technique = technique.to_owned();
    Err(match status {
        abi::TN_OK => return Ok(()),
        abi::TN_CANCELLED => PluginError::Cancelled { technique },
        abi::TN_PANIC => PluginError::Panicked { technique, call, message: error.message() },
        other => PluginError::Failed {
            technique,
            call,
            status: Status::from_code(other),
            message: error.message(),
        },
    })
}
