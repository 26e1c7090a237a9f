//! `tenuis eval`.

use super::{compress_options, print};
use crate::args::EvalArgs;
use crate::exit::Failure;
use crate::plugin_dirs;
use crate::progress::Terminal;
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tenuis_eval::memory::Probe;
use tenuis_eval::report::Report;
use tenuis_orchestrator::{
    EvalRequest, LoadedRecipe, MemoryProbe, Observer, builtin_recipes, evaluate, write_report,
};

pub(crate) fn run(args: EvalArgs) -> Result<(), Failure> {
    let missing = |flag: &str, what: &str| {
        Failure::usage(format!(
            "eval needs {flag}: {what}; for example `tenuis eval --model DIR --data val.txt --calib train.txt`"
        ))
    };
    let model = args.model.ok_or_else(|| {
        missing("--model DIR", "a directory with config.json, *.safetensors and tokenizer.json")
    })?;
    let data = args.data.ok_or_else(|| missing("--data FILE.txt", "the text to measure perplexity on"))?;
    let recipes = if args.recipes.is_empty() {
        builtin_recipes()?
    } else {
        args.recipes.iter().map(|p| LoadedRecipe::open(p)).collect::<Result<_, _>>()?
    };
    let (plugins, codecs) = plugin_dirs::load(&args.work.plugins)?;
    let memory = if args.no_memory {
        None
    } else {
        Some(memory_probe(&plugin_dirs::directories(&args.work.plugins))?)
    };
    let request = EvalRequest {
        model,
        recipes,
        data,
        tasks: args.tasks,
        calibration: args.calib,
        out: args.out.clone(),
        seq_len: args.seq_len,
        max_tokens: args.max_tokens,
        speed_repeats: Some(args.speed_repeats).filter(|&n| n > 0),
        memory,
        compress: compress_options(&args.work),
    };
    std::fs::create_dir_all(&args.out).map_err(|e| Failure::output(&args.out, e))?;
    let observer: Arc<dyn Observer> = Arc::new(Terminal::new());
    let report = evaluate(&request, &plugins, &codecs, &observer)?;
    write_report(&report, &args.out)?;
    print(&format!("{}\n\n{}", table(&report), footer(&report, &args.out)))
}

/// How this very program measures memory in a child of itself.
fn memory_probe(plugin_dirs: &[PathBuf]) -> Result<MemoryProbe, Failure> {
    let program = std::env::current_exe().map_err(|e| {
        Failure::usage(format!("cannot find this program's own path ({e}); pass --no-memory"))
    })?;
    let mut empty = vec!["probe-memory".into()];
    for dir in plugin_dirs {
        empty.extend(["--plugin-dir".into(), dir.clone().into_os_string()]);
    }
    Ok(MemoryProbe { probe: Probe { program, empty: empty.clone() }, prefix: empty })
}

fn table(report: &Report) -> Table {
    let (headings, rows) = report.summary();
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(headings).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn footer(report: &Report, out: &std::path::Path) -> String {
    let ppl = &report.baseline.quality.perplexity;
    let mut text = format!(
        "perplexity: {} of {} windows of {} tokens, {}\n",
        ppl.windows, ppl.windows_of, ppl.seq_len, report.protocol.data.file
    );
    // Writing to a string cannot fail.
    for warning in &report.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    let _ = writeln!(text, "report: {} and report.md", out.join("report.json").display());
    text
}
