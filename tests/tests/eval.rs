//! `tenuis eval`, the main job, end to end: on a small fixture that ships, and on real models where the machine has
//! them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::{Value, json};
use std::path::Path;
use tenuis_core::{Checkpoint, CodecRegistry, StoredWeights};
use tenuis_model::Model;
use tenuis_tests::cli::{Run, shared, snapshot, tenuis};
use tenuis_tests::fixture::Fixture;

fn eval(model: &Path, data: &Path, calib: &Path, out: &Path, more: &[&str]) -> (Run, Value) {
    let mut args: Vec<&str> = vec!["eval"];
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let (model, data, calib, out) = (path(model), path(data), path(calib), path(out));
    args.extend(["--model", &model, "--data", &data, "--calib", &calib, "--out", &out]);
    args.extend(more);
    let run = tenuis(&args).succeeded();
    let report = std::fs::read(Path::new(&out).join("report.json")).unwrap();
    (run, serde_json::from_slice(&report).unwrap())
}

fn candidate<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["candidates"].as_array().unwrap();
    all.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no candidate {name}"))
}

fn perplexity(entry: &Value) -> f64 {
    entry["quality"]["perplexity"]["value"].as_f64().unwrap()
}

/// The file holds the components' bytes by formula, the tensors that were not touched, and the header; nothing else.
fn assert_exact_bytes(source: &Path, written: &Path, touched_other: bool) {
    let source = Checkpoint::open(source).unwrap();
    let checkpoint = Checkpoint::open(written).unwrap();
    checkpoint.verify().unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let model =
        Model::open(std::sync::Arc::new(Checkpoint::open(written).unwrap()), &CodecRegistry::builtin())
            .unwrap();
    let mut expected = 0;
    let mut linears = std::collections::BTreeSet::new();
    for linear in model.spec().linears() {
        let codecs = CodecRegistry::builtin();
        let weight = stored.weight(&checkpoint, &codecs, &linear.name, linear.shape, linear.layout).unwrap();
        expected += weight.stored_bytes();
        linears.insert(linear.weight_name());
    }
    for name in source.names().filter(|n| !linears.contains(*n)) {
        let (before, after) = (source.tensor(name).unwrap(), checkpoint.tensor(name).unwrap());
        if !touched_other {
            assert_eq!(before.data()[..], after.data()[..], "{name} was not to be touched");
        }
        expected += after.data().len() as u64;
    }
    assert_eq!(checkpoint.tensor_bytes(), expected);
    let files: u64 = checkpoint.shard_files().map(|f| std::fs::metadata(f).unwrap().len()).sum();
    assert_eq!(files, expected + checkpoint.header_bytes());
    assert_eq!(files, checkpoint.file_bytes());
}

