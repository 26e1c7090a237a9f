//! What is said of a candidate.

use super::{Check, Grade, Line, Pick, advice, devices};
use crate::compare::{Facts, Pace, TaskChange, perplexity};
use crate::data::Report;
use crate::format::{
    MISSING, bytes, change, count, figure, percent, perplexity as perplexity_text, points, ratio, seconds,
    share,
};
use tenuis_metrics::efficiency;

/// Changes below this, in percent, are called even.
const EVEN: f64 = 1.0;
/// The headline speaks of changes of speed from this ratio.
const CLEARLY: f64 = 1.05;

pub(super) fn headline(report: &Report, first: Option<&Pick>, facts: &[Facts]) -> String {
    let Some(pick) = first else {
        return if report.candidates.is_empty() {
            "There is no candidate: only the baseline was measured.".to_owned()
        } else {
            "No candidate meets the requirements.".to_owned()
        };
    };
    let own = &facts[pick.index];
    let size = own.ratio.map_or("of unknown size".to_owned(), |r| match r {
        r if r >= 1.01 => format!("{} smaller", ratio(r)),
        r if r > 0.99 => "as large as the baseline".to_owned(),
        r => format!("{} larger", ratio(1.0 / r)),
    });
    let kept =
        own.retention.map_or(String::new(), |r| format!(" ({} of the perplexity is kept)", percent(r)));
    if pick.grade > Grade::Slight && pick.grade != Grade::Unknown {
        return format!(
            "No candidate keeps its quality. {} loses least: it is {size} with {}{kept}.",
            pick.name, pick.grade_words
        );
    }
    format!("Take {}: {size}{} with {}{kept}.", pick.name, time(own.decode), pick.grade_words)
}

/// What the headline says of the time of decoding: a clear change of more than a few percent, or nothing.
fn time(decode: Option<Pace>) -> String {
    match decode.map(|pace| pace.claimed()) {
        Some(up) if up >= CLEARLY => format!(" and {} faster at decoding", ratio(up)),
        Some(up) if up <= 1.0 / CLEARLY => format!(", but {} slower at decoding,", ratio(1.0 / up)),
        _ => String::new(),
    }
}

pub(super) fn pick(
    report: &Report,
    index: usize,
    roles: Vec<&'static str>,
    facts: &Facts,
    checks: Vec<Check>,
) -> Pick {
    let candidate = &report.candidates[index];
    let grade = Grade::of(facts);
    Pick {
        index,
        name: candidate.name.clone(),
        roles,
        grade,
        grade_words: grade.words(),
        gained: gained(report, index, facts),
        lost: lost(report, index, facts),
        trade_off: trade_off(facts),
        checks,
        devices: devices::sentence(&report.baseline, candidate),
        next: advice::next(candidate, facts, grade),
    }
}

fn line(label: &str, figure: String, detail: String, tone: &'static str) -> Line {
    Line { label: label.to_owned(), figure, detail, tone }
}

fn missing(label: &str) -> Line {
    line(label, MISSING.to_owned(), String::new(), "missing")
}

/// The tone of a change of something of which less is better.
fn tone(change: f64) -> &'static str {
    match change {
        c if c <= -EVEN => "good",
        c if c >= EVEN => "bad",
        _ => "even",
    }
}

fn gained(report: &Report, index: usize, facts: &Facts) -> Vec<Line> {
    let (before, after) = (report.baseline.size.bytes as f64, report.candidates[index].size.bytes as f64);
    let size = facts.ratio.zip(facts.size_change()).map_or_else(
        || missing("Size"),
        |(r, c)| {
            let detail = format!("{} → {}, {}", bytes(before), bytes(after), change(c));
            line("Size", format!("{} smaller", ratio(r)), detail, tone(c))
        },
    );
    let memory = facts.memory.zip(facts.memory_change()).map_or_else(
        || missing("Peak memory"),
        |((from, to), c)| line("Peak memory", change(c), format!("{} → {}", bytes(from), bytes(to)), tone(c)),
    );
    vec![size, pace("Decoding", facts.decode), pace("Prefill", facts.prefill), memory]
}

