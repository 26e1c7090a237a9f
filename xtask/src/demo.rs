//! `cargo xtask train-demo`: makes the demonstration model that ships with the program.

use crate::artifacts::{self, Scope};
use crate::error::Error;
use crate::files::{create_dir, replace};
use crate::workspace::Workspace;
use crate::world;
use crate::{curve, say};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use std::fs;
use std::process::Command;

/// Bytes of each training text.
const TEXT_BYTES: u64 = 32_000_000;
/// Bytes of the training text that ship, for calibration and for distilling students.
const SHIPPED_BYTES: usize = 1_000_000;
/// The step of its schedule at which each lesson ends, if before the end, and the type in which its weights are kept.
const ENDS: [(Option<u32>, &str); 4] =
    [(Some(2505), "f32"), (Some(2114), "f32"), (None, "bf16"), (None, "bf16")];
/// What ships beside the model.
const EVALUATION: [&str; 4] = ["text.txt", "facts.jsonl", "problems.jsonl", "cloze.jsonl"];

/// Writes the world, trains in four lessons and puts the result into `assets/demo`.
///
/// A run that was interrupted goes on where it was when it is started again; `work` keeps its state.
///
/// # Errors
/// [`Error::Program`] where a run fails, [`Error::File`].
pub(crate) fn train(work: Option<Utf8PathBuf>) -> Result<(), Error> {
    let workspace = Workspace::members_only()?;
    let artifacts = artifacts::build(&workspace, Scope::Product)?;
    let work = work.unwrap_or_else(|| workspace.release_dir().join("demo"));
    let assets = workspace.root().join("assets/demo");
    let settings = assets.join("training");
    create_dir(&work)?;
    if !work.join(world::LESSONS[3].file).exists() {
        say("writing the world's texts");
        world::write(&work, TEXT_BYTES)?;
    }
    let model = |number: usize| work.join(format!("model-{number}"));
    for (number, (ends, dtype)) in (1..).zip(ENDS) {
        if model(number).exists() {
            continue;
        }
        let mut command = Command::new(&artifacts.program);
        command.arg("train").args(["--text", work.join(world::LESSONS[number - 1].file).as_str()]);
        command.args(["--valid", work.join("text.txt").as_str(), "--out", model(number).as_str()]);
        command.args(["--settings", settings.join(format!("lesson-{number}.toml")).as_str()]);
        match number {
            1 => command.args(["--config", settings.join("config.json").as_str()]),
            _ => command.args(["--model", model(number - 1).as_str()]),
        };
        command.args(["--dtype", dtype]);
        if let Some(step) = ends {
            command.args(["--stop-after", &step.to_string()]);
        }
        run(&mut command)?;
    }
    let last = model(ENDS.len());
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "tenuis-manifest.json",
    ] {
        replace(&last.join(file), &assets.join(file))?;
    }
    for file in EVALUATION {
        replace(&work.join(file), &assets.join(file))?;
    }
    ship_text(&work.join(world::LESSONS[3].file), &assets.join("train.txt"))?;
    let mut runs = Vec::new();
    for number in 1..=ENDS.len() {
        let log = work.join(format!("model-{number}.train/metrics.jsonl"));
        curve::thin(&log, &settings.join(format!("lesson-{number}.jsonl")))?;
        runs.push((log, tokens_per_step(&settings.join(format!("lesson-{number}.toml")))?));
    }
    curve::draw(&runs, &settings.join("curve.svg"))?;
    say(&format!("{assets}: the demonstration model, its texts and tasks"));
    Ok(())
}

fn run(command: &mut Command) -> Result<(), Error> {
    let start = |source| Error::Start { program: "tenuis".into(), source };
    let status = command.status().map_err(start)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Program { program: "tenuis train", status: status.to_string() })
    }
}

fn tokens_per_step(settings: &Utf8Path) -> Result<u64, Error> {
    let text = fs::read_to_string(settings).map_err(Error::file("reading", settings))?;
    let table: toml::Table =
        text.parse().map_err(std::io::Error::other).map_err(Error::file("reading", settings))?;
    let number = |key: &str| table.get(key).and_then(toml::Value::as_integer).unwrap_or(1).unsigned_abs();
    Ok(number("batch_size") * number("seq_len"))
}

/// The whole documents at the beginning of a text.
fn ship_text(from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
    let text = fs::read_to_string(from).map_err(Error::file("reading", from))?;
    let end = text[..SHIPPED_BYTES.min(text.len())].rfind(world::END_OF_TEXT).unwrap_or(text.len());
    fs::write(to, &text[..end]).map_err(Error::file("writing", to))
}