#[test]
fn built_in_recipes_on_a_fixture() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let before = snapshot(&fixture.model);
    let out = fixture.path("out");
    let more = ["--seq-len", "32", "--speed-repeats", "2"];
    let (run, report) = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &more);

    assert_eq!(report["schema"], "tenuis.report/1");
    let schema: Value = serde_json::from_str(&tenuis(&["schema"]).succeeded().stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator.iter_errors(&report).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");

    let names: Vec<&str> =
        report["candidates"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["f16", "int8-rtn", "int4-rtn", "int4-gptq", "distilled"]);
    for name in ["baseline", "f16", "int8-rtn", "int4-rtn", "int4-gptq", "distilled"] {
        assert!(run.stdout.contains(name), "the table shows {name}: {}", run.stdout);
    }
    assert_eq!(report["baseline"]["quality"]["kl_mean"], 0.0);
    assert_eq!(report["baseline"]["quality"]["top1_agreement"], 1.0);
    assert_eq!(report["baseline"]["size"]["compression_ratio"], 1.0);
    let base = perplexity(&report["baseline"]);
    assert!((perplexity(candidate(&report, "f16")) / base - 1.0).abs() < 1e-3);
    for entry in report["candidates"].as_array().unwrap() {
        assert!(entry["memory"]["peak_bytes"].as_u64().unwrap() > 0);
        assert!(entry["speed"]["prefill_tokens_per_s"].as_f64().unwrap() > 0.0);
        assert!(entry["quality"]["kl_mean"].as_f64().unwrap() > 0.0);
        let dir = Path::new(entry["checkpoint"].as_str().unwrap());
        // A student has other tensors than its teacher.
        if entry["name"] != "distilled" {
            assert_exact_bytes(&fixture.model, dir, entry["name"] == "f16");
        }
        assert_eq!(
            std::fs::read(dir.join("tokenizer.json")).unwrap(),
            std::fs::read(fixture.model.join("tokenizer.json")).unwrap()
        );
    }
    // Half of f32, but for the header; the ratio counts files, headers included.
    let ratio = candidate(&report, "f16")["size"]["compression_ratio"].as_f64().unwrap();
    assert!((1.9..=2.0).contains(&ratio), "{ratio}");
    assert_eq!(snapshot(&fixture.model), before, "the input is never written to");
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(markdown.contains("int4-gptq") && markdown.contains("evenly spaced"));

    // A second run finds everything done, and says the same.
    let (_, again) = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &more);
    for name in names {
        assert_eq!(candidate(&again, name)["compression"]["reused"], true, "{name}");
        assert_eq!(candidate(&again, name)["quality"], candidate(&report, name)["quality"], "{name}");
    }
}

/// The demonstration that ships: far from chance, and with room to fall.
#[test]
fn the_demonstration_answers() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("out");
    let arguments = ["eval", "--out", dir.to_str().unwrap(), "--recipe", "int4-rtn", "--max-tokens", "5120"];
    let run = tenuis(&[&arguments[..], &["--speed-repeats", "0", "--no-memory"]].concat()).succeeded();
    let report: Value = serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap();
    let value = |entry: &Value, task: &str| entry["quality"]["tasks"][task]["value"].as_f64().unwrap();
    let (baseline, rounded) = (&report["baseline"], candidate(&report, "int4-rtn"));
    assert!(value(baseline, "facts") >= 0.85, "{}", run.stdout);
    assert!(value(baseline, "problems") >= 0.6, "{}", run.stdout);
    assert!(value(baseline, "cloze") < 1.0 && value(rounded, "problems") < 1.0);
    assert_eq!(baseline["quality"]["tasks"]["facts"]["items"], 400);
    // A second run finds the demonstration unpacked and the candidate made.
    let again = tenuis(&[&arguments[..], &["--speed-repeats", "0", "--no-memory"]].concat()).succeeded();
    assert!(again.stdout.contains("int4-rtn"));
}

#[test]
fn every_family_goes_through_gptq() {
    for name in [
        "llama_gqa_llama3rope",
        "llama_linear_headdim",
        "llama_yarn",
        "mistral_window",
        "qwen2",
        "qwen3",
        "smollm3",
        "gpt2",
    ] {
        let fixture = Fixture::new(name);
        let recipe = fixture.path("recipe.toml");
        std::fs::write(
            &recipe,
            "name = \"w8\"\ncalibration = { samples = 16, seq_len = 64 }\n[[stages]]\ntechnique = \"gptq\"\n\
             true_sequential = true\noptions = { bits = 8, group_size = 32 }\n",
        )
        .unwrap();
        let out = fixture.path("out");
        let more =
            ["--seq-len", "32", "--speed-repeats", "0", "--no-memory", "--recipe", recipe.to_str().unwrap()];
        let (_, report) = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &more);
        let w8 = candidate(&report, "w8");
        assert!(w8["quality"]["kl_mean"].as_f64().unwrap() < 2e-2, "{name}: {}", w8["quality"]);
        assert!(w8["speed"].is_null() && w8["memory"].is_null(), "{name}: not measured");
        assert_exact_bytes(&fixture.model, &out.join("w8"), false);
    }
}

