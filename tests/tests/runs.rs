//! Runs that are killed, gated, searched, refused and looked up.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::{Model, Tokenizer};
use tenuis_orchestrator::plugin::PluginRegistry;
use tenuis_orchestrator::{
    CompressOptions, LoadedRecipe, Observer, OutputLock, RunError, Silent, StageStore, Text, Workshop,
};
use tenuis_tests::cli::{Run, command, plugin_dir, tenuis};
use tenuis_tests::fixture::Fixture;

const FIXTURE: &str = "llama_linear_headdim";
const OUTPUT: i32 = 6;
const REQUIREMENT: i32 = 10;

/// Two stages that look at activations, so that both have blocks to go on from; the second folds scales.
const TWO_STAGES: &str = "name = \"two\"\ncalibration = { samples = 64, seq_len = 32 }\n\
    [[stages]]\ntechnique = \"sparsegpt\"\noptions = { sparsity = 0.3 }\n\
    [[stages]]\ntechnique = \"gptq\"\noptions = { bits = 4 }\n";

fn path(fixture: &Fixture, name: &str) -> String {
    fixture.path(name).to_str().unwrap().to_owned()
}

fn written(fixture: &Fixture, name: &str, text: &str) -> String {
    fs::write(fixture.path(name), text).unwrap();
    path(fixture, name)
}

/// The command of an evaluation without speed and memory.
fn eval(fixture: &Fixture, out: &str, more: &[&str]) -> Command {
    let mut command = command();
    command.arg("eval").arg("--model").arg(&fixture.model).arg("--data").arg(&fixture.data);
    command.arg("--calib").arg(&fixture.calib).arg("--out").arg(fixture.path(out));
    command.args(["--seq-len", "32", "--no-memory", "--speed-repeats", "0"]).args(more);
    command
}

fn run(mut command: Command) -> Run {
    command.output().unwrap().into()
}

fn report(fixture: &Fixture, out: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture.path(out).join("report.json")).unwrap()).unwrap()
}

fn hash(dir: &Path) -> String {
    let checkpoint = Checkpoint::open(dir).unwrap();
    if checkpoint.manifest().is_some() {
        checkpoint.verify().unwrap();
    }
    checkpoint.hash().to_hex().to_string()
}

/// Asks to stop once so many steps were made.
struct StopAfter {
    steps: u64,
    made: AtomicU64,
}

impl Observer for StopAfter {
    fn advance(&self, steps: u64) {
        self.made.fetch_add(steps, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.made.load(Ordering::Relaxed) >= self.steps
    }
}

fn compress(
    fixture: &Fixture,
    recipe: &str,
    name: &str,
    observer: Arc<dyn Observer>,
) -> Result<bool, RunError> {
    let (plugins, codecs) = (PluginRegistry::discover(&[plugin_dir()]).unwrap(), CodecRegistry::builtin());
    let mut options = CompressOptions::default();
    options.save_every = Duration::ZERO;
    options.store = Some(StageStore::at(fixture.path(&format!("{name}.store"))));
    let workshop = Workshop::new(&plugins, &codecs, observer, options);
    let model = Model::open(Arc::new(Checkpoint::open(&fixture.model).unwrap()), &codecs).unwrap();
    let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab).unwrap();
    let text = Text::open(&fixture.calib, &tokenizer).unwrap();
    let loaded = LoadedRecipe::parse("two.toml", recipe).unwrap();
    let made = workshop.compress(&model, &loaded, Some(&text), &fixture.path(name))?;
    Ok(made.compression.reused)
}

