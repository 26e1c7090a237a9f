//! The state that a plugin keeps for a job, of either scope.

#![expect(unsafe_code, reason = "calls the functions of a plugin")]

use crate::callbacks::Context;
use crate::error::{PluginError, Status};
use crate::technique::Technique;
use serde_json::Value;
use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_host, tn_str};

/// What `create` made, with the functions that are lent to it. Dropping it frees the plugin's state.
pub(crate) struct Instance {
    technique: Technique,
    /// The plugin's state.
    state: *mut c_void,
    /// `state` may refer to this, and this refers to `context`: neither moves while the instance lives.
    _host: Rc<tn_host>,
    context: Arc<Context>,
    poisoned: bool,
    seed: u64,
}

// SAFETY: the ABI lets the calls on a job, which `&mut self` serialises, come from different threads; `_host` is
// never cloned.
unsafe impl Send for Instance {}

impl Instance {
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
        let Some(accepts) = self.technique.table().raw.accepts else { return Ok(()) };
        let text = descriptor.to_string();
        // SAFETY: the state is that of `create`; the text outlives the call.
        self.call("accepts", |state, err| unsafe { accepts(state, tn_str::new(&text), err) })
    }

    /// Asks for a number of bytes; `None` where the plugin does not know it.
    pub(crate) fn ask(
        &mut self,
        name: &'static str,
        function: impl FnOnce(*mut c_void, *mut u64, *mut tn_err) -> i32,
    ) -> Result<Option<u64>, PluginError> {
        let mut bytes = 0;
        match self.call(name, |state, err| function(state, &raw mut bytes, err)) {
            Ok(()) => Ok(Some(bytes)),
            Err(PluginError::Failed { status: Status::Unsupported, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One call of a function of the plugin.
    pub(crate) fn call(
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

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(destroy) = self.technique.table().raw.destroy {
            // SAFETY: the state of `create`, which is not used again; legal even after a panic.
            unsafe { destroy(self.state) };
        }
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
