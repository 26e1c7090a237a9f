//! `tenuis runs`.

use super::print;
use crate::args::{RunsAction, RunsArgs};
use crate::exit::{Code, Failure};
use comfy_table::{Table, presets};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use tenuis_eval::report::bytes;
use tenuis_orchestrator::plan::ledger::{Entry, Event, Ledger, RunSummary, summaries, write_csv};
use tenuis_orchestrator::{LEDGER_FILE, STAGES, StageStore};

pub(crate) fn run(args: &RunsArgs) -> Result<(), Failure> {
    match &args.action {
        RunsAction::List { dir } => list(dir),
        RunsAction::Show { run, dir } => show(run, dir),
        RunsAction::Compare { a, b, dir } => compare(a, b, dir),
        RunsAction::Export { dir, out } => export(dir, out.as_deref()),
        RunsAction::Gc { dir, limit, dry_run } => gc(dir, *limit, *dry_run),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn read(dir: &Path) -> Result<Vec<Entry>, Failure> {
    let path = dir.join(LEDGER_FILE);
    if !path.exists() {
        return Err(Failure::input(
            &path,
            "there is no ledger here; give the --out directory of `tenuis eval`",
        ));
    }
    Ok(Ledger::new(path).read().map_err(|e| Failure::new(Code::Input, e))?.entries)
}

/// A run by its name, of `dir` or of the directory before a `#`.
fn find(name: &str, dir: &Path) -> Result<(RunSummary, Vec<Entry>), Failure> {
    let (dir, name) = name.rsplit_once('#').map_or((dir, name), |(dir, name)| (Path::new(dir), name));
    let entries = read(dir)?;
    let all = summaries(&entries);
    let Some(found) = all.iter().find(|summary| summary.run == name) else {
        let known: Vec<&str> = all.iter().map(|summary| summary.run.as_str()).collect();
        let message = format!("{}: has no run {name:?}; there are {}", dir.display(), known.join(", "));
        return Err(Failure::new(Code::Input, message));
    };
    let entries = entries.into_iter().filter(|entry| entry.run == name).collect();
    Ok((found.clone(), entries))
}

fn list(dir: &Path) -> Result<(), Failure> {
    let mut table = table(&["run", "began", "state", "seconds", "stages run", "reused", "model", "what"]);
    for run in summaries(&read(dir)?) {
        let detail = |key: &str| run.details.get(key).cloned().unwrap_or_default();
        let what = match (detail("scenario"), detail("recipes")) {
            (scenario, recipes) if scenario.is_empty() => recipes,
            (scenario, _) => format!("search for {scenario}"),
        };
        table.add_row([
            run.run.clone(),
            time(run.began_ms),
            run.state.to_owned(),
            format!("{:.1}", run.seconds),
            run.stages_run.to_string(),
            run.stages_reused.to_string(),
            detail("model"),
            what,
        ]);
    }
    print(&format!("{table}\n"))
}

fn show(name: &str, dir: &Path) -> Result<(), Failure> {
    let (run, entries) = find(name, dir)?;
    let mut text =
        format!("{}: {} after {:.1} s, began {}\n", run.run, run.state, run.seconds, time(run.began_ms));
    // Writing to a string cannot fail.
    for (key, value) in &run.details {
        let _ = writeln!(text, "  {key}: {value}");
    }
    let mut stages = table(&["seconds in", "stage", "state", "key"]);
    let mut gates = table(&["stage", "rung", "decision", "why"]);
    let mut decided = false;
    for entry in &entries {
        match &entry.event {
            Event::Stage { stage, status, details } => {
                let key = details.get("key").or_else(|| details.get("error"));
                let key = key.map(|key| key.chars().take(60).collect::<String>()).unwrap_or_default();
                let seconds = (entry.unix_ms.saturating_sub(run.began_ms)) as f64 / 1e3;
                stages.add_row([format!("{seconds:.1}"), stage.clone(), status.name().to_owned(), key]);
            }
            Event::Gate(decision) => {
                decided = true;
                gates.add_row([
                    decision.attempt.stage.clone(),
                    decision.attempt.rung.clone(),
                    decision.action.name().to_owned(),
                    decision.reason.clone(),
                ]);
            }
            _ => {}
        }
    }
    let _ = writeln!(text, "\n{stages}");
    if decided {
        let _ = writeln!(text, "\n{gates}");
    }
    let figures = figures(&entries);
    if !figures.is_empty() {
        let mut shown = table(&["of", "figure", "value"]);
        for ((of, figure), value) in &figures {
            shown.add_row([of.clone(), figure.clone(), value.to_string()]);
        }
        let _ = writeln!(text, "\n{shown}");
    }
    print(&text)
}

/// The last value of every figure of a run.
fn figures(entries: &[Entry]) -> BTreeMap<(String, String), f64> {
    let metric = |entry: &Entry| match &entry.event {
        Event::Metric { stage, figure, value, .. } => Some(((stage.clone(), figure.clone()), *value)),
        _ => None,
    };
    entries.iter().filter_map(metric).collect()
}

fn compare(a: &str, b: &str, dir: &Path) -> Result<(), Failure> {
    let (first, second) = (find(a, dir)?, find(b, dir)?);
    let (a_figures, b_figures) = (figures(&first.1), figures(&second.1));
    let all: BTreeSet<&(String, String)> = a_figures.keys().chain(b_figures.keys()).collect();
    let mut shown = table(&["of", "figure", a, b, "change"]);
    let value = |value: Option<&f64>| value.map_or_else(|| "–".to_owned(), ToString::to_string);
    for key in all {
        let (x, y) = (a_figures.get(key), b_figures.get(key));
        let change = match (x, y) {
            (Some(x), Some(y)) if *x != 0.0 => format!("{:+.2} %", 100.0 * (y - x) / x.abs()),
            _ => String::new(),
        };
        shown.add_row([key.0.clone(), key.1.clone(), value(x), value(y), change]);
    }
    let state = |run: &RunSummary| format!("{}: {} after {:.1} s", run.run, run.state, run.seconds);
    print(&format!("{}\n{}\n{shown}\n", state(&first.0), state(&second.0)))
}

fn export(dir: &Path, out: Option<&Path>) -> Result<(), Failure> {
    let entries = read(dir)?;
    let mut csv = Vec::new();
    write_csv(&entries, &mut csv).map_err(|e| Failure::new(Code::Internal, e))?;
    let Some(out) = out else { return print(&String::from_utf8_lossy(&csv)) };
    File::create(out)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &csv))
        .map_err(|e| Failure::output(out, e))?;
    print(&format!("{}: {} entries\n", out.display(), entries.len()))
}

fn gc(dir: &Path, limit: f64, dry_run: bool) -> Result<(), Failure> {
    let store = StageStore::at(dir.join(STAGES));
    let limit = (limit.max(0.0) * 1e9) as u64;
    if dry_run {
        let mut shown = table(&["kept for later runs", "bytes", "unfinished"]);
        for entry in store.entries()? {
            let unfinished = if entry.unfinished { "yes" } else { "" };
            shown.add_row([entry.dir.display().to_string(), bytes(entry.bytes), unfinished.to_owned()]);
        }
        return print(&format!("{shown}\nwhat was used longest ago stands first; nothing was removed\n"));
    }
    let _lock = tenuis_orchestrator::OutputLock::take(dir)?;
    let collected = store.collect(limit, &BTreeSet::new())?;
    print(&format!(
        "removed {} outputs of stages, {}; {} are left\n",
        collected.removed,
        bytes(collected.freed),
        bytes(collected.left)
    ))
}

/// A time as people read it, in UTC.
fn time(unix_ms: u64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms as i64)
        .map_or_else(|_| unix_ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
