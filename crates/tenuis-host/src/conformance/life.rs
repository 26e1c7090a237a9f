//! Jobs that begin and end.

#![expect(unsafe_code, reason = "calls a library as other hosts would")]

use crate::callbacks::Context;
use crate::conformance::{Subject, Verdict};
use crate::error::PluginError;
use crate::events::NoEvents;
use crate::library::{self, Functions};
use crate::technique::{Scope, Technique};
use serde_json::{Value, json};
use std::mem::offset_of;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenuis_abi as abi;
use tenuis_abi::{tn_err, tn_host, tn_str};
use tenuis_core::CodecRegistry;

/// Jobs that come and go.
const JOBS: u32 = 1000;
/// A job that does nothing may take so long; ten times what a mutex, a thread pool and a schema take.
const JOB_TIME: Duration = Duration::from_millis(20);

/// `create` with any text for options, and `destroy` where that succeeds. Returns the status and its message.
fn create(technique: &Technique, host: &tn_host, options: &str) -> Option<(i32, String)> {
    let Functions::Here(raw) = &technique.table().functions else { return None };
    let (create, destroy) = (raw.create?, raw.destroy?);
    let (mut state, mut error) = (std::ptr::null_mut(), tn_err::default());
    // SAFETY: the host's functions outlive the job; the text outlives the call; a job that was made is destroyed once.
    let status = unsafe {
        let status = create(host, tn_str::new(options), &raw mut state, &raw mut error);
        if status == abi::TN_OK {
            destroy(state);
        }
        status
    };
    Some((status, error.message()))
}

fn context() -> Context {
    Context::new(Arc::new(NoEvents), CodecRegistry::builtin(), 1, 0)
}

pub(super) fn bad_config(subject: &Subject) -> Verdict {
    subject.each(|technique| {
        let context = context();
        let host = context.host();
        // The host checks options against the schema first; what is not even an object must still do no harm.
        for text in ["", "{", "[]", "null", "{\"a\": 1", "\u{0}"] {
            let Some((status, message)) = create(technique, &host, text) else { continue };
            if status == abi::TN_PANIC {
                return Verdict::Failed(format!("create panics at {text:?} as options: {message}"));
            }
            // A technique without options need not read them.
            if status != abi::TN_OK && message.is_empty() {
                return Verdict::Failed(format!("create refuses {text:?} without a message"));
            }
        }
        Verdict::Passed(String::new())
    })
}

fn start_and_ask(technique: &Technique, options: &Value, descriptor: &Value) -> Result<(), PluginError> {
    match technique.scope() {
        Scope::Group => technique.start(options, 1, Arc::new(NoEvents))?.accepts(descriptor),
        Scope::Model => technique.start_model(options, 1, Arc::new(NoEvents))?.accepts(descriptor),
    }
}

/// Runs a test on every technique whose options are known.
fn with_options(subject: &Subject, test: impl Fn(&Technique, &Value) -> Verdict) -> Verdict {
    subject.each(|technique| {
        let options = subject.options_of(technique);
        match technique.validate(&options) {
            Ok(()) => test(technique, &options),
            Err(_) => Verdict::Skipped(format!("cannot do with {options}; give --options")),
        }
    })
}

pub(super) fn accepts(subject: &Subject) -> Verdict {
    with_options(subject, |technique, options| {
        for descriptor in [json!({ "kind": "nobody_knows" }), json!({ "kind": 7 }), json!({}), json!([])] {
            match start_and_ask(technique, options, &descriptor) {
                Ok(()) => {}
                Err(PluginError::Failed { call: "accepts", message, .. }) if !message.is_empty() => {}
                Err(error) => return Verdict::Failed(format!("asked about {descriptor}: {error}")),
            }
        }
        Verdict::Passed(String::new())
    })
}

pub(super) fn lifecycle(subject: &Subject) -> Verdict {
    with_options(subject, |technique, options| {
        let start = Instant::now();
        for number in 0..JOBS {
            match start_and_ask(technique, options, &json!({ "kind": "dense", "dtype": "f32" })) {
                Ok(()) | Err(PluginError::Failed { call: "accepts", .. }) => {}
                Err(error) => return Verdict::Failed(format!("job {number}: {error}")),
            }
            if start.elapsed() > JOB_TIME * JOBS {
                return Verdict::Failed(format!("{} jobs took {:?}", number + 1, start.elapsed()));
            }
        }
        Verdict::Passed(format!("{:.1} µs a job", start.elapsed().as_secs_f64() * 1e6 / f64::from(JOBS)))
    })
}

pub(super) fn host_minor_0(subject: &Subject) -> Verdict {
    if let Err(problem) = subject.load() {
        return Verdict::Failed(problem);
    }
    let loaded = match subject.library.canonicalize() {
        Ok(library) => library::open_at_minor(&library, 0),
        Err(e) => return Verdict::Failed(e.to_string()),
    };
    let loaded = match loaded {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return Verdict::Passed("a host of version 1.0 is refused".to_owned()),
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let context = context();
    // What a host of version 1.0 lends ends before the first field that was appended; behind it lies anything.
    let mut host = context.host();
    host.abi_minor = 0;
    host.struct_size = offset_of!(tn_host, seed) as u32;
    host.seed = u64::MAX;
    subject.each(|technique| {
        if !loaded.techniques.iter().any(|table| table.id == technique.id()) {
            return Verdict::Failed("is not provided to a host of version 1.0".to_owned());
        }
        let options = subject.options_of(technique);
        if technique.validate(&options).is_err() {
            return Verdict::Skipped(format!("cannot do with {options}; give --options"));
        }
        match create(technique, &host, &options.to_string()) {
            Some((abi::TN_OK, _)) => Verdict::Passed(String::new()),
            Some((_, message)) => Verdict::Failed(format!("create with a host of version 1.0: {message}")),
            None => Verdict::Skipped("runs elsewhere".to_owned()),
        }
    })
}
