//! The model, its candidates, and what each gained and lost.

use super::{Paper, Tone};
use crate::compare::{Facts, Pace, TaskChange, peak, perplexity};
use crate::data::{Entry, Holds, Report, Retention};
use crate::format::{
    bytes, change, figure, percent, perplexity as perplexity_text, points, ratio, seconds, share,
};
use crate::verdict::{Check, Grade, Verdict};

/// A piece of a line.
type Piece = (Tone, String);
/// Changes below this, in percent, are called even.
const EVEN: f64 = 1.0;
/// An agreement below this is marked, as on the page.
const AGREES: f64 = 0.9;

pub(super) fn tree(paper: &mut Paper, report: &Report, facts: &[Facts], verdict: &Verdict) {
    let base = &report.baseline;
    let speed = base.speed.as_ref();
    let step = speed.and_then(|speed| speed.decode_step_seconds?.median);
    let known = [
        Some(bytes(base.size.bytes as f64)),
        perplexity(base).map(|value| format!("perplexity {}", perplexity_text(value))),
        step.map(|step| format!("{} per token", seconds(step))),
        peak(base).map(|peak| format!("peak memory {}", bytes(peak))),
    ];
    let mut pieces = vec![(Tone::Strong, base.name.clone())];
    pieces.extend(joined(known.into_iter().flatten().map(|text| (Tone::Plain, text)).collect()));
    paper.wrapped("", "│    ", &pieces);
    for (index, (candidate, facts)) in report.candidates.iter().zip(facts).enumerate() {
        let last = index + 1 == report.candidates.len();
        let (branch, stem) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let pick = verdict.picks.iter().find(|pick| pick.index == index);
        let grade = Grade::of(facts);
        let tone = match grade {
            Grade::Negligible | Grade::Slight => Tone::Good,
            Grade::Unknown => Tone::Faint,
            _ => Tone::Bad,
        };
        let mut head = vec![(Tone::Strong, candidate.name.clone()), (tone, format!("[{}]", grade.words()))];
        head.extend(pick.map(|pick| (Tone::Good, format!("← {}", pick.roles.join(", ")))));
        paper.wrapped(branch, &format!("{stem}   "), &head);

        let mut leaves = vec![("gained", gained(facts)), ("lost", lost(candidate, facts))];
        let checks = verdict.checks.get(index).map_or(&[][..], |named| &named.1);
        leaves.extend(checks.iter().map(|check| ("requires", required(check))));
        if let Some(pick) = pick.filter(|_| verdict.picks.first().is_some_and(|first| first.index == index)) {
            leaves.push(("fits", vec![(Tone::Plain, pick.devices.clone())]));
            leaves.extend(pick.next.iter().map(|advice| ("next", vec![(Tone::Plain, advice.clone())])));
        }
        let last_name = leaves.last().map_or("", |(name, _)| name);
        for (place, (name, pieces)) in leaves.iter().enumerate() {
            let fresh = place == 0 || leaves[place - 1].0 != *name;
            let (twig, bark) = if *name == last_name { ("└─", "  ") } else { ("├─", "│ ") };
            let first =
                if fresh { format!("{stem}{twig} {name:<9}") } else { format!("{stem}{bark}          ") };
            paper.wrapped(&first, &format!("{stem}{bark}          "), pieces);
        }
    }
}

/// Pieces with a dot between them.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let last = pieces.len().saturating_sub(1);
    let dotted =
        |(index, (tone, text)): (usize, Piece)| (tone, if index < last { format!("{text} ·") } else { text });
    pieces.into_iter().enumerate().map(dotted).collect()
}

/// The tone of a change of something of which less is better.
fn tone(change: f64) -> Tone {
    match change {
        c if c <= -EVEN => Tone::Good,
        c if c >= EVEN => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn gained(facts: &Facts) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if let (Some(times), Some(fraction), Some(moved)) = (facts.ratio, facts.fraction, facts.size_change()) {
        let words = match times {
            r if r >= 1.01 => format!("{} smaller", ratio(r)),
            r if r > 0.99 => "as large".to_owned(),
            r => format!("{} larger", ratio(1.0 / r)),
        };
        pieces.push((tone(moved), format!("{words} (fraction {})", share(fraction))));
    }
    let timed = |what: &str, pace: Option<Pace>| {
        let pace = pace?;
        Some(match (pace.clear, pace.speed_up) {
            (Some(false), up) => (Tone::Plain, format!("{what} {} ~", ratio(up))),
            (_, up) if up >= 1.0 => (tone(pace.change), format!("{what} {} faster", ratio(up))),
            (_, up) => (tone(pace.change), format!("{what} {} slower", ratio(1.0 / up))),
        })
    };
    pieces.extend(timed("decoding", facts.decode));
    pieces.extend(timed("prefill", facts.prefill));
    pieces.extend(facts.memory_change().map(|moved| (tone(moved), format!("memory {}", change(moved)))));
    if pieces.is_empty() { vec![(Tone::Faint, "not measured".to_owned())] } else { joined(pieces) }
}

fn lost(candidate: &Entry, facts: &Facts) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if let Some((kept, moved)) = facts.retention.zip(facts.perplexity_change) {
        let found = candidate.figures.as_ref().and_then(|figures| figures.retention.get("perplexity"));
        let mark = mark(found.and_then(Retention::is_significant), moved > 0.0);
        let tone = if mark.is_empty() { tone(moved) } else { Tone::Bad };
        pieces.push((tone, format!("{} of perplexity kept ({}){mark}", percent(kept), change(moved))));
    }
    pieces.extend(facts.kl.map(|kl| (Tone::Plain, format!("KL {}", figure(kl)))));
    let agrees =
        |top1: f64| (if top1 < AGREES { Tone::Bad } else { Tone::Plain }, format!("top-1 {}", share(top1)));
    pieces.extend(facts.top1.map(agrees));
    let told = |task: &&TaskChange| task.clear != Some(false) && task.candidate != task.baseline;
    let task = |task: &TaskChange| {
        let mark = mark(task.clear, task.worse);
        let tone = if task.worse { Tone::Bad } else { Tone::Good };
        (tone, format!("{} {}{mark}", task.name, points(task.candidate - task.baseline)))
    };
    pieces.extend(facts.tasks.iter().filter(told).map(task));
    let noise = facts.tasks.iter().filter(|task| !told(task)).count();
    if noise > 0 {
        pieces.push((
            Tone::Plain,
            format!("{noise} {} within noise", if noise == 1 { "task" } else { "tasks" }),
        ));
    }
    if pieces.is_empty() { vec![(Tone::Faint, "not measured".to_owned())] } else { joined(pieces) }
}

/// The sign of a significant loss.
pub(super) fn mark(significant: Option<bool>, worse: bool) -> &'static str {
    if significant == Some(true) && worse { " !" } else { "" }
}

fn required(check: &Check) -> Vec<Piece> {
    let (tone, sign) = match check.holds {
        Holds::Yes => (Tone::Good, "✓"),
        Holds::No => (Tone::Bad, "✗"),
        Holds::Undecided => (Tone::Warning, "?"),
    };
    vec![
        (tone, sign.to_owned()),
        (Tone::Plain, check.requirement.clone()),
        (Tone::Faint, format!("({})", check.detail)),
    ]
}
