//! The search's answer, what resources buy, paybacks and gates, in a line each.

use super::{Paper, Tone};
use crate::data::{Report, Search};
use crate::page::bought::recovery_words;
use crate::page::curves::{missing_curves, payoff_words, resource_words};
use crate::page::gates::decision_words;
use crate::page::search::{answer_words, choices, trial_words};

/// Says what a search found, before anything else about the candidates.
pub(super) fn search(paper: &mut Paper, report: &Report) {
    let Some(search) = &report.search else { return };
    paper.heading("Search");
    let feasible = search.outcome.as_deref() == Some("feasible");
    let tone = if feasible { Tone::Good } else { Tone::Warning };
    let mut lines = vec![(tone, format!("{}.", answer_words(search)))];
    let chosen = search.best.as_ref().map(|best| choices(&best.choices)).filter(|chosen| !chosen.is_empty());
    lines.extend(chosen.map(|chosen| (Tone::Plain, format!("Chosen: {chosen}."))));
    let comparison = search.comparison.as_ref();
    lines.extend(comparison.map(|words| (Tone::Plain, format!("Against the built-in recipes: {words}."))));
    lines.push((Tone::Plain, format!("Trials: {}.", trial_words(search))));
    lines.extend(front(search).map(|front| (Tone::Plain, front)));
    lines.extend(search.unseen.clone().map(|unseen| (Tone::Faint, unseen)));
    for line in lines {
        paper.wrapped("- ", "  ", &[line]);
    }
}

fn front(search: &Search) -> Option<String> {
    let knee = search.knee.as_ref().map_or(String::new(), |knee| format!("; knee {knee}"));
    (!search.front.is_empty()).then(|| format!("Beaten by no other: {}{knee}.", search.front.join(", ")))
}

/// Says where resources stop paying, when compressions are paid back, and what gates decided.
pub(super) fn planning(paper: &mut Paper, report: &Report) {
    let mut lines: Vec<(Tone, String)> = Vec::new();
    let fitted = report.curves.iter().filter(|curve| !curve.fit.line.is_empty());
    lines.extend(fitted.map(|curve| {
        let doubt = if curve.fit.at_bound == Some(true) { ", at a bound" } else { "" };
        let explained = curve.fit.r_squared.map_or(String::new(), |r| format!(" (R² {r:.3}{doubt})"));
        (Tone::Plain, format!("By {}{explained}: {}.", resource_words(&curve.resource), payoff_words(curve)))
    }));
    lines.extend(missing_curves(report).into_iter().map(|words| (Tone::Faint, words)));
    write(paper, "What a resource buys", lines);

    let paid = |bought: &crate::data::Bought| {
        let (text, detail) = recovery_words(bought.payback_time.as_ref()?);
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        Some((Tone::Plain, format!("{}: {text}{detail}.", bought.model)))
    };
    write(
        paper,
        "The compression's time is paid back after",
        report.bought.iter().filter_map(paid).collect(),
    );

    let mut gates = Vec::new();
    for entry in &report.candidates {
        for decision in entry.compression.iter().flat_map(|compression| &compression.decisions) {
            let (words, looks) = decision_words(decision.action.as_deref());
            let tone = if looks == "good" { Tone::Good } else { Tone::Warning };
            let place = [Some(&decision.stage), decision.rung.as_ref(), decision.group.as_ref()];
            let place: Vec<&str> = place.into_iter().flatten().map(String::as_str).collect();
            let reason = decision.reason.as_deref().unwrap_or("no reason was recorded");
            gates.push((tone, format!("{}, {}: {words}; {reason}.", entry.name, place.join(", "))));
        }
    }
    write(paper, "Gates", gates);
}

fn write(paper: &mut Paper, heading: &str, lines: Vec<(Tone, String)>) {
    if lines.is_empty() {
        return;
    }
    paper.heading(heading);
    for line in lines {
        paper.wrapped("- ", "  ", &[line]);
    }
}
