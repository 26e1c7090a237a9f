//! The report as Markdown.

mod planning;

use super::{Entry, Holds, Judged, Judgement, Report};
use crate::tasks::TaskScore;
use std::fmt::{self, Write};
use tenuis_measure::NoiseVerdict;

/// The columns of the summary before those of the tasks.
const FIRST_HEADINGS: [&str; 7] = ["model", "size", "ratio", "perplexity", "KL mean", "KL p99", "top-1"];
/// The columns after them.
const LAST_HEADINGS: [&str; 3] = ["prefill tok/s", "decode tok/s", "peak memory"];

impl Report {
    /// Headings and rows of the summary, the baseline first; every task has a column.
    pub fn summary(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let tasks = &self.baseline.quality.tasks;
        let text = |heading: &&str| (*heading).to_owned();
        let mut headings: Vec<String> = FIRST_HEADINGS.iter().map(text).collect();
        headings.extend(tasks.keys().cloned());
        headings.extend(LAST_HEADINGS.iter().map(text));
        let entries = std::iter::once(&self.baseline).chain(&self.candidates);
        (headings, entries.map(|entry| row(entry, tasks.keys())).collect())
    }

    /// The whole report as Markdown: summary, protocol, and what each stage did.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    /// What became of every condition, a line for each candidate.
    pub fn judgements(&self) -> Vec<String> {
        let value =
            |value: Option<f64>| value.map_or_else(|| "not measured".to_owned(), |v| format!("{v:.6}"));
        let line = |judged: &Judged, of: &Judgement| {
            let verdict = match of.verdict {
                Holds::Yes => "holds",
                Holds::No => "does NOT hold",
                Holds::Undecided => "is undecided",
            };
            let (found, limit) = (value(of.value), value(of.limit));
            format!("{}: {} {verdict} ({found}, limit {limit})", of.candidate, judged.requirement)
        };
        let of_one =
            |judged: &Judged| judged.candidates.iter().map(|of| line(judged, of)).collect::<Vec<_>>();
        self.requirements.iter().flat_map(of_one).collect()
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        let (headings, rows) = self.summary();
        writeln!(out, "# Compression report\n")?;
        writeln!(out, "| {} |", headings.join(" | "))?;
        writeln!(out, "|---|{}", "---:|".repeat(headings.len() - 1))?;
        for row in rows {
            writeln!(out, "| {} |", row.join(" | "))?;
        }
        if !self.requirements.is_empty() {
            writeln!(out, "\n## Requirements\n")?;
        }
        for line in self.judgements() {
            writeln!(out, "- {line}")?;
        }
        self.write_figures(out)?;
        planning::write(self, out)?;
        let ppl = &self.baseline.quality.perplexity;
        writeln!(out, "\n## Protocol\n")?;
        writeln!(
            out,
            "- Quality: {} windows of {} tokens out of {} (evenly spaced, not overlapping), {} predictions, `{}` \
             (blake3 `{}`). Perplexity is exp(mean NLL); KL is KL(baseline ‖ model) in nats.",
            ppl.windows, ppl.seq_len, ppl.windows_of, ppl.predictions, self.protocol.data.file, ppl.data_hash
        )?;
        for (name, task) in &self.baseline.quality.tasks {
            write_task(out, name, task)?;
        }
        if let Some(calibration) = &self.protocol.calibration {
            writeln!(
                out,
                "- Calibration: {} windows of {} tokens of `{}` (blake3 `{}`).",
                calibration.samples, calibration.seq_len, calibration.data.file, calibration.data.hash
            )?;
        }
        if let Some(speed) = &self.protocol.speed {
            writeln!(
                out,
                "- Speed: one sequence, prompt of {} tokens, {} decoding steps, {} warm-up and {} counted rounds, \
                 models in turn, {} threads, {} activations; medians.",
                speed.prompt_tokens,
                speed.decode_tokens,
                speed.warmup,
                speed.repeats,
                speed.threads,
                self.protocol.compute_dtype
            )?;
        }
        writeln!(out, "- Size: the weight files on disk, headers included. Ratio: baseline ÷ model.")?;
        writeln!(
            out,
            "- Memory: peak of a fresh process at work beyond an empty one, touched file pages included."
        )?;
        let cpu = self.machine.cpu.as_deref().unwrap_or("unknown processor");
        writeln!(out, "- Machine: {cpu}, {} threads, {}.", self.machine.threads, self.machine.platform)?;
        if let Some(NoiseVerdict::Noisy { reasons }) = self.machine.noise.as_ref().map(|noise| &noise.verdict)
        {
            let reasons = reasons.join("; ");
            writeln!(
                out,
                "\n> **The machine was not quiet while speed was measured**, so times may be off: {reasons}."
            )?;
        }
        for warning in &self.warnings {
            writeln!(out, "\n> **Note.** {warning}")?;
        }
        for candidate in &self.candidates {
            write_candidate(out, candidate)?;
        }
        Ok(())
    }
}

