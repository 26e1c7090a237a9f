//! Plugins in processes of their own: whatever happens there, one job fails with a message that says what, and the next works.

use crate::support::{Site, c_technique, dense, example, fixture, isolated_fixture, manifest_of};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tenuis_host::{
    DiscoverOptions, GroupInput, GroupOutput, HostEvents, Isolation, LOCK_FILE, LinearInput, NoEvents,
    PluginError, PluginRegistry, WorkerFault, WorkerLimits, WorkerProgram,
};

/// Far above what a job of this size takes on a busy machine, far below any limit of a worker.
const SOON: Duration = Duration::from_secs(20);

fn group() -> GroupInput<'static> {
    GroupInput::new(vec![LinearInput::new("w", dense(4, 6, |i| i as f32))])
}

fn run(registry: &PluginRegistry, how: &str) -> Result<GroupOutput, PluginError> {
    let technique = registry.require("misbehave").unwrap();
    technique.start(&json!({ "how": how }), 1, Arc::new(NoEvents)).unwrap().run(group())
}

fn fault(registry: &PluginRegistry, how: &str) -> (WorkerFault, String) {
    let error = run(registry, how).unwrap_err();
    let text = error.to_string();
    match error {
        PluginError::Worker { call: "group_finish", fault, .. } => (*fault, text),
        other => panic!("{how}: {other}"),
    }
}

/// What ends a process of its own, with a message for each; after each of them the next job works.
#[test]
fn a_plugin_that_dies_fails_one_job_and_says_how() {
    let site = isolated_fixture();
    let mut limits = WorkerLimits::default();
    limits.address_space = Some(8 << 30);
    let registry = site.discover_within(limits);
    let mut impatient = WorkerLimits::default();
    impatient.silence = Duration::from_millis(400);
    let impatient = site.discover_within(impatient);
    let library = site.library().canonicalize().unwrap();
    let of = format!("technique \"misbehave\" of {}, in group_finish: its process ", library.display());

    let (signal, text) = fault(&registry, "segfault");
    assert!(matches!(signal, WorkerFault::Signal { .. }), "{signal:?}");
    assert_eq!(text, format!("{of}was ended by SIGSEGV"));
    let (_, text) = fault(&registry, "abort");
    assert_eq!(text, format!("{of}was ended by SIGABRT"));
    let (exited, text) = fault(&registry, "exit");
    assert!(matches!(exited, WorkerFault::Exited { code: 0, .. }), "{exited:?}");
    assert_eq!(text, format!("{of}exited with code 0 before it was done"));
    let (silent, text) = fault(&impatient, "hang");
    assert!(matches!(silent, WorkerFault::Silent { .. }), "{silent:?}");
    assert!(text.contains("gave no sign of life for 400ms and was killed"), "{text}");
    let (_, text) = fault(&registry, "memory");
    assert!(text.contains("SIGABRT (\"memory allocation of") && text.ends_with("bytes failed\")"), "{text}");

    let output = run(&registry, "nothing").unwrap();
    assert_eq!(output.weights["w"].to_dense().unwrap(), (0..24).map(|i| i as f32).collect::<Vec<_>>());
}

#[test]
fn a_job_without_its_process_can_only_be_dropped() {
    let site = isolated_fixture();
    let registry = site.discover();
    let technique = registry.require("misbehave").unwrap();
    let mut job = technique.start(&json!({ "how": "abort" }), 1, Arc::new(NoEvents)).unwrap();
    assert!(matches!(job.run(group()), Err(PluginError::Worker { .. })));
    let later = job.run(group()).unwrap_err();
    assert!(matches!(later, PluginError::Poisoned { .. }), "{later}");
}

struct CancelledLater {
    since: Instant,
    asked: AtomicBool,
}

impl HostEvents for CancelledLater {
    fn cancelled(&self) -> bool {
        self.asked.store(true, Ordering::Relaxed);
        self.since.elapsed() > Duration::from_millis(150)
    }
}

#[test]
fn a_plugin_that_ignores_the_cancel_flag_is_killed() {
    let site = isolated_fixture();
    let mut limits = WorkerLimits::default();
    limits.cancel_grace = Duration::from_millis(100);
    let registry = site.discover_within(limits);
    let start = Instant::now();
    let events = Arc::new(CancelledLater { since: start, asked: AtomicBool::new(false) });
    let technique = registry.require("misbehave").unwrap();
    let mut job = technique.start(&json!({ "how": "hang" }), 1, events.clone()).unwrap();
    let error = job.run(group()).unwrap_err();
    assert!(matches!(error, PluginError::Cancelled { .. }), "{error}");
    assert!(start.elapsed() < SOON && events.asked.load(Ordering::Relaxed), "took {:?}", start.elapsed());
}

/// A weight that all of its values, signs of zero included, tell apart.
fn bits(output: &GroupOutput) -> Vec<(String, Value, Vec<Vec<u8>>)> {
    let parts = |weight: &tenuis_core::Weight| {
        weight.components().iter().map(|c| c.tensor.data().to_vec()).collect::<Vec<_>>()
    };
    output.weights.iter().map(|(name, weight)| (name.clone(), weight.descriptor(), parts(weight))).collect()
}

#[test]
fn results_are_those_of_this_process_to_the_bit_and_come_soon() {
    let (here, there) = (fixture(), isolated_fixture());
    let (here, there) = (here.discover(), there.discover());
    let work = |registry: &PluginRegistry| {
        let technique = registry.require("misbehave").unwrap();
        let mut job = technique.start(&json!({}), 1, Arc::new(NoEvents)).unwrap();
        let values = |i: usize| (i as f32 * 0.37).sin() * if i.is_multiple_of(7) { -0.0 } else { 1.0 };
        let linear = LinearInput::new("w", dense(512, 256, values));
        job.run(GroupInput::new(vec![linear])).unwrap()
    };
    let start = Instant::now();
    let isolated = work(&there);
    assert!(start.elapsed() < SOON, "a worker took {:?}", start.elapsed());
    assert_eq!(bits(&work(&here)), bits(&isolated));
}

