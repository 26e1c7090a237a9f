//! What a scenario asks about a candidate: measured where it can be repeated, predicted where it takes a clock.

use std::collections::BTreeSet;
use tenuis_eval::memory::kv_cache_bytes;
use tenuis_eval::report::{Entry, Needs, Requirement, figure};
use tenuis_model::Model;
use tenuis_plan::scenario::{Candidate, LOSS, Scenario};

/// The figures that a scenario names, its loss aside.
pub(super) fn named(scenario: &Scenario) -> BTreeSet<&str> {
    let terms = scenario.terms.iter().map(|term| term.figure.as_str());
    let constraints = scenario.constraints.iter().map(|constraint| constraint.figure.as_str());
    terms.chain(constraints).filter(|figure| *figure != LOSS).collect()
}

/// What has to be measured of a trial: tasks where the scenario asks for them, and nothing that takes a clock.
pub(super) fn needs(scenario: &Scenario) -> Needs {
    let requirement = |figure: &str| format!("{figure} <= 0").parse::<Requirement>().ok();
    let needs = named(scenario).into_iter().filter_map(requirement).map(|r| r.needs());
    Needs { tasks: needs.into_iter().any(|needs| needs.tasks), ..Needs::default() }
}

/// A candidate as it was measured. What is kept of its quality is what is kept of the perplexity, and the bound is that of
/// the paired bootstrap.
pub(super) fn measured(scenario: &Scenario, entry: &Entry) -> Candidate {
    let mut candidate = kept(entry);
    for name in named(scenario) {
        if let Some(value) = figure(entry, name) {
            candidate = candidate.with(name, value);
        }
    }
    candidate
}

/// A candidate of a search, of which what takes a clock or a process of its own is predicted from bytes and operations, so
/// that the same search finds the same trials whatever the machine is doing.
pub(super) fn predicted(scenario: &Scenario, entry: &Entry, model: &Model) -> Candidate {
    let mut candidate = kept(entry);
    for name in named(scenario) {
        let value = proxy(scenario, name, entry, model).or_else(|| figure(entry, name));
        if let Some(value) = value {
            candidate = candidate.with(name, value);
        }
    }
    candidate
}

/// The scenario without limits that a prediction says nothing about: those in units of their own on what is predicted.
pub(super) fn predictable(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.constraints.retain(|constraint| !(constraint.absolute && is_proxied(&constraint.figure)));
    scenario
}

fn is_proxied(name: &str) -> bool {
    let requirement: Option<Requirement> = format!("{name} <= 0").parse().ok();
    requirement.is_some_and(|requirement| {
        let needs = requirement.needs();
        needs.speed || needs.memory || name == "cold_start_ms"
    })
}

/// Seconds of a byte that decoding reads, and of a weight that it computes with, on a machine of no particular make: 10 GB/s,
/// and 10 billion multiplications a second. Of a sparse form every position of the mask is looked at, which takes some three
/// times as long (`cargo bench -p tenuis-kernels`).
const DECODE_COST: (f64, f64, f64) = (1e-10, 1e-10, 3e-10);

/// The time of a decoded token in the Linears, predicted from the forms of their weights.
fn decode_seconds(model: &Model) -> Option<f64> {
    let (byte, weight, sparse) = DECODE_COST;
    let spec = model.spec();
    let mut seconds = 0.0;
    for linear in spec.linears().chain([spec.lm_head.clone()]) {
        let form = model.weight(&linear).ok()?;
        let cost = if form.kind() == "sparse" { sparse } else { weight };
        seconds += (byte * form.stored_bytes() as f64).max(cost * form.parameters() as f64);
    }
    Some(seconds)
}

/// What stands for a figure: decoding reads every weight once per token and computes with it, a prefill does so many operations,
/// memory holds the weights and the cache of keys and values. Only ratios to the baseline are looked at.
fn proxy(scenario: &Scenario, name: &str, entry: &Entry, model: &Model) -> Option<f64> {
    let bytes = entry.size.tensor_bytes as f64;
    let operations = entry.size.work.map(|work| work.flops_per_prefill as f64);
    match name {
        "peak_memory" => {
            let positions = scenario.prompt_tokens + scenario.output_tokens;
            Some(bytes + kv_cache_bytes(model.spec(), 1, positions.min(model.spec().max_positions)) as f64)
        }
        "decode_tokens_per_s" | "samples_per_s" => decode_seconds(model).map(|seconds| 1.0 / seconds),
        "prefill_tokens_per_s" => operations.map(|operations| 1.0 / operations),
        "ttft_p50_ms" | "ttft_p99_ms" => operations,
        "cold_start_ms" => Some(bytes),
        _ if is_proxied(name) => decode_seconds(model),
        _ => None,
    }
}

fn kept(entry: &Entry) -> Candidate {
    let Some(kept) = entry.figures.as_ref().and_then(|figures| figures.retention.get("perplexity")) else {
        return Candidate::new(&entry.name, 100.0);
    };
    let candidate = Candidate::new(&entry.name, kept.percent);
    match &kept.difference {
        // Perplexity is better where it is lower: the worse bound is the higher one.
        Some(difference) => candidate.with_bound(100.0 * kept.baseline / (kept.baseline + difference.high)),
        None => candidate,
    }
}