impl Report {
    /// What candidates gained and lost: a table of sizes, one of qualities and one of times.
    fn write_figures(&self, out: &mut String) -> fmt::Result {
        let of = || self.candidates.iter().filter_map(|entry| Some((&entry.name, entry.figures.as_ref()?)));
        if of().next().is_none() {
            return Ok(());
        }
        writeln!(out, "\n## Smaller: ratio (original ÷ compressed) and fraction (compressed ÷ original)\n")?;
        writeln!(out, "| model | quantity | original | compressed | ratio | fraction | change |")?;
        writeln!(out, "|---|---|---:|---:|---:|---:|---:|")?;
        for (model, figures) in of() {
            for (name, c) in &figures.compression {
                let (ratio, fraction) = (c.compression_ratio, percent(c.fraction));
                let (before, after, change) = (c.original, c.compressed, c.change_percent);
                writeln!(
                    out,
                    "| {model} | {name} | {before:.0} | {after:.0} | {ratio:.3}× | {fraction} | {change:+.2} % |"
                )?;
            }
        }
        writeln!(out, "\n## What is left: retention, and the difference's interval by paired bootstrap\n")?;
        writeln!(
            out,
            "| model | quality | baseline | candidate | retention | difference | 95 % interval | significant |"
        )?;
        writeln!(out, "|---|---|---:|---:|---:|---:|---:|---|")?;
        for (model, figures) in of() {
            for (name, r) in &figures.retention {
                let interval = r.difference.as_ref();
                let interval =
                    interval.map_or("–".to_owned(), |d| format!("{:+.4} to {:+.4}", d.low, d.high));
                let significant = match r.is_significant() {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "–",
                };
                let (b, c, kept, change) = (r.baseline, r.candidate, r.percent, r.candidate - r.baseline);
                writeln!(
                    out,
                    "| {model} | {name} | {b:.4} | {c:.4} | {kept:.2} % | {change:+.4} | {interval} | {significant} |"
                )?;
            }
        }
        writeln!(out, "\n## Faster: baseline time ÷ candidate time\n")?;
        writeln!(out, "| model | what | measured | theoretical | |")?;
        writeln!(out, "|---|---|---:|---:|---|")?;
        for (model, figures) in of() {
            for (name, s) in &figures.speed_up {
                let theory = s.theoretical.map_or("–".to_owned(), |theory| format!("{theory:.2}×"));
                let flag = if s.falls_short { "falls short" } else { "" };
                writeln!(out, "| {model} | {name} | {:.2}× | {theory} | {flag} |", s.measured)?;
            }
        }
        Ok(())
    }
}

fn write_task(out: &mut String, name: &str, task: &TaskScore) -> fmt::Result {
    write!(
        out,
        "- {name}: {} in % over {} items of `{}` (blake3 `{}`), {}, prompt {:?}",
        task.metric, task.items, task.data_file, task.data_hash, task.layout, task.prompt
    )?;
    if let Some(most) = task.max_new_tokens {
        write!(out, ", greedy, at most {most} new tokens")?;
    }
    if let Some(chance) = task.chance {
        write!(out, ", {} by chance", percent(chance))?;
    }
    writeln!(out, "; standard error of the baseline {}.", percent(task.standard_error))
}

fn write_candidate(out: &mut String, candidate: &Entry) -> fmt::Result {
    writeln!(out, "\n## {}\n\n`{}`", candidate.name, candidate.checkpoint)?;
    let Some(compression) = &candidate.compression else { return Ok(()) };
    writeln!(
        out,
        "\nMade in {:.1} s{}.\n",
        compression.seconds,
        if compression.reused { ", reused" } else { "" }
    )?;
    for decision in &compression.decisions {
        planning::write_decision(out, decision)?;
    }
    for stage in &compression.stages {
        writeln!(out, "- {} {}: {} weights", stage.technique, stage.version, stage.weights)?;
        if stage.calibration_rows > 0 {
            writeln!(out, "  - {} calibration rows", stage.calibration_rows)?;
        }
        for name in &stage.skipped {
            writeln!(out, "  - skipped `{name}`")?;
        }
        for warning in &stage.warnings {
            writeln!(out, "  - warning: {warning}")?;
        }
    }
    Ok(())
}

fn row<'a>(entry: &Entry, tasks: impl Iterator<Item = &'a String>) -> Vec<String> {
    let quality = &entry.quality;
    let missing = || "–".to_owned();
    let mut row = vec![
        entry.name.clone(),
        bytes(entry.size.bytes),
        format!("{:.2}×", entry.size.compression_ratio),
        format!("{:.4}", quality.perplexity.value),
        format!("{:.5}", quality.kl_mean),
        format!("{:.4}", quality.kl_p99),
        percent(quality.top1_agreement),
    ];
    row.extend(tasks.map(|name| quality.tasks.get(name).map_or_else(missing, |task| percent(task.value))));
    row.extend([
        entry.speed.as_ref().map_or_else(missing, |s| format!("{:.0}", s.prefill_tokens_per_s)),
        entry.speed.as_ref().map_or_else(missing, |s| format!("{:.0}", s.decode_tokens_per_s)),
        entry.memory.as_ref().map_or_else(missing, |m| bytes(m.peak_bytes)),
    ]);
    row
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Bytes in the largest binary unit that leaves a whole part.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2} TiB")
}
