//! What to try next, from what was done and what it brought.

use super::Grade;
use crate::compare::{Facts, measured_alike, stages};
use crate::data::{Entry, Report};
use serde_json::Value;

/// A size ratio from which one expects a gain of speed.
const SMALLER: f64 = 1.5;
/// A speed-up below this is none.
const FASTER: f64 = 1.05;
/// Fewer predictions than this leave the third digit of a perplexity to chance.
const FEW_PREDICTIONS: u64 = 10_000;
/// Stored bits ÷ asked bits from which a large part must have stayed dense.
const MOSTLY_DENSE: f64 = 1.3;
/// Techniques that remove whole parts of a network or single weights.
const PRUNING: [&str; 9] = [
    "magnitude",
    "magnitude-global",
    "wanda",
    "sparsegpt",
    "prune-channels",
    "prune-heads",
    "prune-query-heads",
    "prune-experts",
    "prune-blocks",
];

/// The fewest bits that a recipe's stages ask for.
pub(crate) fn recipe_bits(entry: &Entry) -> Option<f64> {
    let stages = entry.recipe.as_ref()?.get("stages")?.as_array()?;
    let bits = |stage: &Value| stage.get("options")?.get("bits")?.as_f64();
    stages.iter().filter_map(bits).reduce(f64::min)
}

/// What to try next with a candidate.
pub(crate) fn next(candidate: &Entry, facts: &Facts, grade: Grade) -> Vec<String> {
    let uses = |name: &str| stages(candidate).iter().any(|stage| stage.technique == name);
    let prunes = PRUNING.iter().any(|name| uses(name));
    let bits = recipe_bits(candidate);
    let mut advice = Vec::new();
    let mut add = |text: &str| advice.push(text.to_owned());
    let losing = matches!(grade, Grade::Noticeable | Grade::Severe);
    if losing && uses("rtn") {
        add("Round with gptq or awq in place of rtn: they look at the data that the weights meet.");
    }
    if losing && bits.is_some_and(|bits| bits < 4.0) {
        add("Give the weights one bit more, or a smaller group size.");
    }
    if losing && prunes && !uses("distill") {
        add(
            "Add a stage of distill after pruning: pruning alone loses most of what distillation brings back.",
        );
    }
    if losing && uses("distill") {
        add("Train longer or on more text, or start from a candidate that lost less.");
    }
    if grade == Grade::Negligible {
        match bits {
            Some(bits) if bits > 4.0 => add("There is room: try 4 bits with gptq or awq."),
            Some(bits) if bits > 3.0 => add("There is room: try 3 bits, or prune before quantising."),
            None if !uses("distill") => add("There is room: quantise to 8 or 4 bits."),
            _ => {}
        }
    }
    if let (Some(stored), Some(asked)) = (facts.bits_per_weight, bits)
        && stored > MOSTLY_DENSE * asked
    {
        advice.push(format!(
            "The recipe asks for {asked} bits and the file has {stored:.1} per weight: much stayed dense, as embeddings do. Store \
             them in fewer bits."
        ));
    }
    let smaller = facts.ratio.is_some_and(|ratio| ratio >= SMALLER);
    if let Some(pace) = facts.decode.filter(|pace| smaller && pace.claimed() < FASTER) {
        let slower = pace.claimed() < 1.0 / FASTER;
        advice.push(format!(
            "Smaller, but {} here. If time matters, prune channels, heads or blocks, or measure on the machine that will run it.",
            if slower { "slower" } else { "not clearly faster" }
        ));
    }
    let learning = |note: &String| note.contains("still learning");
    if stages(candidate).iter().flat_map(|stage| &stage.notes).any(learning) {
        advice.push("Its training was still learning when it ended: more steps pay.".to_owned());
    }
    advice
}

/// What is missing from a report as a whole before one can rely on it.
pub(crate) fn missing(report: &Report) -> Vec<String> {
    let mut missing = Vec::new();
    let quality = report.baseline.quality.as_ref();
    if quality.is_none_or(|quality| quality.tasks.is_empty()) {
        missing.push(
            "No task was measured; perplexity alone hides damage. Evaluate with tasks of your own."
                .to_owned(),
        );
    }
    let predictions =
        quality.and_then(|q| q.perplexity.as_ref()).and_then(|perplexity| perplexity.predictions);
    if let Some(few) = predictions.filter(|&predictions| predictions < FEW_PREDICTIONS) {
        missing.push(format!("Quality rests on {few} predictions only. Evaluate on more text."));
    }
    let other = report.candidates.iter().filter(|candidate| !measured_alike(&report.baseline, candidate));
    missing.extend(other.map(|candidate| {
        format!(
            "The perplexity of {} was measured on other text or windows than the baseline's. They are not compared.",
            candidate.name
        )
    }));
    if report.baseline.speed.is_none() {
        missing.push("Speed was not measured.".to_owned());
    }
    if report.baseline.memory.is_none() {
        missing.push("Peak memory was not measured.".to_owned());
    }
    missing
}
