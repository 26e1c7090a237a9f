//! What an evaluation says beside perplexity: intervals, slices, harder texts, single results, speed under load, starts, costs,
//! and numbers of several runs in one report.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use tenuis_tests::cli::tenuis;
use tenuis_tests::fixture::Fixture;

/// Sums in another order, of a few thousand terms.
const ROUNDING: f64 = 1e-9;

const FIXTURE: &str = "llama_gqa_llama3rope";

/// Runs `tenuis` with arguments of which some are paths.
fn run(args: &[&str]) -> tenuis_tests::cli::Run {
    tenuis(args)
}

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A task of four choices each.
fn task(fixture: &Fixture) -> String {
    let mut lines = String::new();
    for i in 0..12 {
        let (a, b) = (3 * i + 1, 5 * i + 2);
        writeln!(
            lines,
            r#"{{"question": "w{a} w{b}", "subject": "s{}", "choices": ["w3", "w4", "w5", "w6"], "answer": {}}}"#,
            i % 2,
            i % 4
        )
        .unwrap();
    }
    let path = fixture.path("quiz.jsonl");
    std::fs::write(&path, lines).unwrap();
    text(&path)
}

#[test]
fn everything_is_measured_and_agrees_with_its_samples() {
    let fixture = Fixture::new(FIXTURE);
    let (out, other) = (fixture.path("out"), fixture.path("other.txt"));
    std::fs::write(&other, "w1 w2 w3 w5 w8 w13 ".repeat(60)).unwrap();
    let (model, data, dir) = (text(&fixture.model), text(&fixture.data), text(&out));
    let (quiz, other) = (task(&fixture), text(&other));
    let mut args = vec!["eval", "--model", &model, "--data", &data, "--out", &dir, "--seq-len", "32"];
    args.extend(["--recipe", "int4-rtn", "--recipe", "f16", "--task", &quiz, "--full", "--ood", &other]);
    args.extend([
        "--speed-lengths",
        "8,4",
        "--speed-repeats",
        "2",
        "--price-per-hour",
        "3.6",
        "--seeds",
        "2",
    ]);
    args.extend(["--business", "files:lower=ls $TENUIS_MODEL | wc -l"]);
    args.extend(["--require", "retention.perplexity >= 1", "--require", "business.files <= 100"]);
    args.extend(["--require", "latency_p99_ms <= 1e6", "--require", "flops_decode <= 1x baseline"]);
    let _ = run(&args).succeeded();
    let report = report(&out);
    let schema: Value = serde_json::from_str(&run(&["schema"]).succeeded().stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator.iter_errors(&report).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");

    let entries = || std::iter::once(&report["baseline"]).chain(report["candidates"].as_array().unwrap());
    for entry in entries() {
        let name = entry["name"].as_str().unwrap();
        let quality = &entry["quality"];
        // The single results add up to the figures.
        let windows = lines(&out.join("samples").join(name).join("perplexity.jsonl"));
        let nll: f64 = windows.iter().map(|w| w["nll"].as_f64().unwrap()).sum::<f64>() / windows.len() as f64;
        let perplexity = quality["perplexity"]["value"].as_f64().unwrap();
        assert!((nll.exp() / perplexity - 1.0).abs() < ROUNDING, "{name}");
        let items = lines(&out.join("samples").join(name).join("quiz.jsonl"));
        let right = items.iter().filter(|item| item["right"] == true).count();
        assert_eq!(quality["tasks"]["quiz"]["correct"], right);
        let slices = quality["tasks"]["quiz"]["slices"].as_object().unwrap();
        assert!(slices.contains_key("length"), "{slices:?}");
        // Every slice of the text holds a part of its predictions, and both ways to cut it hold all.
        let cut: u64 =
            quality["slices"].as_array().unwrap().iter().map(|s| s["predictions"].as_u64().unwrap()).sum();
        assert_eq!(cut, 2 * quality["perplexity"]["predictions"].as_u64().unwrap());
        let mean = quality["slices"].as_array().unwrap()[4..]
            .iter()
            .map(|s| s["perplexity"].as_f64().unwrap().ln() * s["predictions"].as_f64().unwrap())
            .sum::<f64>();
        assert!((mean / (nll * cut as f64 / 2.0) - 1.0).abs() < ROUNDING);
        for harder in ["misspelt", "long_context", "other"] {
            assert!(quality["robustness"][harder]["value"].as_f64().unwrap() > 1.0, "{name}: {harder}");
        }
        assert_eq!(quality["robustness"]["misspelt"]["runs"].as_array().unwrap().len(), 2);
        assert!(quality["business"]["files"]["value"].as_f64().unwrap() >= 2.0);
        let speed = &entry["speed"];
        for kind in ["steady", "poisson", "bursty"] {
            let load = &speed["load"][kind]["load"];
            let (latency, service) = (load["latency"]["median"].as_f64(), load["service"]["median"].as_f64());
            assert!(latency >= service && service > Some(0.0), "waiting is part of the latency");
        }
        assert!(!speed["sweep"]["rows"].as_array().unwrap().is_empty());
        let prefill = &speed["profile"]["prefill"];
        let attributed: f64 =
            prefill["operations"].as_array().unwrap().iter().map(|o| o["seconds"].as_f64().unwrap()).sum();
        assert!(attributed > 0.0 && attributed <= prefill["seconds"].as_f64().unwrap());
        let cost = entry["cost"]["per_million_tokens"].as_f64().unwrap();
        let rate = speed["decode_tokens_per_s"].as_f64().unwrap();
        assert!((cost * rate / 1000.0 - 1.0).abs() < ROUNDING, "3.6 an hour is a thousandth a second");
        assert!(entry["memory"]["start"]["warm"]["ready_seconds"]["median"].as_f64() > Some(0.0));
        assert_eq!(
            quality["perplexity"]["protocol"],
            report["baseline"]["quality"]["perplexity"]["protocol"]
        );
    }
    let int4 = &report["candidates"][0]["figures"];
    let (of, bytes) = (&int4["retention"]["perplexity"], &int4["compression"]["bytes"]);
    let number = |value: &Value| value.as_f64().unwrap();
    let (b, c) = (number(&of["baseline"]), number(&of["candidate"]));
    assert!((number(&of["percent"]) - 100.0 * b / c).abs() < ROUNDING, "lower is better");
    let difference = &of["difference"];
    assert!((number(&difference["value"]) - (c - b)).abs() < ROUNDING * c, "of {c}");
    assert!(number(&difference["low"]) <= c - b && c - b <= number(&difference["high"]));
    assert!((number(&bytes["compression_ratio"]) * number(&bytes["fraction"]) - 1.0).abs() < ROUNDING);
    let efficiency = number(&of["percent"]) / number(&bytes["fraction"]);
    assert!((number(&int4["efficiency"]) / efficiency - 1.0).abs() < ROUNDING);
    assert_eq!(int4["compression"]["flops_decode"]["fraction"], 1.0, "fewer bits are no fewer operations");
    assert!(number(&int4["score"]) > 0.0);
    assert!(
        report["requirements"].as_array().unwrap().iter().all(|r| r["candidates"][0]["verdict"] == "yes")
    );
}

#[test]
fn a_figure_that_cannot_be_had_is_an_error() {
    let fixture = Fixture::new(FIXTURE);
    let (model, data, dir) = (text(&fixture.model), text(&fixture.data), text(&fixture.path("out")));
    let args = |more: &[&'static str]| {
        let mut args = vec!["eval", "--model", &model, "--data", &data, "--out", &dir, "--seq-len", "32"];
        args.extend(["--recipe", "f16", "--no-memory", "--speed-repeats", "0"]);
        args.extend(more);
        run(&args)
    };
    assert!(args(&["--business", "echo 3"]).stderr.contains("NAME=COMMAND"));
    assert!(args(&["--weights", "beauty=1"]).stderr.contains("accuracy"));
    assert!(args(&["--speed-lengths", "8"]).stderr.contains("two numbers"));
    // Nothing of this is found out after the work: no candidate was begun.
    let misspelt = fixture.path("misspelt.txt");
    std::fs::write(&misspelt, "w1 w2 ".repeat(99)).unwrap();
    let taken = text(&misspelt);
    for (more, code, part) in [
        (["--ood", "/nowhere/at/all.txt"], 3, "/nowhere/at/all.txt"),
        (["--ood", &taken], 2, "misspelt"),
        (["--stride", "99"], 3, "stride of 99"),
        (["--speed-lengths", "99999,1"], 2, "positions"),
        (["--business", "sales=echo many"], 3, "no line of its output is a number"),
    ] {
        let mut args = vec!["eval", "--model", &model, "--data", &data, "--out", &dir, "--seq-len", "32"];
        args.extend(["--recipe", "f16", "--no-memory"]);
        args.extend(more);
        run(&args).failed_with(code, &[part]);
        assert!(!fixture.path("out").join("f16").exists(), "{part}");
    }
    // What was not measured never passes.
    args(&["--require", "joules_per_token <= 1e9"]).failed_with(10, &[]);
}

#[test]
fn numbers_of_other_runs_join_where_protocols_allow() {
    let fixture = Fixture::new(FIXTURE);
    let (model, data) = (text(&fixture.model), text(&fixture.data));
    let eval = |dir: &Path, recipe: &str, seq_len: &str| {
        let dir = text(dir);
        let mut args = vec!["eval", "--model", &model, "--data", &data, "--out", &dir, "--seq-len", seq_len];
        args.extend(["--recipe", recipe, "--no-memory", "--speed-lengths", "8,4", "--speed-repeats", "1"]);
        let _ = run(&args).succeeded();
    };
    let (first, second, third) = (fixture.path("first"), fixture.path("second"), fixture.path("third"));
    eval(&first, "f16", "32");
    eval(&second, "int8-rtn", "32");
    eval(&third, "int8-rtn", "16");
    let first_dir = text(&first);

    let _ = run(&["report", &first_dir, "--with", &text(&second)]).succeeded();
    let names = |dir: &Path| -> Vec<String> {
        let report = report(dir);
        report["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&first), ["f16", "int8-rtn"]);
    let refused = run(&["report", &first_dir, "--with", &text(&third)]);
    refused.failed_with(3, &["perplexity", "protocols differ", "--force"]);
    assert_eq!(names(&first), ["f16", "int8-rtn"], "nothing was written");
    let _ = run(&["report", &first_dir, "--with", &text(&third), "--force"]).succeeded();
    assert_eq!(names(&first), ["f16", "int8-rtn", "int8-rtn-2"]);
    let marked = report(&first)["warnings"].to_string();
    assert!(marked.contains("by force"), "{marked}");

    // The same lengths elsewhere are welcome, others are not.
    let f16 = text(&first.join("f16"));
    let measure = |lengths: &str| {
        let mut args = vec!["measure", &f16, "--json", "--target", "phone", "--no-memory"];
        args.extend(["--speed-lengths", lengths, "--speed-repeats", "1"]);
        let stdout = run(&args).succeeded().stdout;
        let path = fixture.path(&format!("phone-{}.json", lengths.replace(',', "-")));
        std::fs::write(&path, &stdout).unwrap();
        text(&path)
    };
    let (same, longer) = (measure("8,4"), measure("16,4"));
    let _ = run(&["report", &first_dir, "--merge", &same]).succeeded();
    assert_eq!(report(&first)["elsewhere"][0]["target"], "phone");
    assert!(std::fs::read_to_string(first.join("report.html")).unwrap().contains("phone"));
    run(&["report", &first_dir, "--merge", &longer]).failed_with(3, &["speed on phone", "protocols differ"]);
    let stranger = text(&fixture.path("stranger.json"));
    let mut other: Value = serde_json::from_str(&std::fs::read_to_string(&same).unwrap()).unwrap();
    other["models"][0]["name"] = "somebody".into();
    other["models"][0]["checkpoint"] = "/somewhere/somebody".into();
    std::fs::write(&stranger, other.to_string()).unwrap();
    run(&["report", &first_dir, "--merge", &stranger]).failed_with(3, &["phone", "somebody"]);
}
