//! Every technique on every family: run, written, read again and evaluated.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::{Checkpoint, CodecRegistry, StoredWeights};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;
use tenuis_tests::cli::tenuis;
use tenuis_tests::fixture::{FIXTURES, Fixture};

/// A recipe of one stage, and what has to hold of the result.
struct Case {
    name: &'static str,
    technique: &'static str,
    options: &'static str,
    /// The kinds of representation that are stored.
    kinds: &'static [&'static str],
    /// What the network is beside the original.
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Same,
    Channels,
    Heads,
    Experts,
}

const ALWAYS: [Case; 6] = [
    Case {
        name: "int8",
        technique: "rtn",
        options: "bits = 8, group_size = \"auto\"",
        kinds: &["grouped_int"],
        shape: Shape::Same,
    },
    Case {
        name: "gptq4",
        technique: "gptq",
        options: "bits = 4, group_size = \"auto\"",
        kinds: &["grouped_int"],
        shape: Shape::Same,
    },
    Case {
        name: "two-of-four",
        technique: "sparsegpt",
        options: "sparsity = \"2:4\"",
        kinds: &["sparse"],
        shape: Shape::Same,
    },
    Case {
        name: "svd",
        technique: "svd",
        options: "rank = { keep = 0.5 }",
        kinds: &["low_rank"],
        shape: Shape::Same,
    },
    Case {
        name: "channels",
        technique: "prune-channels",
        options: "ratio = 0.25, round_to = 4",
        kinds: &[],
        shape: Shape::Channels,
    },
    Case { name: "heads", technique: "prune-heads", options: "ratio = 0.5", kinds: &[], shape: Shape::Heads },
];

/// In the place of `heads` where all query heads read one key head.
const QUERIES: Case = Case {
    name: "heads",
    technique: "prune-query-heads",
    options: "ratio = 0.5",
    kinds: &[],
    shape: Shape::Heads,
};

/// Where there are experts.
const EXPERTS: Case = Case {
    name: "experts",
    technique: "prune-experts",
    options: "keep = 3",
    kinds: &[],
    shape: Shape::Experts,
};

fn cases(spec: &DecoderSpec) -> Vec<Case> {
    let one_key_head = spec.layers[0].attention.n_kv == 1;
    let mut cases: Vec<Case> =
        ALWAYS.into_iter().filter(|case| !(one_key_head && case.name == "heads")).collect();
    cases.extend(one_key_head.then_some(QUERIES));
    cases.extend(spec.layers[0].mlp.router().is_some().then_some(EXPERTS));
    cases
}

fn open(dir: &Path) -> Model {
    Model::open(Arc::new(Checkpoint::open(dir).unwrap()), &CodecRegistry::builtin()).unwrap()
}

fn check(report: &Value, original: &DecoderSpec, case: &Case, dir: &Path, name: &str) {
    let entry = report["candidates"].as_array().unwrap().iter().find(|c| c["name"] == case.name).unwrap();
    let of = |path: &str| entry.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    assert!(of("/quality/perplexity/value").is_finite() && of("/quality/kl_mean") >= 0.0, "{name}: {entry}");
    let checkpoint = Checkpoint::open(dir).unwrap();
    checkpoint.verify().unwrap();
    let stored = StoredWeights::from_checkpoint(&checkpoint).unwrap();
    let kinds: BTreeSet<String> =
        stored.descriptors().map(|(_, d)| d["kind"].as_str().unwrap().to_owned()).collect();
    assert!(
        kinds.iter().map(String::as_str).eq(case.kinds.iter().copied()),
        "{name} {}: {kinds:?}",
        case.name
    );
    let model = open(dir);
    let spec = model.spec();
    let logits = model.logits_vec(&[1, 2, 3, 4, 5, 6], 2, 3).unwrap();
    assert!(logits.iter().all(|v| v.is_finite()), "{name} {}", case.name);
    for (new, old) in spec.layers.iter().zip(&original.layers) {
        let about = format!("{name} {} layer {}", case.name, old.index);
        let (heads, channels, experts) = (
            (new.attention.n_q * 2, old.attention.n_q),
            (new.mlp.d_ff() * 4, old.mlp.d_ff() * 3),
            new.mlp.parts().len(),
        );
        match case.shape {
            Shape::Same => assert_eq!(new, old, "{about}"),
            Shape::Heads => assert_eq!(heads.0, heads.1, "{about}"),
            Shape::Channels => assert_eq!(channels.0, channels.1, "{about}"),
            Shape::Experts => assert_eq!(experts, 3, "{about}"),
        }
    }
    // Eight bits change next to nothing: whatever is different about a family, it was not lost on the way.
    if case.name == "int8" {
        assert!(of("/quality/kl_mean") < 5e-3, "{name}: {}", of("/quality/kl_mean"));
    }
}

fn run(name: &str) {
    let fixture = Fixture::new(name);
    let original = open(&fixture.model).spec().clone();
    let cases = cases(&original);
    let out = fixture.path("out");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut args = vec!["eval".to_owned(), "--speed-repeats".into(), "0".into(), "--no-memory".into()];
    for (key, path) in
        [("--model", &fixture.model), ("--data", &fixture.data), ("--calib", &fixture.calib), ("--out", &out)]
    {
        args.extend([key.to_owned(), text(path)]);
    }
    args.extend(["--seq-len".to_owned(), "32".to_owned()]);
    for case in &cases {
        let file = fixture.path(&format!("{}.toml", case.name));
        let recipe = format!(
            "name = \"{}\"\ncalibration = {{ samples = 24, seq_len = 32 }}\n[[stages]]\ntechnique = \"{}\"\noptions = {{ {} }}\n",
            case.name, case.technique, case.options
        );
        std::fs::write(&file, recipe).unwrap();
        args.extend(["--recipe".to_owned(), text(&file)]);
    }
    let _ = tenuis(&args).succeeded();
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    for case in &cases {
        check(&report, &original, case, &out.join(case.name), name);
    }
}

#[test]
fn techniques_work_on_every_family() {
    for name in FIXTURES {
        run(name);
    }
}

/// Tokens are counted for each expert: one that saw too few is rounded to nearest and named, the others are not.
#[test]
fn starved_experts_are_counted_and_named() {
    let fixture = Fixture::new("mixtral");
    let run = |name: &str, samples: usize| {
        let recipe = fixture.path(&format!("{name}.toml"));
        let text = format!(
            "name = \"{name}\"\ncalibration = {{ samples = {samples}, seq_len = 8 }}\n[[stages]]\ntechnique = \"gptq\"\n\
             options = {{ bits = 4, group_size = 32 }}\n"
        );
        std::fs::write(&recipe, text).unwrap();
        let paths =
            [&fixture.model, &recipe, &fixture.calib, &fixture.path(name)].map(|p| p.display().to_string());
        let [model, recipe, calib, out] = &paths;
        let args = ["compress", "--model", model, "--recipe", recipe, "--calib", calib, "--out", out];
        tenuis(&args).succeeded().stderr
    };
    let starved = run("starved", 1);
    for part in
        [".experts.0.w1: rounded to nearest instead of GPTQ: only", "calibration rows for 64 input features"]
    {
        assert!(starved.contains(part), "{part}: {starved}");
    }
    let fed = run("fed", 100);
    assert!(!fed.contains("rounded to nearest"), "{fed}");
}
