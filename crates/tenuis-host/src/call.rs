//! The functions of a technique that work on a job, as values: what a job asks for, wherever the library runs.

#![expect(unsafe_code, reason = "calls the functions of a plugin")]

use std::ffi::c_void;
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_group, tn_model, tn_str, tn_technique, tn_tensor};

/// A call of one function with its arguments. The pointers are views that the caller keeps alive for the call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call<'a> {
    /// Whether weights of a descriptor are taken.
    Accepts(&'a str),
    /// The peak of RAM for a group.
    Estimate(*const tn_group),
    /// Begins a group.
    GroupBegin(*const tn_group),
    /// A tile of its input.
    GroupTile(*const tn_tensor),
    /// Emits it; the same view as at its beginning.
    GroupFinish(*const tn_group),
    /// Which statistics a run makes use of.
    ModelStatistics,
    /// The peak of RAM for a model.
    ModelEstimate(*const tn_model),
    /// Works on a model.
    ModelRun(*const tn_model),
}

impl Call<'_> {
    /// The function's name in the ABI.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Accepts(_) => "accepts",
            Self::Estimate(_) => "estimate",
            Self::GroupBegin(_) => "group_begin",
            Self::GroupTile(_) => "group_tile",
            Self::GroupFinish(_) => "group_finish",
            Self::ModelStatistics => "model_statistics",
            Self::ModelEstimate(_) => "model_estimate",
            Self::ModelRun(_) => "model_run",
        }
    }

    /// Calls the function of a library that is loaded here; what an optional function that is not there means is the
    /// ABI's to say.
    ///
    /// # Safety
    /// `state` is that of `raw.create`; the views of this call are valid; `value` and `err` can be written.
    pub(crate) unsafe fn perform(
        self,
        raw: &tn_technique,
        state: *mut c_void,
        value: *mut u64,
        err: *mut tn_err,
    ) -> i32 {
        let unknown = abi::TN_UNSUPPORTED;
        // SAFETY: the caller vouches for the arguments, and the functions are the library's, which is never unloaded.
        unsafe {
            match self {
                Self::Accepts(text) => raw.accepts.map_or(abi::TN_OK, |f| f(state, tn_str::new(text), err)),
                Self::Estimate(group) => raw.estimate.map_or(unknown, |f| f(state, group, value, err)),
                Self::GroupBegin(group) => raw.group_begin.map_or(unknown, |f| f(state, group, err)),
                Self::GroupTile(rows) => raw.group_tile.map_or(unknown, |f| f(state, rows, err)),
                Self::GroupFinish(group) => raw.group_finish.map_or(unknown, |f| f(state, group, err)),
                Self::ModelStatistics => raw.model_statistics.map_or(unknown, |f| f(state, value, err)),
                Self::ModelEstimate(model) => {
                    raw.model_estimate.map_or(unknown, |f| f(state, model, value, err))
                }
                Self::ModelRun(model) => raw.model_run.map_or(unknown, |f| f(state, model, err)),
            }
        }
    }
}
