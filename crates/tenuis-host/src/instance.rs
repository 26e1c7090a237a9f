//! The state that a plugin keeps for a job, of either scope.

#![expect(unsafe_code, reason = "calls the functions of a plugin")]

use crate::call::Call;
use crate::callbacks::Context;
use crate::error::{PluginError, Status};
use crate::events::LogLevel;
use crate::library::Functions;
use crate::technique::Technique;
use crate::worker::{JobWorker, WorkerFault};
use serde_json::Value;
use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_host, tn_str, tn_technique};

/// What `create` made, with the functions that are lent to it. Dropping it frees the plugin's state.
pub(crate) struct Instance {
    technique: Technique,
    state: State,
    context: Arc<Context>,
    poisoned: bool,
    seed: u64,
}

/// Where the plugin's state is.
enum State {
    Here(Local),
    Worker(Box<JobWorker>),
}

/// A state in this process.
struct Local {
    raw: tn_technique,
    state: *mut c_void,
    /// `state` may refer to this, and this refers to the context: neither moves while the instance lives.
    _host: Rc<tn_host>,
}

// SAFETY: the ABI lets the calls on a job, which `&mut self` serialises, come from different threads; `_host` is
// never cloned.
unsafe impl Send for Local {}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(destroy) = self.raw.destroy {
            // SAFETY: the state of `create`, which is not used again; legal even after a panic.
            unsafe { destroy(self.state) };
        }
    }
}

impl Instance {
    pub(crate) fn create(
        technique: &Technique,
        options: &Value,
        context: Context,
    ) -> Result<Self, PluginError> {
        let id = technique.id().to_owned();
        let context = Arc::new(context);
        let state = match &technique.table().functions {
            Functions::Here(raw) => State::Here(create_here(&id, **raw, options, &context)?),
            Functions::Worker(plugin) => {
                let made = JobWorker::create(plugin, &id, options, &context);
                let (worker, status, message) =
                    made.map_err(|fault| died(technique, &context, "create", fault))?;
                outcome(&id, "create", status, message)?;
                State::Worker(Box::new(worker))
            }
        };
        let seed = RandomState::new().hash_one(&id);
        Ok(Self { technique: technique.clone(), state, context, poisoned: false, seed })
    }

    pub(crate) const fn technique(&self) -> &Technique {
        &self.technique
    }

    /// What the functions of the host work on.
    pub(crate) const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Another seed for the pattern of lent buffers, which a plugin cannot know.
    pub(crate) const fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }

    /// Asks whether the technique takes weights of this descriptor.
    pub(crate) fn accepts(&mut self, descriptor: &Value) -> Result<(), PluginError> {
        self.call(Call::Accepts(&descriptor.to_string())).map(|_| ())
    }

    /// Asks for a number; `None` where the plugin does not know it.
    pub(crate) fn ask(&mut self, call: Call<'_>) -> Result<Option<u64>, PluginError> {
        match self.call(call) {
            Ok(value) => Ok(Some(value)),
            Err(PluginError::Failed { status: Status::Unsupported, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One call of a function of the plugin; the views of the call are valid. The number is that of functions that give one.
    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<u64, PluginError> {
        let technique = self.technique.id();
        if self.poisoned {
            return Err(PluginError::Poisoned { technique: technique.to_owned() });
        }
        if self.context.events.cancelled() {
            return Err(PluginError::Cancelled { technique: technique.to_owned() });
        }
        let name = call.name();
        let (status, message, value) = match &mut self.state {
            State::Here(Local { raw, state, .. }) => {
                let (mut value, mut error) = (0, tn_err::default());
                // SAFETY: the state is that of `create`, the views are valid.
                let status = unsafe { call.perform(raw, *state, &raw mut value, &raw mut error) };
                (status, error.message(), value)
            }
            State::Worker(worker) => match worker.call(call) {
                Ok(done) => done,
                Err(fault) => {
                    self.poisoned = true;
                    return Err(died(&self.technique, &self.context, name, fault));
                }
            },
        };
        self.poisoned = status == abi::TN_PANIC;
        outcome(technique, name, status, message).map(|()| value)
    }
}

fn create_here(
    id: &str,
    raw: tn_technique,
    options: &Value,
    context: &Arc<Context>,
) -> Result<Local, PluginError> {
    let Some(create) = raw.create else {
        let (technique, problem) = (id.to_owned(), "has no create function".to_owned());
        return Err(PluginError::Input { technique, problem });
    };
    let host = Rc::new(context.host());
    let options = options.to_string();
    let mut state = std::ptr::null_mut();
    let mut error = tn_err::default();
    // SAFETY: the host's functions outlive the job, the text outlives the call.
    let status = unsafe { create(Rc::as_ptr(&host), tn_str::new(&options), &raw mut state, &raw mut error) };
    outcome(id, "create", status, error.message())?;
    Ok(Local { raw, state, _host: host })
}

/// What a fault of a worker is to whoever asked for the work.
fn died(technique: &Technique, context: &Context, call: &'static str, fault: WorkerFault) -> PluginError {
    let id = technique.id().to_owned();
    if matches!(fault, WorkerFault::NotCancelled { .. }) {
        let message = format!("technique {id:?}: its process {fault}");
        context.events.log(LogLevel::Warn, &message);
        return PluginError::Cancelled { technique: id };
    }
    PluginError::Worker {
        technique: id,
        library: technique.plugin_path().to_owned(),
        call,
        fault: Box::new(fault),
    }
}

fn outcome(technique: &str, call: &'static str, status: i32, message: String) -> Result<(), PluginError> {
    let technique = technique.to_owned();
    Err(match status {
        abi::TN_OK => return Ok(()),
        abi::TN_CANCELLED => PluginError::Cancelled { technique },
        abi::TN_PANIC => PluginError::Panicked { technique, call, message },
        other => PluginError::Failed { technique, call, status: Status::from_code(other), message },
    })
}
