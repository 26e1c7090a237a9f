//! Training as a stage of a recipe, through the program and the plugin.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tenuis_core::{Checkpoint, CodecRegistry};
use tenuis_model::Model;
use tenuis_tests::cli::{Run, command, snapshot, tenuis};
use tenuis_tests::fixture::Fixture;

const FIXTURE: &str = "llama_gqa_llama3rope";

/// Writes a recipe that ends in `distill`, after `before`.
fn recipe(fixture: &Fixture, name: &str, before: &str, stage: &str) -> PathBuf {
    let path = fixture.path(&format!("{name}.toml"));
    let text = format!("name = \"{name}\"\n{before}\n[[stages]]\ntechnique = \"distill\"\n{stage}");
    fs::write(&path, text).unwrap();
    path
}

fn training(steps: usize, more: &str) -> String {
    format!(
        "[stages.options.training]\nsteps = {steps}\nbatch_size = 4\nseq_len = 32\nwarmup = 0\nlearning_rate = 3e-3\n{more}\n"
    )
}

fn arguments(fixture: &Fixture, recipe: &Path, out: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (model, calib) = (text(&fixture.model), text(&fixture.calib));
    [
        "compress",
        "--model",
        &model,
        "--recipe",
        &text(recipe),
        "--calib",
        &calib,
        "--out",
        &text(out),
        "--threads",
        "2",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn compress(fixture: &Fixture, recipe: &Path, out: &Path) -> Run {
    let arguments = arguments(fixture, recipe, out);
    tenuis(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn model(dir: &Path) -> Model {
    Model::open(std::sync::Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

/// The curves of a stage: step to key to value.
fn curves(out: &Path, stage: usize) -> BTreeMap<u64, Value> {
    let name = out.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(out.with_file_name(format!("{name}.stage-{stage}.metrics.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["step"].as_u64().unwrap(), line))
        .collect()
}

fn components(dir: &Path, suffix: &str) -> BTreeMap<String, Vec<u8>> {
    let checkpoint = Checkpoint::open(dir).unwrap();
    let names: Vec<String> = checkpoint.names().filter(|n| n.ends_with(suffix)).map(str::to_owned).collect();
    names.into_iter().map(|n| (n.clone(), checkpoint.tensor(&n).unwrap().data().to_vec())).collect()
}

#[test]
fn a_student_is_cut_from_the_teacher_and_learns() {
    let fixture = Fixture::new(FIXTURE);
    let before = snapshot(&fixture.model);
    let out = fixture.path("student");
    let stage =
        format!("[stages.options]\nstudent = {{ keep_layers = [1] }}\n{}", training(30, "valid_every = 10"));
    let _ = compress(&fixture, &recipe(&fixture, "student", "", &stage), &out).succeeded();
    let student = model(&out);
    assert_eq!(student.spec().layers.len(), 1);
    student.checkpoint().verify().unwrap();
    assert!(student.logits_vec(&[1, 2, 3, 4], 1, 4).unwrap().iter().all(|l| l.is_finite()));
    let curves = curves(&out, 0);
    assert_eq!(curves.len(), 30);
    let loss = |step: u64| curves[&step]["loss"].as_f64().unwrap();
    assert!(loss(30) < loss(1), "{} -> {}", loss(1), loss(30));
    assert!(
        curves[&30]["valid_divergence"].as_f64().unwrap() < curves[&10]["valid_divergence"].as_f64().unwrap()
    );
    assert_eq!(snapshot(&fixture.model), before, "the teacher is never written to");
    let left: Vec<_> = fs::read_dir(fixture.root.path())
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "state and locks are gone: {left:?}");
}

/// Recovery leaves a compressed model what it is: norms alone leave every packed byte, trained codes keep their scales.
#[test]
fn recovery_keeps_the_representation() {
    let fixture = Fixture::new(FIXTURE);
    let gptq =
        "[[stages]]\ntechnique = \"gptq\"\noptions = { bits = 4, group_size = 32, act_order = true }\n";
    let plain = fixture.path("plain.toml");
    fs::write(&plain, format!("name = \"plain\"\n{gptq}")).unwrap();
    let plain_out = fixture.path("plain");
    let _ = compress(&fixture, &plain, &plain_out).succeeded();
    let packed = components(&plain_out, ".weight_packed");
    let scales = components(&plain_out, ".weight_scale");
    assert!(!packed.is_empty() && packed.len() == scales.len());
    for (name, options, codes_change) in [
        ("norms", "train = \"norms\"", false),
        ("codes", "train = \"*_proj.weight\"", true),
        ("lora", "lora = { rank = 2 }", true),
    ] {
        let out = fixture.path(name);
        let stage = format!("[stages.options]\n{options}\n{}", training(8, ""));
        let _ = compress(&fixture, &recipe(&fixture, name, gptq, &stage), &out).succeeded();
        assert_eq!(components(&out, ".weight_scale"), scales, "{name}");
        assert_eq!(components(&out, ".weight_packed") != packed, codes_change, "{name}");
        let norms = components(&out, "norm.weight") != components(&plain_out, "norm.weight");
        assert_eq!(norms, !codes_change, "{name}");
        // What was trained is what is stored: the last loss is that of the file, up to the state of the weights a step
        // before.
        assert!(model(&out).logits_vec(&[5, 6, 7], 1, 3).unwrap().iter().all(|l| l.is_finite()), "{name}");
    }
}

#[test]
fn quantisation_aware_training_stores_integers() {
    let fixture = Fixture::new(FIXTURE);
    let out = fixture.path("qat");
    let stage = format!(
        "[stages.options]\nquantize = {{ bits = 4, group_size = 32 }}\n{}",
        training(8, "valid_every = 0")
    );
    let _ = compress(&fixture, &recipe(&fixture, "qat", "", &stage), &out).succeeded();
    let linears = model(&fixture.model).spec().linears().count();
    assert_eq!(components(&out, ".weight_packed").len(), linears);
    assert!(Checkpoint::open(&out).unwrap().config().get("quantization_config").is_some());
}

/// Killed at any step, a run goes on from its last state, and every loss is the one of an undisturbed run.
#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_with_the_same_losses() {
    let fixture = Fixture::new(FIXTURE);
    let steps = 300;
    let stage = training(steps, "save_every = 5\nvalid_every = 0");
    let whole = fixture.path("whole");
    let _ = compress(&fixture, &recipe(&fixture, "whole", "", &stage), &whole).succeeded();

    let out = fixture.path("killed");
    let killed = recipe(&fixture, "killed", "", &stage);
    let mut child = command()
        .args(arguments(&fixture, &killed, &out))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = fixture.path("killed.stage-0.metrics.jsonl");
    let began = Instant::now();
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 12 {
        assert!(began.elapsed() < Duration::from_mins(1), "no progress");
        assert!(child.try_wait().unwrap().is_none(), "the run was over before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!out.exists(), "nothing partial appears");
    let before = fs::read_to_string(&metrics).unwrap().lines().count();
    let _ = compress(&fixture, &killed, &out).succeeded();
    let after = fs::read_to_string(&metrics).unwrap().lines().count();
    assert!(after < before + steps, "it went on: {before} lines, then {after}");
    let (whole_curve, curve) = (curves(&whole, 0), curves(&out, 0));
    for (step, line) in &whole_curve {
        assert_eq!(line["loss"], curve[step]["loss"], "step {step}");
    }
    assert_eq!(components(&out, ".weight"), components(&whole, ".weight"));
}

#[test]
fn bad_input_is_refused() {
    let fixture = Fixture::new(FIXTURE);
    let out = fixture.path("out");
    let run = |name: &str, stage: &str| compress(&fixture, &recipe(&fixture, name, "", stage), &out);

    // A teacher with another vocabulary: a new model with one token more.
    let mut config = fixture.config();
    config["vocab_size"] = (config["vocab_size"].as_u64().unwrap() + 1).into();
    fs::write(fixture.path("teacher.json"), config.to_string()).unwrap();
    let path = |name: &str| fixture.path(name).to_str().unwrap().to_owned();
    let (json, calib, teacher) = (path("teacher.json"), path("calib.txt"), path("teacher"));
    let tokenizer = fixture.model.to_str().unwrap();
    let tiny = ["--tokenizer", tokenizer, "--steps", "1", "--batch-size", "1", "--seq-len", "16"];
    let _ = tenuis(&[&["train", "--config", &json, "--text", &calib, "--out", &teacher][..], &tiny].concat())
        .succeeded();
    run("vocabulary", "teacher = \"teacher\"\n").failed_with(3, &["the teacher has", "the student"]);
    run("layer", &format!("[stages.options]\nstudent = {{ keep_layers = [9] }}\n{}", training(1, "")))
        .failed_with(5, &["layer 9 is not there"]);
    run("option", "options = { studnt = {} }\n").failed_with(4, &["option.toml:5", "studnt"]);
    run("divergence", "options = { objective = { divergence = \"kl\" } }\n").failed_with(4, &["forward_kl"]);
    run("targets", "targets = { include = [\"*\"] }\n").failed_with(4, &["whole model"]);
    run("pattern", "options = { train = \"no.such.*\" }\n").failed_with(5, &["no.such.*"]);
    run("nan", &training(20, "clip_norm = 0.0\nmax_skipped = 2").replace("3e-3", "1e39"))
        .failed_with(5, &["not finite"]);
    run("missing", "data = { train = \"nothing.txt\" }\n").failed_with(3, &["nothing.txt"]);
    fs::write(fixture.path("short.txt"), "w1 w2 w3").unwrap();
    run("short", &format!("data = {{ train = \"short.txt\" }}\n{}", training(1, "")))
        .failed_with(5, &["tokens"]);
    let (model, recipe) = (fixture.model.to_str().unwrap(), recipe(&fixture, "text", "", &training(1, "")));
    let arguments =
        ["compress", "--model", model, "--recipe", recipe.to_str().unwrap(), "--out", out.to_str().unwrap()];
    tenuis(&arguments).failed_with(2, &["needs text to train on", "--calib"]);
    let group = fixture.path("group.toml");
    fs::write(&group, "name = \"g\"\n[[stages]]\ntechnique = \"rtn\"\nteacher = \"x\"\n").unwrap();
    compress(&fixture, &group, &out).failed_with(4, &["stages[0].teacher"]);
    assert!(!out.exists());
}

/// Ctrl-C saves and says how to go on.
#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_its_state() {
    let fixture = Fixture::new(FIXTURE);
    let out = fixture.path("long");
    let recipe = recipe(&fixture, "long", "", &training(100_000, "save_every = 0\nvalid_every = 0"));
    let child = command()
        .args(arguments(&fixture, &recipe, &out))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = fixture.path("long.stage-0.metrics.jsonl");
    let began = Instant::now();
    while fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        assert!(began.elapsed() < Duration::from_mins(1), "no progress");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(9), "{stderr}");
    assert!(stderr.contains("to go on from"), "{stderr}");
    let saved = fs::read_dir(fixture.path(".long.stages"))
        .unwrap()
        .flatten()
        .any(|e| e.path().join("train-state.safetensors").is_file());
    assert!(saved);
}