fn pace(label: &str, pace: Option<Pace>) -> Line {
    let Some(pace) = pace else { return missing(label) };
    let medians = format!("median {} → {}", seconds(pace.baseline), seconds(pace.candidate));
    if pace.clear == Some(false) {
        let detail = format!("{medians} ({}), within the spread of the measurement", ratio(pace.speed_up));
        return line(label, "no clear change".to_owned(), detail, "even");
    }
    let unsure = if pace.clear.is_none() { ", spread not known" } else { "" };
    let words = if pace.speed_up >= 1.0 {
        format!("{} faster", ratio(pace.speed_up))
    } else {
        format!("{} slower", ratio(1.0 / pace.speed_up))
    };
    line(label, words, format!("{medians}{unsure}"), tone(pace.change))
}

fn lost(report: &Report, index: usize, facts: &Facts) -> Vec<Line> {
    let candidate = &report.candidates[index];
    let perplexities = perplexity(&report.baseline).zip(perplexity(candidate));
    let kept = facts.retention.zip(facts.perplexity_change).zip(perplexities);
    let mut lines = vec![kept.map_or_else(
        || match perplexities {
            Some(_) => line("Perplexity", "not comparable".to_owned(), String::new(), "missing"),
            None => missing("Perplexity"),
        },
        |((kept, c), (from, to))| {
            let judged = significance(candidate);
            let detail =
                format!("{} → {}, {}{judged}", perplexity_text(from), perplexity_text(to), change(c));
            line("Perplexity", format!("{} kept", percent(kept)), detail, tone(c))
        },
    )];
    let p99 = candidate.quality.as_ref().and_then(|quality| quality.kl_p99);
    let p99 = p99.map_or(String::new(), |p99| format!(", 99th percentile {}", figure(p99)));
    lines.push(facts.kl.map_or_else(
        || missing("KL to the baseline"),
        |kl| line("KL to the baseline", format!("{}\u{a0}nats", figure(kl)), format!("mean{p99}"), "even"),
    ));
    lines.push(facts.top1.map_or_else(
        || missing("Top-1 agreement"),
        |top1| {
            let detail = "predictions whose likeliest token is the baseline's".to_owned();
            line("Top-1 agreement", share(top1), detail, if top1 < 0.9 { "bad" } else { "even" })
        },
    ));
    if facts.tasks.is_empty() {
        lines.push(missing("Tasks"));
    }
    lines.extend(facts.tasks.iter().map(task));
    lines
}

/// What the interval of the difference of the perplexity says, where there is one.
fn significance(candidate: &crate::data::Entry) -> &'static str {
    let retention = candidate.figures.as_ref().and_then(|figures| figures.retention.get("perplexity"));
    match retention.and_then(crate::data::Retention::is_significant) {
        Some(true) => ", significant",
        Some(false) => ", not significant",
        None => "",
    }
}

fn task(task: &TaskChange) -> Line {
    let difference = task.candidate - task.baseline;
    let noise = match task.clear {
        Some(true) => "more than noise",
        Some(false) => "within noise",
        None => "noise not known",
    };
    let tone = match task.clear {
        Some(false) => "even",
        _ => tone(if task.worse { 100.0 } else { -100.0 } * difference.abs()),
    };
    let detail = format!("{} → {}, {noise}", share(task.baseline), share(task.candidate));
    line(&format!("Task {}", task.name), points(difference), detail, tone)
}

/// One sentence that sets the gain against the loss.
fn trade_off(facts: &Facts) -> String {
    let (Some(r), Some(fraction)) = (facts.ratio, facts.fraction) else {
        return "Its size is not known.".to_owned();
    };
    let (Some(kept), Some(c)) = (facts.retention, facts.perplexity_change) else {
        return format!(
            "It is {} of the size; what that cost in perplexity was not measured.",
            percent(100.0 * fraction)
        );
    };
    if r < 1.01 {
        return format!("It is not smaller, and perplexity changes by {}.", change(c));
    }
    let worth = efficiency(kept, fraction).map_or(String::new(), |e| {
        format!(
            " It keeps {} of the perplexity in {} of the bytes, an efficiency of {}\u{a0}% where the baseline has 100\u{a0}%.",
            percent(kept),
            percent(100.0 * fraction),
            count(e)
        )
    });
    let halving = c / r.log2();
    if c <= 0.0 {
        return format!("Perplexity does not rise.{worth}");
    }
    format!("Each halving of the size raises perplexity by {}.{worth}", percent(halving))
}
