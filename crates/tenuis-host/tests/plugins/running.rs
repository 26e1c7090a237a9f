//! Running techniques: what they are given arrives, what they hand back is checked, and faults stay contained.

use super::fixture;
use crate::support::dense;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tenuis_core::{CodecRegistry, DType, Tensor, Weight};
use tenuis_host::{
    GroupInput, GroupOutput, HostEvents, Job, LinearInput, LogLevel, Moments, NoEvents, OutputProblem,
    PluginError, PluginRegistry, Status,
};

fn misbehave(registry: &PluginRegistry, how: &str) -> Job {
    registry.require("misbehave").unwrap().start(&json!({ "how": how }), 2, Arc::new(NoEvents)).unwrap()
}

fn small(name: &str) -> LinearInput {
    LinearInput::new(name, dense(4, 6, |i| i as f32))
}

fn run(how: &str) -> Result<GroupOutput, PluginError> {
    let site = fixture();
    misbehave(&site.discover(), how).run(GroupInput::new(vec![small("w")]))
}

fn problem(how: &str) -> OutputProblem {
    match run(how).unwrap_err() {
        PluginError::Output { weight, problem, .. } => {
            assert!(weight == "w" || how == "stranger", "{weight}");
            *problem
        }
        other => panic!("{how}: {other}"),
    }
}

#[derive(Default)]
struct Recorder {
    lines: Mutex<Vec<String>>,
    cancel: AtomicBool,
}

impl HostEvents for Recorder {
    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        self.lines.lock().unwrap().push(format!("{done}/{total} {note}"));
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().unwrap().push(format!("{level:?} {message}"));
    }
}

