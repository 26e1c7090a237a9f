//! `tenuis allocate`.

use super::{open, print};
use crate::args::AllocateArgs;
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use crate::progress::Terminal;
use comfy_table::{CellAlignment, Table, presets};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenuis_model::Tokenizer;
use tenuis_orchestrator::allocate::{AllocateRequest, Limit, Menu, Record, Resource, Scores};
use tenuis_orchestrator::{CompressOptions, RunError, Text, Workshop};

pub(crate) fn run(args: &AllocateArgs) -> Result<(), Failure> {
    let request = request(args)?;
    let (plugins, codecs) = plugin_dirs::load(&args.plugins)?;
    let model = open(&args.model, &codecs)?;
    let tokenizer = Tokenizer::from_checkpoint(model.checkpoint(), model.spec().vocab)?;
    let text = Text::open(&args.calib, &tokenizer)?;
    if let Some(parent) = args.out.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|e| Failure::output(parent, e))?;
    }
    let observer = Arc::new(Terminal::new());
    let options = CompressOptions::default();
    let workshop = Workshop::new(&plugins, &codecs, observer, options);
    let made = workshop.allocate(&model, &text, &request)?;
    let record = serde_json::to_string_pretty(&made.record).map_err(|e| Failure::new(Code::Internal, e))?;
    put(&args.out.with_extension("json"), &record)?;
    put(&args.out, &made.text)?;
    print(&shown(&made.record, &args.out))
}

fn request(args: &AllocateArgs) -> Result<AllocateRequest, Failure> {
    let name = args.out.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut request = AllocateRequest::new(&name, beside(&args.out));
    let budgets =
        [(Resource::Bytes, &args.bytes), (Resource::Flops, &args.flops), (Resource::Latency, &args.latency)];
    for (resource, text) in budgets {
        if let Some(text) = text {
            request.budgets.push((resource, text.parse::<Limit>().map_err(RunError::from)?));
        }
    }
    request.menu = args.menu.as_deref().map(Menu::open).transpose()?;
    request.calibration.samples = args.samples;
    request.calibration.seq_len = args.seq_len;
    request.seed = args.seed;
    request.scores = match args.scores.as_str() {
        "reference" => Scores::Reference,
        "error" => Scores::Error,
        _ => Scores::Every,
    };
    request.rounds = args.rounds;
    request.score_tokens = args.score_tokens;
    request.max_candidate_bytes = args.candidate_mb.saturating_mul(1_000_000);
    Ok(request)
}

/// A hidden place beside the recipe.
fn beside(out: &Path) -> PathBuf {
    let name = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    out.with_file_name(format!(".{name}.allocate"))
}

/// Writes a file whole or not at all.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    let staged = path.with_extension("tmp");
    std::fs::write(&staged, text)
        .and_then(|()| std::fs::rename(&staged, path))
        .map_err(|e| Failure::output(path, e))
}

fn shown(record: &Record, out: &Path) -> String {
    let mut chosen: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
    for linear in &record.linears {
        let name = linear.chosen.as_deref().unwrap_or("left out");
        let entry = chosen.entry(name).or_default();
        entry.0 += 1;
        entry.1 += linear.shape.iter().map(|&d| d as u64).product::<u64>();
        entry.2 += linear.tried.iter().find(|tried| tried.choice == name).map_or(0, |tried| tried.bytes);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["choice", "Linears", "weights", "bytes"]);
    for (name, (count, weights, bytes)) in chosen {
        table.add_row([name.to_owned(), count.to_string(), weights.to_string(), bytes.to_string()]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    // Writing to a string cannot fail.
    for budget in &record.budgets {
        let (name, used, limit) = (budget.resource.name(), budget.used, budget.limit);
        // Bytes and operations are whole numbers.
        let digits = if budget.resource == Resource::Latency { 6 } else { 0 };
        let fixed = budget.fixed;
        let _ = writeln!(
            text,
            "{name}: {used:.digits$} of {limit:.digits$}, {fixed:.digits$} untouched by any choice"
        );
    }
    if let Some(divergence) = record.divergence {
        let _ =
            writeln!(text, "KL on {} tokens of the calibration text: {divergence:.4}", record.score_tokens);
        let fits = record.uniform.iter().filter(|uniform| uniform.fits);
        if let Some(best) = fits.min_by(|a, b| a.divergence.total_cmp(&b.divergence)) {
            let _ = writeln!(
                text,
                "best single choice within the budgets: {}, {:.4}",
                best.name, best.divergence
            );
        }
    }
    let _ = writeln!(
        text,
        "{}: the recipe; {}: what was tried",
        out.display(),
        out.with_extension("json").display()
    );
    text
}
