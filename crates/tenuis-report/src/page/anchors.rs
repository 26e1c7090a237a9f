//! What papers report for the techniques of a report, beside what was measured here.

use crate::compare::{Facts, stages};
use crate::data::Report;
use crate::format::change;
use crate::verdict::recipe_bits;
use serde::Serialize;
use tenuis_metrics::change_percent;

/// A published result.
struct Anchor {
    technique: &'static str,
    setting: &'static str,
    model: &'static str,
    protocol: &'static str,
    dense: f64,
    compressed: f64,
    source: &'static str,
}

const FRANTAR: &str = "Frantar et al. 2022, arXiv:2210.17323";
const LIN: &str = "Lin et al. 2023, arXiv:2306.00978";
const SUN: &str = "Sun et al. 2023, arXiv:2306.11695";
const WANG: &str = "Wang et al. 2024, arXiv:2403.07378";
const SREENIVAS: &str = "Sreenivas et al. 2024, arXiv:2408.11796";
const AT_2048: &str = "WikiText-2 perplexity, 2048 tokens";
const AT_4096: &str = "WikiText-2 perplexity, 4096 tokens";

#[rustfmt::skip]
const ANCHORS: [Anchor; 11] = [
    Anchor { technique: "rtn", setting: "4 bits per row", model: "LLaMA-7B", protocol: AT_2048, dense: 5.68, compressed: 6.29, source: FRANTAR },
    Anchor { technique: "rtn", setting: "4 bits, groups of 128", model: "Llama-2-7B", protocol: AT_2048, dense: 5.47, compressed: 5.73, source: LIN },
    Anchor { technique: "gptq", setting: "4 bits per row", model: "LLaMA-7B", protocol: AT_2048, dense: 5.68, compressed: 6.09, source: FRANTAR },
    Anchor { technique: "gptq", setting: "3 bits, groups of 128", model: "LLaMA-7B", protocol: AT_2048, dense: 5.68, compressed: 6.61, source: FRANTAR },
    Anchor { technique: "awq", setting: "4 bits, groups of 128", model: "Llama-2-7B", protocol: AT_2048, dense: 5.47, compressed: 5.60, source: LIN },
    Anchor { technique: "sparsegpt", setting: "50 %", model: "Llama-2-7B", protocol: AT_4096, dense: 5.12, compressed: 6.51, source: SUN },
    Anchor { technique: "sparsegpt", setting: "2:4", model: "Llama-2-7B", protocol: AT_4096, dense: 5.12, compressed: 10.17, source: SUN },
    Anchor { technique: "wanda", setting: "50 %", model: "Llama-2-7B", protocol: AT_4096, dense: 5.12, compressed: 6.42, source: SUN },
    Anchor { technique: "wanda", setting: "2:4", model: "Llama-2-7B", protocol: AT_4096, dense: 5.12, compressed: 11.02, source: SUN },
    Anchor { technique: "svdllm", setting: "20 % fewer weights", model: "LLaMA-7B", protocol: AT_2048, dense: 5.68, compressed: 7.94, source: WANG },
    Anchor { technique: "prune-channels", setting: "8B to 4B in width, then distilled", model: "Llama-3.1-8B", protocol: "MMLU in %, higher is better", dense: 65.3, compressed: 60.5, source: SREENIVAS },
];

/// A published result with ours beside it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    technique: &'static str,
    setting: &'static str,
    model: &'static str,
    protocol: &'static str,
    values: String,
    change: String,
    source: &'static str,
    ours: Vec<String>,
}

/// The published results of techniques that some candidate uses.
pub(super) fn rows(report: &Report, facts: &[Facts]) -> Vec<Row> {
    let rows = ANCHORS.iter().map(|anchor| {
        let uses = |(candidate, facts)| ours(anchor.technique, candidate, facts);
        Row {
            technique: anchor.technique,
            setting: anchor.setting,
            model: anchor.model,
            protocol: anchor.protocol,
            values: format!("{:.2} → {:.2}", anchor.dense, anchor.compressed),
            change: change_percent(anchor.dense, anchor.compressed).map_or(String::new(), change),
            source: anchor.source,
            ours: report.candidates.iter().zip(facts).filter_map(uses).collect(),
        }
    });
    rows.filter(|row| !row.ours.is_empty()).collect()
}

/// A candidate's change of perplexity where it uses a technique.
fn ours(technique: &str, candidate: &crate::data::Entry, facts: &Facts) -> Option<String> {
    stages(candidate).iter().find(|stage| stage.technique == technique)?;
    let bits = recipe_bits(candidate).map_or(String::new(), |bits| format!(" ({bits} bits)"));
    let moved = facts.perplexity_change.map_or_else(|| "perplexity not measured".to_owned(), change);
    Some(format!("{}{bits}: {moved}", candidate.name))
}