/// Everything that the ABI can pass to a group technique, there and back.
#[test]
fn a_group_with_everything_arrives_whole() {
    let site = fixture();
    let registry = site.discover();
    let events = Arc::new(Recorder::default());
    let technique = registry.require("probe").unwrap();
    let mut job = technique.start(&json!({ "scale": 4.0 }), 3, events.clone()).unwrap();
    job.accepts(&json!({ "kind": "dense" })).unwrap();
    let refused = job.accepts(&json!({ "kind": "grouped_int" })).unwrap_err();
    assert!(
        matches!(refused, PluginError::Failed { call: "accepts", status: Status::Unsupported, .. }),
        "{refused}"
    );

    let mut first = small("first");
    first.bias = Some(Tensor::from_f32(DType::F16, vec![4], &[1.0, 2.0, 3.0, 4.0]).unwrap());
    let mut second = LinearInput::new("second", dense(2, 6, |_| 0.0));
    second.original = Some(dense(2, 6, |i| -(i as f32)));
    let mask: Vec<u8> = (0..12).map(|i| u8::from(i % 3 != 0)).collect();
    second.mask = Some(Tensor::from_vec(DType::U8, vec![2, 6], mask).unwrap());
    let mut input = GroupInput::new(vec![first, second]);
    assert_eq!(job.estimate(&input).unwrap(), Some(4006 + 2006));
    (input.block, input.n_blocks, input.rows) = (2, 5, 77);
    let hessian: Vec<f32> = (0..36).map(|i| i as f32).collect();
    input.hessian = Some(&hessian);
    let moment = [1.0, 10.0, 0.0, 0.0, 0.0, 0.0];
    input.moments = Some(Moments { sum_abs: &moment, sum_sq: &moment, max_abs: &moment });
    let mut tiles = [vec![5.0; 12], vec![7.0; 6]].into_iter();
    input.tiles = Some(&mut tiles);
    let loss =
        |candidate: &GroupOutput| Ok(candidate.weights.len() as f64 + candidate.folds.len() as f64 / 10.0);
    input.out_loss = Some(&loss);
    let output = job.run(input).unwrap();

    let expected: Vec<(String, f64)> = [
        ("loop", 4950.0),
        ("tiles", 2.0 + 5.0 + 5.0 + 7.0),
        ("hessian", 1.0),
        ("moments", 1.0 + 10.0 + 10.0),
        ("rows", 77.0),
        ("threads", 3.0),
        ("loss", 2.2),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    assert_eq!(output.metrics, expected);
    assert_eq!(output.log[0].message, "made");
    assert_eq!(*events.lines.lock().unwrap(), ["Info made", "0/2 first", "1/2 second"]);
    assert_eq!(output.folds["first"], [4.0; 6]);
    let with_bias: Vec<f32> = (0..24).map(|i| i as f32 + (i / 6 + 1) as f32).collect();
    assert_eq!(output.weights["first"].to_dense().unwrap(), with_bias);
    let masked: Vec<f32> = (0..12).map(|i| if i % 3 == 0 { 0.0 } else { -(i as f32) }).collect();
    assert_eq!(output.weights["second"].to_dense().unwrap(), masked);

    reload(&registry, &output.weights["first"]);
    let again = job.estimate(&GroupInput::new(vec![small("first")]));
    assert_eq!(again.unwrap(), Some(4006), "the job is good for another group");
}

/// A kind of the plugin's own is decoded again from its descriptor and components, and only with the plugin.
fn reload(registry: &PluginRegistry, weight: &Weight) {
    assert_eq!(weight.kind(), "fixture_scaled");
    assert_eq!(weight.stored_bytes(), 24 * 4);
    let components = || weight.components().into_iter().map(|c| (c.suffix.into_owned(), c.tensor)).collect();
    let mut codecs = CodecRegistry::builtin();
    assert!(codecs.decode([4, 6], &weight.descriptor(), components()).is_err());
    registry.register_codecs(&mut codecs);
    let again = codecs.decode([4, 6], &weight.descriptor(), components()).unwrap();
    assert_eq!(again.to_dense().unwrap(), weight.to_dense().unwrap());
    let mut rows = [0.0; 12];
    again.decode_rows(1..3, &mut rows).unwrap();
    assert_eq!(rows, weight.to_dense().unwrap()[6..18]);
    let wrong = codecs.decode([6, 4], &weight.descriptor(), components()).unwrap_err().to_string();
    assert!(wrong.contains("weight_value has shape [4, 6]"), "{wrong}");
    let wrong =
        codecs.decode([4, 6], &json!({ "kind": "fixture_scaled" }), components()).unwrap_err().to_string();
    assert!(wrong.contains("no scale"), "{wrong}");
}

#[test]
fn options_are_checked_before_the_plugin_sees_them() {
    let site = fixture();
    let registry = site.discover();
    let start = |options: &Value| registry.require("probe").unwrap().start(options, 1, Arc::new(NoEvents));
    let PluginError::Options { problems, .. } = start(&json!({ "scale": 9, "scael": 1 })).unwrap_err() else {
        panic!("another error")
    };
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(texts.contains(&"unknown option \"scael\"; allowed are \"scale\"".to_owned()), "{texts:?}");
    assert!(texts.iter().any(|t| t.starts_with("/scale: 9 is too large; allowed is at most 8")), "{texts:?}");
    let misbehave = registry.require("misbehave").unwrap();
    let problems = misbehave.validate(&json!({ "how": "well" })).unwrap_err();
    assert_eq!(problems[0].pointer, "/how");
    assert!(
        problems[0].message.starts_with("\"well\" is not allowed; allowed are \"nothing\", \"panic\""),
        "{problems:?}"
    );
}

#[test]
fn statistics_that_a_technique_needs_must_be_there() {
    let site = fixture();
    let registry = site.discover();
    let mut job = registry.require("probe").unwrap().start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
    let error = job.run(GroupInput::new(vec![small("w")])).unwrap_err().to_string();
    assert!(error.contains("it needs the Hessian, and the group has none"), "{error}");
    let mut input = GroupInput::new(vec![small("w")]);
    input.hessian = Some(&[0.0; 35]);
    let error = job.run(input).unwrap_err().to_string();
    assert!(error.contains("the Hessian has 35 values, expected 36"), "{error}");
    let error = job.run(GroupInput::new(vec![])).unwrap_err().to_string();
    assert!(error.contains("no members"), "{error}");
    let error = job.run(GroupInput::new(vec![small("w"), small("w")])).unwrap_err().to_string();
    assert!(error.contains("w is in the group twice"), "{error}");
    let narrow = LinearInput::new("v", dense(4, 5, |_| 0.0));
    let error = job.run(GroupInput::new(vec![small("w"), narrow])).unwrap_err().to_string();
    assert!(error.contains("v has 5 input features, w has 6"), "{error}");
}

#[test]
fn a_technique_that_behaves_is_not_suspected() {
    let output = run("nothing").unwrap();
    assert_eq!(output.weights["w"].to_dense().unwrap(), (0..24).map(|i| i as f32).collect::<Vec<_>>());
}

#[test]
fn a_panic_is_reported_and_ends_the_job() {
    let site = fixture();
    let registry = site.discover();
    for (how, text) in [("panic", "on purpose"), ("panic_in_loop", "at seven")] {
        let mut job = misbehave(&registry, how);
        match job.run(GroupInput::new(vec![small("w")])).unwrap_err() {
            PluginError::Panicked { call: "group_finish", message, .. } => assert_eq!(message, text),
            other => panic!("{other}"),
        }
        let later = job.run(GroupInput::new(vec![small("w")])).unwrap_err();
        assert!(matches!(later, PluginError::Poisoned { .. }), "{later}");
    }
    let misbehave = registry.require("misbehave").unwrap();
    let early = misbehave.start(&json!({ "how": "panic_early" }), 1, Arc::new(NoEvents)).unwrap_err();
    assert!(matches!(early, PluginError::Panicked { call: "create", .. }), "{early}");
    run("panic_in_drop").unwrap();
}

#[test]
fn a_failure_carries_its_status_and_message() {
    let error = run("fail").unwrap_err();
    assert_eq!(
        error.to_string(),
        "technique \"misbehave\" failed in group_finish: w: nothing fits (numerical failure)"
    );
}

#[test]
fn outputs_are_distrusted() {
    assert!(matches!(problem("nan"), OutputProblem::NonFinite { row: 1, column: 1, .. }));
    assert_eq!(problem("shape").to_string(), "component \"weight\" is [6, 6], expected [4, 6]");
    assert!(matches!(problem("unwritten"), OutputProblem::Unwritten { byte: 48, bytes: 96, .. }));
    assert!(matches!(problem("missing"), OutputProblem::Missing));
    assert!(matches!(problem("stranger"), OutputProblem::NotInGroup));
    assert!(matches!(problem("not_allocated"), OutputProblem::NotAllocated { .. }));
    assert!(matches!(problem("huge"), OutputProblem::Allocation { .. }));
    assert!(problem("kind").to_string().contains("unheard_of"));
    assert!(matches!(problem("fold"), OutputProblem::Fold { .. }));
    let lent = run("loss").unwrap_err().to_string();
    assert!(lent.contains("the host lends no loss (not supported)"), "{lent}");
}

#[test]
fn a_dense_tensor_keeps_its_stored_shape() {
    let site = fixture();
    let row = LinearInput::new("w", dense(1, 6, |i| i as f32));
    let error = misbehave(&site.discover(), "flat").run(GroupInput::new(vec![row])).unwrap_err().to_string();
    assert!(error.contains("the stored shape changed from [1, 6] to [6]"), "{error}");
}

#[test]
fn a_refused_attempt_can_be_mended() {
    assert_eq!(run("mend").unwrap().weights.len(), 1);
}

#[test]
fn pruned_entries_stay_zero() {
    let site = fixture();
    let mut input = small("w");
    let mask: Vec<u8> = (0..24).map(|i| u8::from(i != 13)).collect();
    input.mask = Some(Tensor::from_vec(DType::U8, vec![4, 6], mask).unwrap());
    let error =
        misbehave(&site.discover(), "mask").run(GroupInput::new(vec![input])).unwrap_err().to_string();
    assert!(error.contains("the pruned entry at row 2, column 1 became 1"), "{error}");
}

#[test]
fn a_job_stops_soon_after_it_is_cancelled() {
    let site = fixture();
    let registry = site.discover();
    let events = Arc::new(Recorder::default());
    let technique = registry.require("misbehave").unwrap();
    let mut job = technique.start(&json!({ "how": "wait" }), 1, events.clone()).unwrap();
    let running = std::thread::spawn(move || {
        let result = job.run(GroupInput::new(vec![small("w")]));
        (result, job)
    });
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    events.cancel.store(true, Ordering::Relaxed);
    let (result, mut job) = running.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    assert!(matches!(result, Err(PluginError::Cancelled { .. })));
    // A group that was cancelled does not spoil the job.
    events.cancel.store(false, Ordering::Relaxed);
    job.accepts(&json!({ "kind": "dense" })).unwrap();
}

/// A listener that panics must not unwind through the plugin.
#[test]
fn a_panic_of_the_host_is_contained() {
    struct Loud;
    impl HostEvents for Loud {
        fn progress(&self, _: u64, _: u64, _: &str) {
            panic!("too loud");
        }
    }
    let site = fixture();
    let registry = site.discover();
    let mut job = registry.require("probe").unwrap().start(&json!({}), 1, Arc::new(Loud)).unwrap();
    let mut input = GroupInput::new(vec![small("w")]);
    let (hessian, moment) = ([0.0; 36], [0.0; 6]);
    input.hessian = Some(&hessian);
    input.moments = Some(Moments { sum_abs: &moment, sum_sq: &moment, max_abs: &moment });
    let mut tiles = std::iter::empty();
    input.tiles = Some(&mut tiles);
    let loss = |_: &GroupOutput| Ok(0.0);
    input.out_loss = Some(&loss);
    match job.run(input).unwrap_err() {
        PluginError::Output { problem, .. } => {
            assert!(matches!(*problem, OutputProblem::HostPanic { ref message } if message == "too loud"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn many_jobs_come_and_go() {
    let site = fixture();
    let registry = site.discover();
    // A job in a worker is a process, and many of those prove no more than some.
    let isolated = registry.require("misbehave").unwrap().is_isolated();
    for _ in 0..if isolated { 20 } else { 1000 } {
        let mut job = misbehave(&registry, "nothing");
        assert_eq!(job.run(GroupInput::new(vec![small("w")])).unwrap().weights.len(), 1);
    }
}
