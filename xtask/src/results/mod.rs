//! `cargo xtask results`: measures every technique and writes the tables of `docs/results.md`.

mod methods;

use crate::artifacts::{self, Artifacts, Scope};
use crate::error::Error;
use crate::files::create_dir;
use crate::say;
use crate::tests_and_benches::shared;
use crate::workspace::Workspace;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use methods::Method;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// Tokens that quality is measured on, in windows of [`WINDOW`], where the model is not the demonstration.
const TOKENS: &str = "25600";
/// Tokens of a window there.
const WINDOW: &str = "128";

const INTRODUCTION: &str = "\
# What each technique costs and brings

Made by one command, on the machine and with the protocol that stand under each table:

```sh
cargo xtask results
```

Recipes and reports stay in the directory that it names. *Size* is the weight files on disk, *ratio* the model's size through the
candidate's. *KL* is the mean divergence KL(model ‖ candidate) in nats per token and *top-1* how often both expect the same
token; perplexity alone hides damage. Speeds are medians of a few rounds on a small model, where a token's work is little beside
what it costs to come to it: they say that a form can be computed on, and little about models of billions of parameters. Where
the same weights stand at very different speeds, something else ran beside the measurement.

What to expect: GPTQ and AWQ below rounding to nearest; SparseGPT at most Wanda, and Wanda below magnitude; SVD-LLM far below SVD, and
its budget over all layers below the same rank in each. At two bits GPTQ may be worse than rounding: a symmetric grid has four
steps that span the largest weight, so that most weights round to zero and what they lose is passed on to weights that cannot take it. AWQ
searches for a clipped grid and is far better there. Where a method that looks at activations gains nothing, the model is small: its
channels differ little. A student that has seen 200 steps has learned its teacher's usual answers first; tasks show what is missing.
";

/// A model that is measured.
struct Subject {
    /// The heading of its tables.
    title: &'static str,
    /// The directory of its results.
    name: &'static str,
    /// What `tenuis eval` is told beside recipes and output.
    args: Vec<String>,
    /// Whether only [`Method::brief`] rows are measured.
    brief: bool,
}

/// Measures and writes. Candidates that an earlier run finished are not made again.
///
/// # Errors
/// [`Error::Program`] where an evaluation fails, [`Error::File`].
pub(crate) fn write(work: Option<Utf8PathBuf>, only: Option<&str>) -> Result<(), Error> {
    let workspace = Workspace::members_only()?;
    let work = work.unwrap_or_else(|| workspace.release_dir().join("results"));
    let subjects = subjects(shared(&workspace).as_deref());
    for subject in &subjects {
        write_recipes(subject, &work.join(subject.name))?;
    }
    let artifacts = artifacts::build(&workspace, Scope::Product)?;
    let mut text = INTRODUCTION.to_owned();
    for subject in subjects {
        let dir = work.join(subject.name);
        if only.is_none_or(|only| only == subject.name) {
            measure(&artifacts, &subject, &dir)?;
        }
        // What was measured before and not this time stays in the document.
        if dir.join("report.json").exists() {
            section(&mut text, &subject, &dir)?;
        }
    }
    let path = workspace.root().join("docs/results.md");
    fs::write(&path, text).map_err(Error::file("writing", path.as_path()))?;
    say(&format!("{path}: written; recipes, candidates and reports are in {work}"));
    Ok(())
}

fn subjects(shared: Option<&Utf8Path>) -> Vec<Subject> {
    let mut subjects =
        vec![Subject { title: "The demonstration model", name: "demo", args: Vec::new(), brief: false }];
    for (title, name) in [("tiny1m", "tiny1m"), ("stories260k", "stories260k")] {
        let Some(shared) = shared else { continue };
        let path = |inner: &str| shared.join(inner).into_string();
        let args = [
            ["--model".to_owned(), path(&format!("models/{name}"))],
            ["--data".to_owned(), path("data/tinystories_val.txt")],
            ["--calib".to_owned(), path("data/tinystories_train_head.txt")],
            ["--seq-len".to_owned(), WINDOW.to_owned()],
            ["--max-tokens".to_owned(), TOKENS.to_owned()],
        ];
        subjects.push(Subject { title, name, args: args.concat(), brief: true });
    }
    subjects
}

fn chosen(subject: &Subject) -> Vec<Method> {
    methods::all().into_iter().filter(|method| method.brief || !subject.brief).collect()
}

