//! Which candidates are looked at first.

use super::{Check, Grade};
use crate::compare::{Facts, perplexity};
use crate::data::{Holds, Report};
use tenuis_metrics::{Criteria, Direction, Weights};

/// Below this ratio a candidate is not smaller.
const SMALLER: f64 = 1.01;

/// Scores that differ by less are equal: one percent of the range, which noise of memory and time alone can make.
const EQUAL_SCORES: f64 = 0.01;

/// The chosen candidates with what each is chosen for, the recommended one first.
pub(super) fn choose(
    report: &Report,
    facts: &[Facts],
    checks: &[Vec<Check>],
) -> Vec<(usize, Vec<&'static str>)> {
    let grades: Vec<Grade> = facts.iter().map(Grade::of).collect();
    let holds = |i: usize| checks[i].iter().all(|check| check.holds == Holds::Yes);
    let allowed: Vec<usize> = (0..facts.len()).filter(|&i| holds(i)).collect();
    let keeps = |i: &usize| grades[*i] <= Grade::Slight;
    let smaller = |i: &usize| facts[*i].ratio.is_some_and(|ratio| ratio >= SMALLER);
    let good: Vec<usize> = allowed.iter().copied().filter(keeps).collect();

    let recommended = best(report, facts, &good).or_else(|| {
        // None keeps its quality: the least bad, and of equal grades the one that keeps most.
        let by_loss = |&a: &usize, &b: &usize| {
            grades[a].cmp(&grades[b]).then(order(facts[b].retention, facts[a].retention))
        };
        allowed.iter().copied().min_by(by_loss)
    });
    let smallest = good
        .iter()
        .copied()
        .filter(smaller)
        .max_by(|&a, &b| order(facts[a].ratio, facts[b].ratio).then(order(facts[b].kl, facts[a].kl)));
    let closest = allowed
        .iter()
        .copied()
        .filter(|i| facts[*i].kl.is_some() && smaller(i))
        .min_by(|&a, &b| order(facts[a].kl, facts[b].kl));

    let recommended_for = if good.is_empty() { "least loss" } else { "recommended" };
    let roles = [
        (recommended, recommended_for),
        (smallest, "smallest that keeps its quality"),
        (closest, "closest to the baseline"),
    ];
    let mut chosen: Vec<(usize, Vec<&'static str>)> = Vec::new();
    for (index, role) in roles {
        let Some(index) = index else { continue };
        match chosen.iter_mut().find(|(other, _)| *other == index) {
            Some((_, roles)) => roles.push(role),
            None => chosen.push((index, vec![role])),
        }
    }
    chosen
}

/// The highest score; of those that are as good as it, the one that predicts most like the baseline.
fn best(report: &Report, facts: &[Facts], among: &[usize]) -> Option<usize> {
    let scored: Vec<(usize, f64)> =
        among.iter().filter_map(|&i| Some((i, score(report, &facts[i])?))).collect();
    let most = scored.iter().map(|(_, score)| *score).reduce(f64::max)?;
    let equal = scored.iter().filter(|(_, score)| *score >= most - EQUAL_SCORES).map(|(i, _)| *i);
    equal.max_by(|&a, &b| {
        let divergence = match (facts[a].kl, facts[b].kl) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        divergence.then(order(facts[a].retention, facts[b].retention))
    })
}

/// The weighted score of `tenuis-metrics` over what was measured; a criterion that was not has no weight. A speed-up that does
/// not stand out of its spread counts as none.
pub(crate) fn score(report: &Report, facts: &Facts) -> Option<f64> {
    let mut weights = Weights::default();
    let mut set = |weight: fn(&mut Weights) -> &mut f64, known: bool| {
        if !known {
            *weight(&mut weights) = 0.0;
        }
    };
    let own = facts.perplexity_change.zip(perplexity(&report.baseline));
    set(|w| &mut w.accuracy, own.is_some());
    set(|w| &mut w.latency, facts.decode.is_some());
    set(|w| &mut w.memory, facts.memory.is_some());
    let lower = Direction::LowerIsBetter;
    let (memory_before, memory_after) = facts.memory.unwrap_or((1.0, 1.0));
    let baseline = Criteria { accuracy: (1.0, lower), latency: 1.0, size: 1.0, memory: memory_before };
    let candidate = Criteria {
        accuracy: (1.0 + own.map_or(0.0, |(change, _)| change / 100.0), lower),
        latency: facts.decode.map_or(1.0, |pace| 1.0 / pace.claimed()),
        size: facts.fraction?,
        memory: memory_after,
    };
    weights.score(&baseline, &candidate).ok()
}

/// Orders measured values by size, after those that are missing.
fn order(a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}