/// Tasks of all layouts, for the baseline and a packed candidate; what cannot be used is refused before any work.
#[test]
fn tasks_stand_beside_perplexity() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let recipe = fixture.path("recipe.toml");
    std::fs::write(
        &recipe,
        "name = \"w4\"\n[[stages]]\ntechnique = \"rtn\"\noptions = { bits = 4, group_size = 32 }\n",
    )
    .unwrap();
    let write = |name: &str, items: &[Value]| {
        let path = fixture.path(name);
        std::fs::write(&path, items.iter().map(|item| item.to_string() + "\n").collect::<String>()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let question =
        |i| json!({"question": format!("w{i} w3"), "choices": ["w1", "w2 w7", "w3"], "answer": i % 3});
    let choices = write("choices.jsonl", &(0..12).map(question).collect::<Vec<_>>());
    let text = |i| json!({"text": format!("w{i} w{} w{}.", i + 1, i * 3)});
    let words = write("words.jsonl", &(1..9).map(text).collect::<Vec<_>>());
    let sums = write("sums.jsonl", &[json!({"question": "w1 w2", "answer": "w3 #### 7"})]);

    let out = fixture.path("out");
    let plain =
        ["--seq-len", "32", "--speed-repeats", "0", "--no-memory", "--recipe", recipe.to_str().unwrap()];
    let more = [&plain[..], &["--task", &choices, "--task", &words, "--task", &sums]].concat();
    let (run, report) = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &more);
    let schema: Value = serde_json::from_str(&tenuis(&["schema"]).succeeded().stdout).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&report));
    for entry in [&report["baseline"], candidate(&report, "w4")] {
        let tasks = &entry["quality"]["tasks"];
        for (name, metric, items) in
            [("choices", "accuracy", 12), ("sums", "exact_match", 1), ("words", "accuracy", 8)]
        {
            let task = &tasks[name];
            assert_eq!((&task["metric"], &task["items"]), (&json!(metric), &json!(items)), "{task}");
            let value = task["correct"].as_f64().unwrap() / f64::from(items);
            assert!((task["value"].as_f64().unwrap() - value).abs() < 1e-12, "{task}");
        }
        assert!((tasks["choices"]["chance"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!(tasks["words"]["chance"].is_null());
    }
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(markdown.contains("| choices | sums | words |") && markdown.contains("- sums: exact match"));
    assert!(run.stdout.contains("choices") && run.stdout.contains("words"), "{}", run.stdout);
    // The same numbers on one thread.
    let (_, serial) =
        eval(&fixture.model, &fixture.data, &fixture.calib, &out, &[&more[..], &["--threads", "1"]].concat());
    assert_eq!(serial["baseline"]["quality"], report["baseline"]["quality"]);
    assert_eq!(candidate(&serial, "w4")["quality"], candidate(&report, "w4")["quality"]);
    // Without tasks there is no trace of them.
    let (_, without) = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &plain);
    assert!(without["baseline"]["quality"].get("tasks").is_none());

    let fails = |tasks: &[&str], code, parts: &[&str]| {
        let (model, data) = (fixture.model.to_str().unwrap(), fixture.data.to_str().unwrap());
        let none = fixture.path("none");
        let mut args = vec!["eval", "--model", model, "--data", data, "--out", none.to_str().unwrap()];
        args.extend(plain);
        args.extend(tasks.iter().flat_map(|task| ["--task", task]));
        tenuis(&args).failed_with(code, parts);
        assert!(!none.join("w4").exists(), "nothing is compressed");
    };
    fails(&[&choices, &choices], 2, &["two tasks are named \"choices\"", "rename"]);
    let bad =
        write("bad.jsonl", &[question(0), json!({"question": "w1", "choices": ["w1", "w2"], "answer": 2})]);
    fails(&[&bad], 3, &["bad.jsonl, line 2", "the answer is 2", "from 0"]);
    fails(&["no/such.jsonl"], 3, &["no/such.jsonl"]);
}

/// Stages compose: the second works on what the first wrote, whose checkpoint lies in the store alone.
#[test]
fn two_stages_in_a_row() {
    let fixture = Fixture::new("qwen3");
    let recipe = fixture.path("recipe.toml");
    std::fs::write(
        &recipe,
        "name = \"f16-then-int8\"\n[[stages]]\ntechnique = \"cast\"\noptions = { dtype = \"f16\" }\n\
         [[stages]]\ntechnique = \"rtn\"\noptions = { bits = 8 }\ntargets = { include = [\"*.mlp.*\"], blocks = [0, \"1..3\"] }\n",
    )
    .unwrap();
    let out = fixture.path("out");
    let more =
        ["--seq-len", "32", "--speed-repeats", "0", "--no-memory", "--recipe", recipe.to_str().unwrap()];
    let (_, report) = eval(&fixture.model, &fixture.data, &fixture.calib, &out, &more);
    let made = candidate(&report, "f16-then-int8");
    assert_eq!(made["compression"]["stages"].as_array().unwrap().len(), 2);
    let inspected = tenuis(&["inspect", "--json", made["checkpoint"].as_str().unwrap()]).succeeded();
    let inspected: Value = serde_json::from_str(&inspected.stdout).unwrap();
    for linear in inspected["linears"].as_array().unwrap() {
        let expected =
            if linear["name"].as_str().unwrap().contains(".mlp.") { "grouped_int" } else { "dense" };
        assert_eq!(linear["representation"]["kind"], expected, "{}", linear["name"]);
    }
    let left: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    // But for the store, which later runs look into.
    let stages = left.iter().filter(|n| n.to_string_lossy().contains("stage") && *n != ".stages");
    assert_eq!(stages.count(), 0, "{left:?}");
}

/// The reference perplexities of transformers 5.23 in f32, and what the issue promises of each candidate.
#[test]
fn tiny1m_agrees_with_transformers() {
    let Some(shared) = shared() else { return };
    let model = shared.join("models/tiny1m");
    let data = shared.join("data/tinystories_val.txt");
    let calib = shared.join("data/tinystories_train_head.txt");
    let before = snapshot(&model);
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    // All that is built in but the student, whose training has tests of its own.
    let mut more = vec!["--seq-len", "128", "--max-tokens", "51200", "--speed-repeats", "1"];
    for name in ["f16", "int8-rtn", "int4-rtn", "int4-gptq"] {
        more.extend(["--recipe", name]);
    }
    let (_, report) = eval(&model, &data, &calib, &out, &more);
    let quality = &report["baseline"]["quality"]["perplexity"];
    assert_eq!((quality["tokens"].as_u64(), quality["windows"].as_u64()), (Some(51_200), Some(400)));
    assert_eq!(report["protocol"]["data"]["tokens"], 393_018);
    let base = perplexity(&report["baseline"]);
    assert!((base / 6.050_065 - 1.0).abs() < 1e-3, "400 windows: {base}");
    let int8 = perplexity(candidate(&report, "int8-rtn"));
    assert!((int8 / base - 1.0).abs() < 5e-3, "int8: {int8} beside {base}");
    let (gptq, rtn) =
        (perplexity(candidate(&report, "int4-gptq")), perplexity(candidate(&report, "int4-rtn")));
    assert!(gptq < rtn, "GPTQ {gptq} must beat RTN {rtn}");
    for name in ["int8-rtn", "int4-rtn", "int4-gptq"] {
        assert_exact_bytes(&model, &out.join(name), false);
    }
    assert_exact_bytes(&model, &out.join("f16"), true);
    assert_eq!(snapshot(&model), before);
}

#[test]
fn all_windows_agree_with_transformers() {
    let Some(shared) = shared() else { return };
    let recipe = "name = \"f16\"\n[[stages]]\ntechnique = \"cast\"\noptions = { dtype = \"f16\" }\n";
    for (name, seq_len, max_tokens, expected) in [
        ("tiny1m", "128", "400000", 5.888_674),
        ("tiny1m", "256", "51200", 4.748_661),
        ("stories260k", "128", "51200", 5.462_746),
    ] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("r.toml");
        std::fs::write(&file, recipe).unwrap();
        let data = shared.join("data/tinystories_val.txt");
        let out = root.path().join("out");
        let more = [
            "--seq-len",
            seq_len,
            "--max-tokens",
            max_tokens,
            "--speed-repeats",
            "0",
            "--no-memory",
            "--recipe",
            file.to_str().unwrap(),
        ];
        let (_, report) = eval(&shared.join("models").join(name), &data, &data, &out, &more);
        let base = perplexity(&report["baseline"]);
        assert!((base / expected - 1.0).abs() < 1e-3, "{name} at {seq_len}: {base}, expected {expected}");
        let warnings = report["warnings"].to_string();
        assert!(warnings.contains("flatter"), "calibrating on the evaluation text is said: {warnings}");
    }
}