/// A technique that does nothing, whose initialiser writes the number of its process to a file.
fn with_initialiser(trace: &std::path::Path) -> String {
    let start = format!(
        "#include <stdio.h>\n#include <unistd.h>\n\
         __attribute__((constructor)) static void start(void) {{\n\
         FILE *f = fopen(\"{}\", \"w\"); fprintf(f, \"%d\", (int)getpid()); fclose(f); }}",
        trace.display()
    );
    c_technique(&start, "")
}

#[test]
fn no_code_runs_before_the_lock_agrees_and_none_in_the_host() {
    let traces = tempfile::TempDir::new().unwrap();
    let trace = traces.path().join("trace");
    let site =
        Site::new("traced").manifest(&manifest_of(&["in_c"])).c_code(&with_initialiser(&trace)).isolated();
    let lock = |text: &str| std::fs::write(site.dir.path().join(LOCK_FILE), text).unwrap();
    let name = site.library().file_name().unwrap().to_str().unwrap().to_owned();
    lock(&format!("{}  {name}\n", "0".repeat(64)));
    assert!(site.error().contains("pins 0000"), "{}", site.error());
    lock("");
    assert!(site.error().contains("is not listed in"), "{}", site.error());
    assert!(!trace.exists(), "the initialiser has run");

    let hash = blake3::hash(&std::fs::read(site.library()).unwrap()).to_hex();
    lock(&format!("{hash}  {name}\n"));
    let registry = site.discover();
    assert!(registry.technique("in_c").is_some_and(tenuis_host::Technique::is_isolated));
    let process = std::fs::read_to_string(&trace).unwrap();
    assert_ne!(process, std::process::id().to_string());

    // Between discovery and the job somebody puts another library there.
    std::fs::remove_file(&trace).unwrap();
    let mut bytes = std::fs::read(site.library()).unwrap();
    bytes.push(0);
    std::fs::remove_file(site.library()).unwrap();
    std::fs::write(site.library(), bytes).unwrap();
    let technique = registry.require("in_c").unwrap();
    let error = technique.start(&json!({}), 1, Arc::new(NoEvents)).unwrap_err().to_string();
    assert!(error.contains("reports: the library changed meanwhile: its blake3 is"), "{error}");
    assert!(!trace.exists(), "the initialiser has run");
}

#[test]
fn a_library_that_its_process_cannot_load_costs_nothing_else() {
    let crash = "#include <stdlib.h>\n__attribute__((constructor)) static void start(void) { exit(86); }\n\
                 TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t m); \
                 TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t m) { (void)m; return NULL; }";
    let site = Site::new("crash").manifest(&manifest_of(&["x"])).c_code(crash).isolated();
    assert!(
        site.error().ends_with(": its process exited with code 86 before it was done"),
        "{}",
        site.error()
    );
    let null = crash.replace("exit(86);", "");
    let site = Site::new("null").manifest(&manifest_of(&["x"])).c_code(&null).isolated();
    let message = "null.so: its process reports: its entry point does not accept plugin ABI 1.1";
    assert!(!cfg!(target_os = "linux") || site.error().ends_with(message), "{}", site.error());
}

#[test]
fn plugins_outside_the_installation_are_isolated_and_need_a_worker() {
    let site = fixture();
    let paths = [site.dir.path().to_owned()];
    let discover = |change: &dyn Fn(&mut DiscoverOptions)| {
        let mut options = DiscoverOptions::default();
        options.worker =
            Some(WorkerProgram::new(example("tenuis_fixture_worker", std::env::consts::EXE_SUFFIX), [""; 0]));
        change(&mut options);
        PluginRegistry::discover_with(&paths, &options).unwrap()
    };
    assert!(discover(&|_| {}).plugins()[0].is_isolated());
    let inside = discover(&|options| options.installation = vec!["/nowhere".into(), paths[0].clone()]);
    assert!(!inside.plugins()[0].is_isolated() && inside.technique("probe").is_some());
    let none = discover(&|options| options.isolation = Isolation::InProcess);
    assert!(!none.plugins()[0].is_isolated());
    let refused = discover(&|options| options.worker = None);
    let text = refused.plugins()[0].error().unwrap().to_string();
    assert!(
        text.contains("is outside the installation") && text.ends_with("no worker program is named"),
        "{text}"
    );
    let wrong = discover(&|options| options.worker = Some(WorkerProgram::new("/nowhere/tenuis", [""; 0])));
    let text = wrong.plugins()[0].error().unwrap().to_string();
    assert!(text.contains("could not be started from /nowhere/tenuis"), "{text}");

    let manifest = manifest_of(&["probe", "average", "misbehave", "misbehave_model"]);
    let site = site.manifest(&manifest.replace("\"abi\"", "\"isolation\":\"process\",\"abi\""));
    let asked = discover(&|options| options.installation = vec![site.dir.path().to_owned()]);
    assert!(asked.plugins()[0].is_isolated(), "its manifest asks for it");
    let _site = site.manifest(&manifest.replace("\"abi\"", "\"isolation\":\"none\",\"abi\""));
    let text = discover(&|_| {}).plugins()[0].error().unwrap().to_string();
    assert!(text.contains("unknown variant `none`"), "{text}");
}