/// Stopped behind every single block in turn, the run keeps that block and ends with the same bytes as one that was left
/// alone; what is finished is not done again.
#[test]
fn a_stopped_run_goes_on_from_its_last_block() {
    let fixture = Fixture::new(FIXTURE);
    let awq = TWO_STAGES.replace("technique = \"gptq\"", "technique = \"awq\"");
    for (name, recipe) in [("gptq", TWO_STAGES), ("awq", &awq)] {
        let whole = format!("{name}-whole");
        assert!(!compress(&fixture, recipe, &whole, Arc::new(Silent)).unwrap());
        let (mut stops, mut kept_blocks) = (0, 0);
        loop {
            // Blocks that an earlier run has finished are steps, too.
            let stop = StopAfter { steps: stops + 1, made: AtomicU64::new(0) };
            match compress(&fixture, recipe, name, Arc::new(stop)) {
                Ok(_) => break,
                Err(RunError::Paused { state }) => {
                    stops += 1;
                    let kept = fs::read_dir(&state).unwrap().map(|e| e.unwrap().file_name());
                    let kept: Vec<String> = kept.map(|name| name.to_string_lossy().into_owned()).collect();
                    kept_blocks += usize::from(kept.iter().any(|name| name.starts_with("blocks-")));
                }
                // Between two stages there is no block to go on from.
                Err(RunError::Cancelled) => stops += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(!fixture.path(name).exists(), "nothing partial appears");
            assert!(stops < 20, "it does not get on");
        }
        assert!(kept_blocks >= 2, "each stage was stopped behind a block: {kept_blocks} of {stops} stops");
        assert_eq!(hash(&fixture.path(name)), hash(&fixture.path(&whole)), "{name}");
        assert!(compress(&fixture, recipe, name, Arc::new(Silent)).unwrap(), "the finished one is reused");
    }
}

/// Killed with no warning at moments all over its time, the run ends with the same bytes as one that was left alone.
#[cfg(unix)]
#[test]
fn a_killed_run_goes_on() {
    let fixture = Fixture::new(FIXTURE);
    let recipe = written(&fixture, "two.toml", TWO_STAGES);
    let start = |out: &str| {
        let mut command = command();
        command.arg("compress").arg("--model").arg(&fixture.model).args(["--recipe", &recipe]);
        command.arg("--calib").arg(&fixture.calib).arg("--out").arg(fixture.path(out));
        command.args(["--save-every", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let began = Instant::now();
    let _ = run(start("whole")).succeeded();
    let time = began.elapsed();
    for i in 0..6 {
        let mut child = start("killed").spawn().unwrap();
        std::thread::sleep(time * (2 * i + 1) / 12);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let _ = run(start("killed")).succeeded();
    assert_eq!(hash(&fixture.path("killed")), hash(&fixture.path("whole")));
    let left: Vec<String> = fs::read_dir(fixture.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("tenuis-tmp") || name.contains(".stages"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Ctrl-C while everything is measured ends the run, too; what was made stays, and the same command goes on.
#[cfg(unix)]
#[test]
fn a_measurement_that_is_interrupted_ends() {
    let fixture = Fixture::new(FIXTURE);
    let recipe = written(&fixture, "x.toml", "name = \"x\"\n[[stages]]\ntechnique = \"rtn\"\n");
    // Windows that overlap all but wholly: minutes of work on so small a model.
    let mut slow = eval(&fixture, "out", &["--recipe", &recipe, "--stride", "1"]);
    let child = slow.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !fixture.path("out/x").exists() {
        assert!(began.elapsed() < Duration::from_mins(1), "nothing was made");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended: Run = child.wait_with_output().unwrap().into();
    ended.failed_with(9, &["goes on"]);
    assert!(!fixture.path("out/report.json").exists());
    let _ = run(eval(&fixture, "out", &["--recipe", &recipe])).succeeded();
    let report = report(&fixture, "out");
    assert_eq!(report["candidates"][0]["compression"]["reused"], true);
    let list = tenuis(&["runs", "list", &path(&fixture, "out")]).succeeded().stdout;
    assert!(list.contains("interrupted") && list.contains("finished"), "{list}");
}

#[test]
fn gates_climb_down_the_ladder_and_roll_back() {
    let fixture = Fixture::new(FIXTURE);
    let ladder = "name = \"ladder\"\ngates = [\"kl_mean <= 0.02\"]\n[[stages]]\ntechnique = \"rtn\"\n\
        options = { bits = 2 }\nladder = [{ options = { bits = 3 } }, { options = { bits = 8 } }]\n";
    let skip = "name = \"skip\"\non_failure = \"skip\"\n[[stages]]\ntechnique = \"rtn\"\noptions = { bits = 2 }\n\
        gates = [\"perplexity <= 1.001x baseline\"]\n[[stages]]\ntechnique = \"rtn\"\noptions = { bits = 8 }\n";
    let nothing =
        "name = \"nothing\"\ngates = [\"bytes <= 0.01x baseline\"]\n[[stages]]\ntechnique = \"rtn\"\n";
    let names = ["ladder.toml", "skip.toml", "nothing.toml"];
    let files: Vec<String> =
        names.iter().zip([ladder, skip, nothing]).map(|(name, text)| written(&fixture, name, text)).collect();
    let arguments: Vec<&str> = files.iter().flat_map(|file| ["--recipe", file.as_str()]).collect();
    let _ = run(eval(&fixture, "out", &arguments)).succeeded();
    let report = report(&fixture, "out");
    let candidates = report["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 2, "the third recipe passed nothing");
    let warned = report["warnings"].to_string();
    assert!(warned.contains("nothing") && warned.contains("no stage passed its gates"), "{warned}");

    let decisions = |index: usize| -> Vec<(String, String)> {
        let of = candidates[index]["compression"]["decisions"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of.iter().map(|decision| (text(&decision["rung"]), text(&decision["action"]))).collect()
    };
    let expected = [("rtn bits=2", "next_rung"), ("rtn bits=3", "next_rung"), ("rtn bits=8", "accept")];
    assert_eq!(decisions(0), expected.map(|(rung, action)| (rung.to_owned(), action.to_owned())));
    let first = &candidates[0]["compression"]["decisions"][0];
    assert!(first["reason"].as_str().unwrap().contains("interval"), "{first}");
    assert_eq!(decisions(1)[0].1, "skip");
    // What was rolled back has left no trace in what came out: it is the second stage alone.
    let alone = "name = \"alone\"\n[[stages]]\ntechnique = \"rtn\"\noptions = { bits = 8 }\n";
    let alone = written(&fixture, "alone.toml", alone);
    let _ = run(eval(&fixture, "alone", &["--recipe", &alone])).succeeded();
    assert_eq!(hash(&fixture.path("out/skip")), hash(&fixture.path("alone/alone")));
    // What was chosen by one half of the text is judged by the other.
    assert!(report["protocol"]["data"]["file"].as_str().unwrap().contains("second half"));

    let lineage = Checkpoint::open(&fixture.path("out/ladder")).unwrap();
    let lineage = lineage.manifest().unwrap().provenance["lineage"].clone();
    assert_eq!(lineage[0]["checkpoint"], hash(&fixture.model), "{lineage}");
    assert_eq!(lineage[1]["options"]["bits"], 8);
    assert_eq!(lineage[1]["checkpoint"], hash(&fixture.path("out/ladder")));
}

#[test]
fn layer_gates_decide_for_every_group() {
    let fixture = Fixture::new(FIXTURE);
    let recipe = |name: &str, limit: &str, ladder: &str| {
        let text = format!(
            "name = \"{name}\"\ncalibration = {{ samples = 16, seq_len = 32 }}\n[[stages]]\ntechnique = \"gptq\"\n\
             options = {{ bits = 2 }}\nlayer_gates = [\"relative_error <= {limit}\"]\n{ladder}"
        );
        written(&fixture, &format!("{name}.toml"), &text)
    };
    let ladder = "ladder = [{ options = { bits = 8 } }]\n";
    let (all, none) = (recipe("careful", "0.01", ladder), recipe("left", "1e-12", ladder));
    let loose = recipe("loose", "10", ladder);
    let recipes = ["--recipe", &all, "--recipe", &none, "--recipe", &loose];
    let _ = run(eval(&fixture, "out", &recipes)).succeeded();
    let bits = |name: &str| -> BTreeSet<String> {
        let model = Checkpoint::open(&fixture.path("out").join(name)).unwrap();
        let stored = tenuis_core::StoredWeights::from_checkpoint(&model).unwrap();
        stored.descriptors().map(|(_, descriptor)| descriptor["bits"].to_string()).collect()
    };
    assert_eq!(bits("careful"), BTreeSet::from(["8".to_owned()]));
    assert_eq!(bits("left"), BTreeSet::new(), "what no rung can do is left as it was");
    assert_eq!(bits("loose"), BTreeSet::from(["2".to_owned()]));
    let report = report(&fixture, "out");
    let notes = report["candidates"][0]["compression"]["stages"][0]["notes"].to_string();
    assert!(notes.contains("done again by gptq bits=8"), "{notes}");
    let metrics = report["candidates"][0]["compression"]["stages"][0]["metrics"].to_string();
    assert!(metrics.contains("/relative_error"), "{metrics}");
}

const TEMPLATE: &str = "name = \"small\"\ncalibration = { samples = 16, seq_len = 32 }\n\
    [search]\nmethod = \"halving\"\ntrials = 6\n[search.axes]\nbits = [2, 4, 8]\nsparsity = [0, 0.5, 2]\n\
    [[stages]]\ntechnique = \"magnitude\"\nonly_if = { sparsity = { not = 0 } }\noptions = { sparsity = \"$sparsity\" }\n\
    [[stages]]\ntechnique = \"gptq\"\noptions = { bits = \"$bits\" }\n";

/// Killed five times, a search of a fixed number of trials ends with the same front as one that was left alone; a trial that
/// fails (a sparsity of 2) ends itself and not the search; the best so far is on the disk.
#[cfg(unix)]
#[test]
fn a_killed_search_finds_the_same() {
    let fixture = Fixture::new(FIXTURE);
    let template = written(&fixture, "small.toml", TEMPLATE);
    let arguments = ["--search", "--recipe", &template, "--scenario", "cost-first", "--save-every", "0"];
    let began = Instant::now();
    let _ = run(eval(&fixture, "whole", &arguments)).succeeded();
    let time = began.elapsed();
    for i in 0..5 {
        let mut command = eval(&fixture, "killed", &arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(time * (i + 1) / 8);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let _ = run(eval(&fixture, "killed", &arguments)).succeeded();
    let (whole, killed) = (report(&fixture, "whole"), report(&fixture, "killed"));
    let front = |report: &Value| -> Vec<(Value, Value, Value)> {
        let trials = report["search"]["trials"].as_array().unwrap();
        let front = report["search"]["front"].as_array().unwrap();
        let of = trials.iter().filter(|trial| front.contains(&trial["name"]));
        of.map(|t| (t["name"].clone(), t["figures"]["bytes"].clone(), t["figures"]["kl_mean"].clone()))
            .collect()
    };
    assert!(!front(&whole).is_empty());
    assert_eq!(front(&whole), front(&killed));
    let search = &whole["search"];
    assert!(search["failed"].as_u64().unwrap() >= 1, "a sparsity of 2 is none: {search}");
    let failure =
        search["trials"].as_array().unwrap().iter().find(|trial| trial["state"] == "failed").unwrap();
    assert!(failure["failure"].as_str().unwrap().contains("sparsity"), "{failure}");
    assert!(search["unseen"].as_str().unwrap().contains("first half"), "{}", search["unseen"]);
    assert_eq!(search["best"]["choices"], killed["search"]["best"]["choices"]);
    assert_eq!(hash(&fixture.path("whole/best")), hash(&fixture.path("killed/best")));
    let best = search["best"]["name"].as_str().unwrap();
    assert_eq!(hash(&fixture.path("whole/best")), hash(&fixture.path("whole").join(best)));

    // Another template under the same name is another search, which begins anew.
    let other = TEMPLATE.replace("bits = \"$bits\"", "bits = \"$bits\", group_size = \"channel\"");
    written(&fixture, "small.toml", &other);
    let _ = run(eval(&fixture, "whole", &arguments)).succeeded();
    let bytes = |report: &Value| -> Vec<Value> {
        report["search"]["trials"].as_array().unwrap().iter().map(|t| t["figures"]["bytes"].clone()).collect()
    };
    assert_ne!(bytes(&whole), bytes(&self::report(&fixture, "whole")));
}

#[test]
fn runs_are_kept_looked_up_and_not_done_twice() {
    let fixture = Fixture::new(FIXTURE);
    let two = written(&fixture, "two.toml", TWO_STAGES);
    // The same first stage, and another second one.
    let three = TWO_STAGES.replace("name = \"two\"", "name = \"three\"").replace("bits = 4", "bits = 3");
    let three = written(&fixture, "three.toml", &three);
    let out = path(&fixture, "out");
    let _ = run(eval(&fixture, "out", &["--recipe", &two])).succeeded();
    let _ = run(eval(&fixture, "out", &["--recipe", &two, "--recipe", &three])).succeeded();
    let list = tenuis(&["runs", "list", &out]).succeeded().stdout;
    assert!(list.contains("run-1") && list.contains("run-2") && list.contains("finished"), "{list}");
    let show = tenuis(&["runs", "show", "run-2", &out]).succeeded().stdout;
    let reused = show.lines().filter(|line| line.contains("reused")).count();
    assert_eq!(reused, 2, "the whole of the first recipe and the first stage of the second:\n{show}");
    let compare = tenuis(&["runs", "compare", "run-1", "run-2", &out]).succeeded().stdout;
    assert!(compare.contains("perplexity") && compare.contains("+0.00 %"), "{compare}");
    let csv = tenuis(&["runs", "export", &out]).succeeded().stdout;
    assert!(csv.starts_with("unix_ms,run,event,") && csv.contains("run-2,metric,three,bytes"), "{csv}");
    tenuis(&["runs", "show", "run-9", &out]).failed_with(3, &["run-9", "run-1, run-2"]);

    // What is made afresh is made once: the stage that both recipes begin with is not run twice.
    let _ = run(eval(&fixture, "out", &["--recipe", &two, "--recipe", &three, "--fresh"])).succeeded();
    let show = tenuis(&["runs", "show", "run-3", &out]).succeeded().stdout;
    let of = |state: &str| show.lines().filter(|line| line.contains(state) && line.contains("gpt")).count();
    assert_eq!((of("started"), of("reused")), (3, 1), "{show}");

    // The store goes, candidates stay, and nothing is lost but time.
    let before = hash(&fixture.path("out/three"));
    let gone = tenuis(&["runs", "gc", &out]).succeeded().stdout;
    assert!(gone.starts_with("removed 3 outputs"), "{gone}");
    assert_eq!(hash(&fixture.path("out/three")), before);

    let lock = OutputLock::take(&fixture.path("out")).unwrap();
    run(eval(&fixture, "out", &["--recipe", &two])).failed_with(OUTPUT, &["another run is writing there"]);
    drop(lock);
}

#[test]
fn fault_21_what_does_not_fit_is_refused_with_the_numbers() {
    let fixture = Fixture::new(FIXTURE);
    let recipe = written(&fixture, "two.toml", TWO_STAGES);
    let refused = run(eval(&fixture, "out", &["--recipe", &recipe, "--max-memory", "0.05"]));
    refused.failed_with(2, &["stage 1 (sparsegpt) needs about", "MiB", "are free"]);
    assert!(!fixture.path("out/two").exists());
    let plan = run(eval(&fixture, "out", &["--recipe", &recipe, "--dry-run"])).succeeded().stdout;
    assert!(plan.contains("two: fits") && plan.contains("GFLOP/s") && plan.contains("gptq"), "{plan}");
    assert!(!fixture.path("out/two").exists());
}

#[test]
fn gates_of_a_compression_need_a_text_of_their_own() {
    let fixture = Fixture::new(FIXTURE);
    let gated = "name = \"gated\"\ngates = [\"kl_mean <= 1e-9\"]\n[[stages]]\ntechnique = \"rtn\"\n";
    let recipe = written(&fixture, "gated.toml", gated);
    let (model, data, out) = (path(&fixture, "model"), path(&fixture, "val.txt"), path(&fixture, "out"));
    let arguments = ["compress", "--model", &model, "--recipe", &recipe, "--out", &out];
    tenuis(&arguments).failed_with(2, &["kl_mean", "--gate-data"]);
    let more = [&arguments[..], &["--gate-data", &data]].concat();
    tenuis(&more).failed_with(REQUIREMENT, &["no stage passed its gates", "interval"]);
    assert!(!fixture.path("out").exists());
    let wrong = gated.replace("kl_mean", "kl_meen");
    let recipe = written(&fixture, "wrong.toml", &wrong);
    let arguments = ["compress", "--model", &model, "--recipe", &recipe, "--out", &out, "--gate-data", &data];
    tenuis(&arguments).failed_with(4, &["wrong.toml:2", "kl_meen"]);
}

/// A name of the hub is looked up in the cache of downloads, whose snapshots are links, and nothing is downloaded.
#[cfg(unix)]
#[test]
fn models_are_found_by_name() {
    let fixture = Fixture::new(FIXTURE);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let home = fixture.path("hf");
    let repository = home.join("hub/models--org--tiny");
    let snapshot = repository.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("blobs")).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), commit).unwrap();
    for (index, file) in ["config.json", "model.safetensors", "tokenizer.json"].iter().enumerate() {
        fs::copy(fixture.model.join(file), repository.join("blobs").join(index.to_string())).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{index}"), snapshot.join(file)).unwrap();
    }
    let inspect = |name: &str| -> Run {
        let mut command = command();
        command.env("HF_HOME", &home).env_remove("HF_HUB_CACHE").args(["inspect", name]);
        run(command)
    };
    for name in ["org/tiny", "org/tiny@main", "org/tiny@0123456"] {
        assert!(inspect(name).succeeded().stdout.contains("llama"), "{name}");
    }
    inspect("org/tiny@v2").failed_with(3, &["org/tiny", "v2"]);
    inspect("org/none").failed_with(3, &["org/none", "download"]);
}