fn recipe(dir: &Utf8Path, method: &Method) -> Utf8PathBuf {
    dir.join("recipes").join(format!("{}.toml", method.name))
}

fn write_recipes(subject: &Subject, dir: &Utf8Path) -> Result<(), Error> {
    create_dir(&dir.join("recipes"))?;
    for method in chosen(subject) {
        let path = recipe(dir, &method);
        fs::write(&path, method.recipe()).map_err(Error::file("writing", path.as_path()))?;
    }
    Ok(())
}

fn measure(artifacts: &Artifacts, subject: &Subject, dir: &Utf8Path) -> Result<(), Error> {
    let mut command = Command::new(&artifacts.program);
    command.arg("eval").args(&subject.args).args(["--out", dir.as_str(), "--no-memory"]);
    for method in chosen(subject) {
        command.args(["--recipe", recipe(dir, &method).as_str()]);
    }
    let start = |source| Error::Start { program: "tenuis".into(), source };
    let status = command.status().map_err(start)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Program { program: "tenuis eval", status: status.to_string() })
    }
}

fn section(out: &mut String, subject: &Subject, dir: &Utf8Path) -> Result<(), Error> {
    let path = dir.join("report.json");
    let report = fs::read_to_string(&path).map_err(Error::file("reading", path.as_path()))?;
    let report: Value =
        serde_json::from_str(&report).map_err(std::io::Error::from).map_err(Error::file("reading", path))?;
    let methods = chosen(subject);
    // Writing to a string cannot fail.
    let _ = write!(out, "\n## {}\n", subject.title);
    let mut families: Vec<&str> = methods.iter().map(|method| method.family).collect();
    families.dedup();
    for family in families {
        let _ = write!(out, "\n### {family}\n\n");
        let rows = methods.iter().filter(|method| method.family == family);
        table(out, &report, rows);
    }
    protocol(out, &report);
    Ok(())
}

fn table<'a>(out: &mut String, report: &Value, methods: impl Iterator<Item = &'a Method>) {
    let tasks: Vec<&String> = report["baseline"]["quality"]["tasks"]
        .as_object()
        .into_iter()
        .flat_map(|tasks| tasks.keys())
        .collect();
    let mut heading = "| recipe | size | ratio | perplexity | KL | top-1 |".to_owned();
    for task in &tasks {
        let _ = write!(heading, " {task} |");
    }
    let _ = writeln!(out, "{heading} prefill tok/s | decode tok/s |");
    let _ = writeln!(out, "|---|{}", "---:|".repeat(7 + tasks.len()));
    row(out, &report["baseline"], "the model", &tasks);
    for method in methods {
        let candidates = report["candidates"].as_array().into_iter().flatten();
        if let Some(entry) = candidates.into_iter().find(|entry| entry["name"] == *method.name) {
            row(out, entry, &method.name, &tasks);
        }
    }
}

fn row(out: &mut String, entry: &Value, name: &str, tasks: &[&String]) {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let (size, quality, speed) = (&entry["size"], &entry["quality"], &entry["speed"]);
    let _ = write!(
        out,
        "| {name} | {:.0} KiB | {:.2}× | {:.3} | {:.4} | {:.1} % |",
        number(&size["bytes"]) / 1024.0,
        number(&size["compression_ratio"]),
        number(&quality["perplexity"]["value"]),
        number(&quality["kl_mean"]),
        100.0 * number(&quality["top1_agreement"]),
    );
    for task in tasks {
        let _ = write!(out, " {:.1} % |", 100.0 * number(&quality["tasks"][task.as_str()]["value"]));
    }
    let rate = |key: &str| speed[key].as_f64().map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"));
    let _ = writeln!(out, " {} | {} |", rate("prefill_tokens_per_s"), rate("decode_tokens_per_s"));
}

fn protocol(out: &mut String, report: &Value) {
    let (perplexity, machine) = (&report["baseline"]["quality"]["perplexity"], &report["machine"]);
    let _ = write!(
        out,
        "\n{} of {} windows of {} tokens",
        perplexity["windows"], perplexity["windows_of"], perplexity["seq_len"]
    );
    if let Some(samples) = report["protocol"]["calibration"]["samples"].as_u64() {
        let _ = write!(
            out,
            "; calibrated on {samples} windows of {}",
            report["protocol"]["calibration"]["seq_len"]
        );
    }
    let _ = writeln!(
        out,
        " of another text; {}, {} threads.",
        machine["cpu"].as_str().unwrap_or("an unknown processor"),
        machine["threads"]
    );
}