/// Checkpoints that exist already are measured and nothing is made; conditions decide the exit code.
#[test]
fn others_are_compared_and_conditions_judged() {
    let fixture = Fixture::new("llama_gqa_llama3rope");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let [model, data] = [&fixture.model, &fixture.data].map(|path| text(path));
    let made = text(&fixture.path("made"));
    let _ = tenuis(&["compress", "--model", &model, "--recipe", "int8-rtn", "--out", &made]).succeeded();
    let out = text(&fixture.path("out"));
    let plain = ["--data", &data, "--seq-len", "32", "--speed-repeats", "0", "--no-memory", "--out", &out];
    let run = |more: &[&str]| tenuis(&[&["eval"][..], &plain, more].concat());
    let report = || -> Value {
        serde_json::from_slice(&std::fs::read(fixture.path("out").join("report.json")).unwrap()).unwrap()
    };
    let fine =
        ["--compare", &model, &made, "--require", "perplexity <= 1.5x baseline", "--require", "ratio > 1"];
    let shown = run(&fine).succeeded().stdout;
    let said = |line: &str| line.contains("perplexity <= 1.5x baseline") && line.contains('✓');
    assert!(shown.lines().any(said), "{shown}");
    let found = report();
    assert_eq!(found["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&found["candidates"][0]["name"], &found["candidates"][0]["recipe"]),
        (&json!("made"), &Value::Null)
    );
    assert!(found["candidates"][0]["compression"].is_null());
    let schema: Value = serde_json::from_str(&tenuis(&["schema"]).succeeded().stdout).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&found));
    // The page stands by itself, and is made again from the numbers.
    let page = fixture.path("out").join("report.html");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("made") && !html.contains("src=\"http"), "a page of its own");
    std::fs::remove_file(&page).unwrap();
    let _ = tenuis(&["report", &out]).succeeded();
    assert_eq!(std::fs::read_to_string(&page).unwrap(), html);
    // The model is named, a recipe runs beside what exists, and what was not measured is not passed.
    let more = ["--model", &model, "--compare", &made, "--recipe", "f16", "--require", "peak_memory <= 1e12"];
    run(&more).failed_with(10, &["2 required conditions"]);
    let found = report();
    assert_eq!(found["requirements"][0]["candidates"][1]["verdict"], "undecided");
    run(&["--model", &model, "--compare", &made, "--require", "kl_mean <= 0"])
        .failed_with(10, &["does not hold"]);
    assert_eq!(report()["requirements"][0]["candidates"][0]["verdict"], "no");
    run(&["--model", &model, "--require", "speed > 1"]).failed_with(2, &["no figure of a report"]);
    let other = Fixture::new("gpt2");
    let config = std::fs::read_to_string(other.model.join("config.json")).unwrap();
    std::fs::write(
        other.model.join("config.json"),
        config.replace("\"vocab_size\": 160", "\"vocab_size\": 159"),
    )
    .unwrap();
    let other = text(&other.model);
    let code = run(&["--model", &model, "--compare", &other]).code;
    assert!(code == 3, "another vocabulary or shape is refused: {code}");
}
