//! What resources buy, what was bought, gates and the search, as Markdown.

use super::super::{
    Bought, Fit, GateAction, GateDecision, Recovery, Report, ResourceCurve, SearchReport, SearchScore,
};
use std::fmt::{self, Write};
use tenuis_plan::scenario::Outcome;

pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    if !report.bought.is_empty() {
        write_bought(out, &report.bought)?;
    }
    if !report.curves.is_empty() {
        writeln!(out, "\n## What a resource buys\n")?;
    }
    for curve in &report.curves {
        write_curve(out, curve)?;
    }
    report.search.as_ref().map_or(Ok(()), |search| write_search(out, search))
}

fn write_bought(out: &mut String, all: &[Bought]) -> fmt::Result {
    writeln!(out, "\n## What was bought, in percent of the baseline\n")?;
    writeln!(
        out,
        "| model | quality | bytes | memory | prefill time | decode time | energy | cost | compression | paid back in time | in money |"
    )?;
    writeln!(out, "|---|{}---|---|", "---:|".repeat(8))?;
    let percent = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1} %"));
    for bought in all {
        let spent = bought.compression.as_ref().map_or("–".to_owned(), |cost| {
            let price = cost.price.zip(cost.currency.as_ref());
            let price = price.map_or(String::new(), |(price, currency)| format!(", {price:.4} {currency}"));
            format!("{:.1} s{price}", cost.seconds)
        });
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {spent} | {} | {} |",
            bought.model,
            percent(bought.quality_percent),
            percent(bought.bytes_percent),
            percent(bought.peak_memory_percent),
            percent(bought.prefill_time_percent),
            percent(bought.decode_time_percent),
            percent(bought.energy_percent),
            percent(bought.cost_percent),
            recovery(&bought.payback_time),
            bought.payback_price.as_ref().map_or("–".to_owned(), recovery),
        )?;
    }
    Ok(())
}

fn recovery(recovery: &Recovery) -> String {
    match recovery {
        Recovery::After { tokens, hours } => format!("after {:.0} tokens ({hours:.2} h)", tokens.ceil()),
        Recovery::Never { reason } => format!("never: {reason}"),
        Recovery::Unknown { reason } => format!("not known: {reason}"),
    }
}

fn write_curve(out: &mut String, curve: &ResourceCurve) -> fmt::Result {
    let (what, unit) = (curve.resource.describe(), &curve.unit);
    let fitted = match &curve.fit {
        Fit::None { reason } => return writeln!(out, "- {what}: no curve; {reason}."),
        Fit::Fitted(fitted) => fitted,
    };
    let shape = if fitted.at_bound { ", at a bound: the points do not determine its shape" } else { "" };
    let payoff = fitted.payoff.map_or_else(
        || format!("another {unit} pays nowhere"),
        |at| format!("another {unit} pays up to {at:.3} {unit}"),
    );
    writeln!(
        out,
        "- {what}: {:?} (R² {:.3}, residual {:.3} points{shape}); {payoff}, where it buys {:.4} points, a tenth of what it buys on \
         the linear ideal.",
        fitted.curve.family(),
        fitted.r_squared,
        fitted.residual,
        curve.threshold
    )?;
    for point in &curve.points {
        let marginal =
            point.marginal.map_or(String::new(), |m| format!("; another {unit} buys {m:.4} points"));
        let (model, resource, quality) = (&point.model, point.resource, point.quality);
        writeln!(out, "  - {model}: {resource:.3} {unit}, {quality:.2} % kept{marginal}")?;
    }
    Ok(())
}

fn write_search(out: &mut String, search: &SearchReport) -> fmt::Result {
    writeln!(out, "\n## Search: {}\n", search.scenario.name)?;
    if let Some(best) = &search.best {
        let name = best.candidate.as_ref().unwrap_or(&best.name);
        let verdict = match search.outcome {
            Outcome::Feasible => "meets every limit".to_owned(),
            _ => format!("comes closest; it violates: {}", best.violations.join("; ")),
        };
        writeln!(out, "**{name}** {verdict}.\n")?;
    } else {
        writeln!(out, "Nothing was measured.\n")?;
    }
    writeln!(
        out,
        "- {} trials measured, {} of them on a part of the data only, {} failed; {}, seed {}.",
        search.measured, search.pruned, search.failed, search.method, search.seed
    )?;
    for line in search.scenario.terms.iter().chain(&search.scenario.constraints) {
        writeln!(out, "- {line}")?;
    }
    if let Some(comparison) = &search.comparison {
        writeln!(out, "- On unseen text the answer against the built-in recipes: {comparison}.")?;
    }
    writeln!(out, "- {} Latencies are this machine's.", search.unseen)?;
    if !search.front.is_empty() {
        let knee = search.knee.as_ref().map_or(String::new(), |knee| format!("; knee: {knee}"));
        writeln!(out, "- Beaten by no other trial: {}{knee}.", search.front.join(", "))?;
    }
    let scores: Vec<&SearchScore> = search.best.iter().chain(&search.builtin).collect();
    if !scores.is_empty() {
        writeln!(out, "\n| recipe | score | meets limits |\n|---|---:|---|")?;
    }
    for one in scores {
        let score = one.score.map_or("–".to_owned(), |score| format!("{score:.4}"));
        let feasible = if one.feasible { "yes".to_owned() } else { one.violations.join("; ") };
        writeln!(out, "| {} | {score} | {feasible} |", one.candidate.as_ref().unwrap_or(&one.name))?;
    }
    Ok(())
}

pub(super) fn write_decision(out: &mut String, decision: &GateDecision) -> fmt::Result {
    let action = match decision.action {
        GateAction::Accept => "kept".to_owned(),
        GateAction::NextRung => {
            format!("rolled back, next {}", decision.next_rung.as_deref().unwrap_or("rung"))
        }
        GateAction::Skip => "rolled back, stage left out".to_owned(),
        GateAction::Stop => "rolled back, recipe ended".to_owned(),
    };
    let group = decision.group.as_ref().map_or(String::new(), |group| format!(" on {group}"));
    writeln!(out, "- gate of {}, {}{group}: {action}; {}", decision.stage, decision.rung, decision.reason)
}
