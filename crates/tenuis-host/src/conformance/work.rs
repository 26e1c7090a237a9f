//! Work on groups.

use crate::conformance::inputs::{Form, Material};
use crate::conformance::{Subject, Verdict};
use crate::error::{OutputProblem, PluginError};
use crate::events::{HostEvents, NoEvents};
use crate::group::GroupOutput;
use crate::technique::Technique;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The usual group: large enough for groups of 128 columns, small enough for a debug build.
const SHAPE: [usize; 2] = [64, 128];
/// The ABI's rule, in time of the processor: other work on the machine must not fail a plugin.
const POLL: Duration = Duration::from_millis(100);
/// The same for a plugin that sleeps, which takes no time of the processor, and for stopping; on the clock, with much room for
/// other work.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a group has to take for its polls to be judged.
const LONG: Duration = Duration::from_millis(300);
/// The columns of the groups that are tried until one takes as long.
const WIDTHS: [usize; 4] = [128, 256, 512, 1024];

fn material(form: Form, shape: [usize; 2]) -> Result<Material, Verdict> {
    Material::new(form, shape).ok_or_else(|| Verdict::Skipped("no such group can be made".to_owned()))
}

/// What every outcome of odd input must be: a result that the host takes, or an error with a message.
fn clean(result: Result<GroupOutput, PluginError>) -> Result<&'static str, String> {
    match result {
        Ok(_) => Ok("gives a result"),
        Err(PluginError::Failed { message, call, .. }) if message.is_empty() => {
            Err(format!("{call} fails without a message"))
        }
        Err(PluginError::Failed { .. } | PluginError::Input { .. } | PluginError::InputWeight { .. }) => {
            Ok("refuses")
        }
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn outputs(subject: &Subject) -> Verdict {
    subject.each_group(|technique, options, form| {
        let material = match material(form, SHAPE) {
            Ok(material) => material,
            Err(verdict) => return verdict,
        };
        match material.run(technique, options, 1, Arc::new(NoEvents)) {
            Ok(output) => {
                let kinds: Vec<&str> = output.weights.values().map(|w| w.kind()).collect();
                Verdict::Passed(kinds.first().map(|kind| format!("makes {kind}")).unwrap_or_default())
            }
            Err(error) => Verdict::Failed(error.to_string()),
        }
    })
}

pub(super) fn nan_inputs(subject: &Subject) -> Verdict {
    subject.each_group(|technique, options, form| {
        let mut outcome = "";
        for odd in [f32::NAN, f32::INFINITY, f32::MAX] {
            let values = |i: usize| if i % 97 == 3 { odd } else { (i % 13) as f32 * 0.01 - 0.06 };
            let Some(material) = Material::with_values(form, SHAPE, values) else { continue };
            match material.run(technique, options, 1, Arc::new(NoEvents)) {
                // That the host sees it is enough: nothing is kept.
                Err(PluginError::Output { problem, .. })
                    if matches!(*problem, OutputProblem::NonFinite { .. }) =>
                {
                    outcome = "hands values on that are not finite, which the host refuses";
                }
                other => match clean(other) {
                    Ok(found) => outcome = found,
                    Err(problem) => return Verdict::Failed(format!("weights with {odd}: {problem}")),
                },
            }
        }
        Verdict::Passed(outcome.to_owned())
    })
}

pub(super) fn zero_size(subject: &Subject) -> Verdict {
    subject.each_group(|technique, options, form| {
        let mut outcome = "";
        for shape in [[0, 32], [8, 0], [0, 0], [1, 1]] {
            let Some(material) = Material::new(form, shape) else { continue };
            match clean(material.run(technique, options, 1, Arc::new(NoEvents))) {
                Ok(found) => outcome = found,
                Err(problem) => return Verdict::Failed(format!("weights of shape {shape:?}: {problem}")),
            }
        }
        Verdict::Passed(outcome.to_owned())
    })
}

/// A weight's name, descriptor, components and scale, byte for byte.
type WeightBytes = (String, String, Vec<Vec<u8>>, Vec<u32>);

/// Everything that counts of a result, byte for byte.
fn bytes(output: &GroupOutput) -> Vec<WeightBytes> {
    let one = |(name, weight): (&String, &tenuis_core::Weight)| {
        let parts = weight.components().iter().map(|c| c.tensor.data().to_vec()).collect();
        let fold = output.folds.get(name).into_iter().flatten().map(|f| f.to_bits()).collect();
        (name.clone(), weight.descriptor().to_string(), parts, fold)
    };
    output.weights.iter().map(one).collect()
}

pub(super) fn determinism(subject: &Subject) -> Verdict {
    subject.each_group(|technique, options, form| {
        if !technique.capabilities().deterministic() {
            return Verdict::Skipped("does not promise it".to_owned());
        }
        let material = match material(form, SHAPE) {
            Ok(material) => material,
            Err(verdict) => return verdict,
        };
        let mut first = None;
        for threads in [1, 4, 1, 2] {
            match material.run(technique, options, threads, Arc::new(NoEvents)) {
                Ok(output) if first.get_or_insert_with(|| bytes(&output)) == &bytes(&output) => {}
                Ok(_) => return Verdict::Failed(format!("other bytes with {threads} threads")),
                Err(error) => return Verdict::Failed(error.to_string()),
            }
        }
        Verdict::Passed(String::new())
    })
}

/// Time on the clock, and time of the processor where the system tells.
#[derive(Clone, Copy)]
struct Moment {
    clock: Instant,
    processor: Duration,
}

impl Moment {
    fn now() -> Self {
        #[cfg(unix)]
        let processor = {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        #[cfg(not(unix))]
        let processor = Duration::ZERO;
        Self { clock: Instant::now(), processor }
    }
}

/// Notes the longest times between two polls.
struct Polls {
    cancel: AtomicBool,
    noted: Mutex<Noted>,
}

struct Noted {
    last: Moment,
    /// On the clock and of the processor.
    longest: [Duration; 2],
}

impl Polls {
    fn new() -> Arc<Self> {
        let noted = Noted { last: Moment::now(), longest: [Duration::ZERO; 2] };
        Arc::new(Self { cancel: AtomicBool::new(false), noted: Mutex::new(noted) })
    }

    /// The longest times so far, up to now.
    fn longest(&self) -> [Duration; 2] {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment::now();
        let since = [now.clock - noted.last.clock, now.processor.saturating_sub(noted.last.processor)];
        noted.last = now;
        let [clock, processor] = noted.longest;
        noted.longest = [clock.max(since[0]), processor.max(since[1])];
        noted.longest
    }
}

impl HostEvents for Polls {
    fn cancelled(&self) -> bool {
        self.longest();
        self.cancel.load(Ordering::Relaxed)
    }
}

pub(super) fn cancel(subject: &Subject) -> Verdict {
    subject.each_group(|technique, options, form| {
        for width in WIDTHS {
            let material = match material(form, [width, width]) {
                Ok(material) => material,
                Err(verdict) => return verdict,
            };
            let (polls, start) = (Polls::new(), Instant::now());
            if let Err(error) = material.run(technique, options, 1, polls.clone()) {
                return Verdict::Failed(error.to_string());
            }
            let (took, [clock, processor]) = (start.elapsed(), polls.longest());
            if processor > POLL || clock > PATIENCE {
                let longest = if clock > PATIENCE { clock } else { processor };
                return Verdict::Failed(format!(
                    "a group of [{width}, {width}] worked for {longest:.0?} without a poll of `cancelled`"
                ));
            }
            if took > LONG {
                return stop(technique, options, &material, took, processor);
            }
        }
        Verdict::Passed("too fast for the flag to matter".to_owned())
    })
}

/// Cancels a group in the middle.
fn stop(
    technique: &Technique,
    options: &Value,
    material: &Material,
    took: Duration,
    longest: Duration,
) -> Verdict {
    let polls = Polls::new();
    let (result, since) = std::thread::scope(|scope| {
        let running = scope.spawn(|| material.run(technique, options, 1, polls.clone()));
        std::thread::sleep(took / 4);
        let since = Instant::now();
        polls.cancel.store(true, Ordering::Relaxed);
        (running.join(), since.elapsed())
    });
    match result {
        Ok(Err(PluginError::Cancelled { .. })) if since > PATIENCE => {
            Verdict::Failed(format!("stopped {since:.0?} after it was cancelled"))
        }
        // On a busy machine it may have been done before the flag was set.
        Ok(Ok(_) | Err(PluginError::Cancelled { .. })) => {
            Verdict::Passed(format!("polls every {longest:.0?} at most"))
        }
        Ok(Err(error)) => Verdict::Failed(format!("cancelled, it said: {error}")),
        Err(_) => Verdict::Failed("the test's thread panicked".to_owned()),
    }
}

pub(super) fn threads(subject: &Subject) -> Verdict {
    subject.each_group(|technique, options, form| {
        let material = match material(form, SHAPE) {
            Ok(material) => material,
            Err(verdict) => return verdict,
        };
        let run = || material.run(technique, options, 2, Arc::new(NoEvents));
        let expected = match run() {
            Ok(output) => bytes(&output),
            Err(error) => return Verdict::Failed(error.to_string()),
        };
        let deterministic = technique.capabilities().deterministic();
        let same = |output: &GroupOutput| !deterministic || bytes(output) == expected;
        // Made here, used on one thread, dropped on another.
        let mut job = match technique.start(options, 2, Arc::new(NoEvents)) {
            Ok(job) => job,
            Err(error) => return Verdict::Failed(error.to_string()),
        };
        let used = std::thread::scope(|scope| scope.spawn(|| material.give(&mut job)).join());
        if std::thread::spawn(move || drop(job)).join().is_err() {
            return Verdict::Failed("a job cannot be dropped on another thread".to_owned());
        }
        match used {
            Ok(Ok(output)) if same(&output) => {}
            Ok(Ok(_)) => return Verdict::Failed("another thread got other bytes".to_owned()),
            Ok(Err(error)) => return Verdict::Failed(format!("on another thread: {error}")),
            Err(_) => return Verdict::Failed("the test's thread panicked".to_owned()),
        }
        if !technique.capabilities().parallel_jobs() {
            return Verdict::Passed("one job at a time".to_owned());
        }
        let results: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for result in results {
            match result {
                Ok(Ok(output)) if same(&output) => {}
                Ok(Ok(_)) => return Verdict::Failed("jobs at once got other bytes".to_owned()),
                Ok(Err(error)) => return Verdict::Failed(format!("with other jobs at once: {error}")),
                Err(_) => return Verdict::Failed("the test's thread panicked".to_owned()),
            }
        }
        Verdict::Passed("four jobs at once".to_owned())
    })
}
