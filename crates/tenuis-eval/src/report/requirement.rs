//! Conditions that candidates have to meet, and whether they do.

use super::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tenuis_metrics::Direction;
use tenuis_plan::gate::{Condition, Evidence, Limit};
use thiserror::Error;

/// What has to be measured for a figure, beside the perplexity and the bytes that are always known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Nothing more.
    Known,
    /// A clock.
    Clock,
    /// A process of its own.
    Memory,
    /// What only a whole evaluation does.
    Evaluation,
}

/// The figures that a condition can be about, beside those with a name of their own after a dot ([`NAMED`]).
const FIGURES: [(&str, Source); 25] = [
    ("perplexity", Source::Known),
    ("kl_mean", Source::Known),
    ("kl_median", Source::Known),
    ("kl_p99", Source::Known),
    ("top1", Source::Known),
    ("bytes", Source::Known),
    ("ratio", Source::Known),
    ("fraction", Source::Known),
    ("params", Source::Known),
    ("nonzero_params", Source::Known),
    ("flops_decode", Source::Known),
    ("flops_prefill", Source::Known),
    ("prefill_tokens_per_s", Source::Clock),
    ("decode_tokens_per_s", Source::Clock),
    ("samples_per_s", Source::Clock),
    ("decode_p50", Source::Clock),
    ("decode_p90", Source::Clock),
    ("latency_p50_ms", Source::Clock),
    ("latency_p90_ms", Source::Clock),
    ("latency_p99_ms", Source::Clock),
    ("ttft_p50_ms", Source::Clock),
    ("ttft_p99_ms", Source::Clock),
    ("peak_memory", Source::Memory),
    ("cold_start_ms", Source::Evaluation),
    ("joules_per_token", Source::Clock),
];

/// What is measured for a figure that has no name of its own.
fn source(figure: &str) -> Option<Source> {
    FIGURES.iter().find(|(name, _)| *name == figure).map(|(_, source)| *source)
}

/// What names of figures begin with that go on with the name of a task or the like. `retention` is in percent.
const NAMED: [&str; 4] = ["task.", "retention.", "robustness.", "business."];

/// A condition on a figure: `perplexity <= 1.03x baseline`, `bytes <= 4e6`, `task.facts >= 0.9`.
///
/// ```
/// use tenuis_eval::report::Requirement;
/// let requirement: Requirement = "perplexity <= 1.03x baseline".parse()?;
/// assert_eq!(requirement.to_string(), "perplexity <= 1.03x baseline");
/// # Ok::<(), tenuis_eval::report::RequirementError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    figure: String,
    comparison: Comparison,
    number: f64,
    /// Whether the number is a multiple of the baseline's figure.
    of_baseline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequirementError {
    /// It does not have the parts of one.
    #[error(
        "{text:?} is no requirement; write it as FIGURE <= NUMBER or FIGURE <= NUMBERx baseline, with <, <=, > or >="
    )]
    Form {
        /// The text.
        text: String,
    },
    /// It is about something that is not known where it stands.
    #[error("{figure:?} is not known here; known is {known}")]
    OtherFigure {
        /// What it is about.
        figure: String,
        /// What it can be about.
        known: String,
    },
    /// It is about something that reports do not have.
    #[error("{figure:?} is no figure of a report; known are {}, and task.NAME", FIGURES.map(|(name, _)| name).join(", "))]
    Figure {
        /// What it is about.
        figure: String,
    },
}

/// A condition and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// The condition.
    pub requirement: String,
    /// Each candidate, in the report's order.
    pub candidates: Vec<Judgement>,
}

/// A candidate before a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The candidate.
    pub candidate: String,
    /// Its figure; null where it was not measured.
    pub value: Option<f64>,
    /// What it was held against; null where the baseline's figure was not measured.
    pub limit: Option<f64>,
    /// Whether the condition holds.
    pub verdict: Holds,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Something was not measured, which never counts as passed.
    Undecided,
}

/// What has to be measured for a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of measurement")]
pub struct Needs {
    /// The tasks.
    pub tasks: bool,
    /// Speed.
    pub speed: bool,
    /// Memory, by a process of its own.
    pub memory: bool,
    /// What only a whole evaluation has: harder texts, the user's own commands, starts of processes.
    pub evaluation: bool,
}

impl Requirement {
    /// Reads a condition on one of the given figures, which reports need not have.
    ///
    /// # Errors
    /// [`RequirementError`].
    pub fn about(text: &str, figures: &[&str]) -> Result<Self, RequirementError> {
        let requirement = Self::parts(text)?;
        if figures.contains(&requirement.figure.as_str()) {
            return Ok(requirement);
        }
        let known = figures.join(", ");
        Err(RequirementError::OtherFigure { figure: requirement.figure, known })
    }

    /// The figure that the condition is about.
    pub fn figure(&self) -> &str {
        &self.figure
    }

    /// What has to be measured to decide it, beside the perplexity and the bytes that are always known.
    pub fn needs(&self) -> Needs {
        let kind = self.figure.split_once('.');
        let figure = match kind {
            Some(("retention", name)) => name,
            _ => self.figure.as_str(),
        };
        let named = figure.split_once('.').map(|(kind, _)| kind);
        let source = source(figure);
        Needs {
            tasks: named == Some("task"),
            evaluation: matches!(named, Some("robustness" | "business"))
                || source == Some(Source::Evaluation),
            memory: source == Some(Source::Memory),
            speed: source == Some(Source::Clock),
        }
    }

    /// The limit in the figure's unit, given the baseline's figure.
    pub fn limit(&self, baseline: Option<f64>) -> Limit {
        let number = match (self.of_baseline, baseline) {
            (false, _) => self.number,
            (true, Some(baseline)) => self.number * baseline,
            (true, None) => return Limit::Unknown,
        };
        match self.comparison {
            Comparison::Less => Limit::Below(number),
            Comparison::AtMost => Limit::AtMost(number),
            Comparison::Greater => Limit::Above(number),
            Comparison::AtLeast => Limit::AtLeast(number),
        }
    }

    /// Holds a candidate against the condition with all that is known of its figure: a quality with its confidence interval, by
    /// the paired bootstrap of the candidate's [`Figures`](super::Figures), so that a gate can ask for the worse bound.
    ///
    /// `kl` is the interval of the mean divergence, which is no retention: the baseline's own is 0.
    pub fn condition(&self, baseline: &Entry, candidate: &Entry, kl: Option<(f64, f64)>) -> Condition {
        let limit = self.limit(figure(baseline, &self.figure));
        let evidence = match (figure(candidate, &self.figure), self.interval(baseline, candidate, kl)) {
            (None, _) => Evidence::Missing,
            (Some(value), Some((low, high))) => {
                Evidence::Interval { value, low: low.min(value), high: high.max(value) }
            }
            (Some(value), None) => Evidence::Exact(value),
        };
        Condition::new(&self.to_string(), limit, evidence)
    }

    /// The confidence interval of a quality; nothing for what is counted or timed.
    fn interval(&self, baseline: &Entry, candidate: &Entry, kl: Option<(f64, f64)>) -> Option<(f64, f64)> {
        if self.figure == "kl_mean" {
            return kl;
        }
        let retention = &candidate.figures.as_ref()?.retention;
        if let Some(name) = self.figure.strip_prefix("retention.") {
            let kept = retention.get(name)?;
            let difference = kept.difference.as_ref()?;
            let percent = |value: f64| match kept.direction {
                Direction::HigherIsBetter => 100.0 * value / kept.baseline,
                Direction::LowerIsBetter => 100.0 * kept.baseline / value,
            };
            let (a, b) = (percent(kept.baseline + difference.low), percent(kept.baseline + difference.high));
            return Some((a.min(b), a.max(b)));
        }
        let difference = retention.get(&self.figure)?.difference.as_ref()?;
        let of_baseline = figure(baseline, &self.figure)?;
        Some((of_baseline + difference.low, of_baseline + difference.high))
    }

    /// Holds candidates against the condition.
    pub fn judge(&self, baseline: &Entry, candidates: &[Entry]) -> Judged {
        let limit = if self.of_baseline {
            figure(baseline, &self.figure).map(|value| self.number * value)
        } else {
            Some(self.number)
        };
        let judge = |entry: &Entry| {
            let value = figure(entry, &self.figure);
            let verdict = match (value, limit) {
                (Some(value), Some(limit)) if self.comparison.holds(value, limit) => Holds::Yes,
                (Some(_), Some(_)) => Holds::No,
                _ => Holds::Undecided,
            };
            Judgement { candidate: entry.name.clone(), value, limit, verdict }
        };
        Judged { requirement: self.to_string(), candidates: candidates.iter().map(judge).collect() }
    }
}

/// Milliseconds of a second.
const MILLI: f64 = 1e3;

/// A figure of an entry; nothing where it was not measured or is not finite.
pub fn figure(entry: &Entry, name: &str) -> Option<f64> {
    let (quality, size, speed) = (&entry.quality, &entry.size, entry.speed.as_ref());
    let value = match name {
        "perplexity" => quality.perplexity.value,
        "kl_mean" => quality.kl_mean,
        "kl_p99" => quality.kl_p99,
        "top1" => quality.top1_agreement,
        "bytes" => size.bytes as f64,
        "ratio" => size.compression_ratio,
        "params" => size.params as f64,
        "nonzero_params" => size.nonzero_params as f64,
        "prefill_tokens_per_s" => speed?.prefill_tokens_per_s,
        "decode_tokens_per_s" => speed?.decode_tokens_per_s,
        "decode_p50" => speed?.decode_step_seconds.median,
        "decode_p90" => speed?.decode_step_seconds.p90,
        "peak_memory" => entry.memory.as_ref()?.peak_bytes as f64,
        "kl_median" => quality.kl_median?,
        "fraction" => size.fraction,
        "flops_decode" => size.work?.flops_per_decoded_token as f64,
        "flops_prefill" => size.work?.flops_per_prefill as f64,
        "samples_per_s" => speed?.samples_per_s?,
        "latency_p50_ms" => MILLI * speed?.latency_seconds?.median,
        "latency_p90_ms" => MILLI * speed?.latency_seconds?.p90,
        "latency_p99_ms" => MILLI * speed?.latency_seconds?.p99,
        "ttft_p50_ms" => MILLI * speed?.prefill_seconds.median,
        "ttft_p99_ms" => MILLI * speed?.prefill_seconds.p99,
        "cold_start_ms" => MILLI * entry.memory.as_ref()?.start.as_ref()?.cold.ready_seconds.median,
        "joules_per_token" => speed?.joules_per_token?,
        named => {
            let (kind, name) = named.split_once('.')?;
            match kind {
                "task" => quality.tasks.get(name)?.value,
                "robustness" => quality.robustness.get(name)?.value,
                "business" => quality.business.get(name)?.value,
                // The baseline keeps all of its own.
                _ => entry.figures.as_ref().map_or(Some(100.0), |f| Some(f.retention.get(name)?.percent))?,
            }
        }
    };
    value.is_finite().then_some(value)
}

impl Comparison {
    const ALL: [(&'static str, Self); 4] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Less), (">", Self::Greater)];

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::Greater => value > limit,
            Self::AtLeast => value >= limit,
        }
    }
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let requirement = Self::parts(text)?;
        let figure = &requirement.figure;
        if source(figure).is_none() && !NAMED.iter().any(|named| figure.starts_with(named)) {
            return Err(RequirementError::Figure { figure: figure.clone() });
        }
        Ok(requirement)
    }
}

impl Requirement {
    /// The parts of a condition, whatever it is about.
    fn parts(text: &str) -> Result<Self, RequirementError> {
        let form = || RequirementError::Form { text: text.to_owned() };
        let found = Comparison::ALL.into_iter().find_map(|(sign, comparison)| {
            text.split_once(sign).map(|(figure, rest)| (figure.trim(), comparison, rest.trim()))
        });
        let (figure, comparison, rest) = found.ok_or_else(form)?;
        let (number, of_baseline) = match rest.strip_suffix("baseline") {
            Some(factor) => {
                let factor = factor.trim();
                let factor = factor.strip_suffix(['x', '×', '*']).unwrap_or(factor).trim();
                (if factor.is_empty() { "1" } else { factor }, true)
            }
            None => (rest, false),
        };
        let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(form)?;
        // The plural is what one says.
        let figure = match figure.strip_prefix("tasks.") {
            Some(name) => format!("task.{name}"),
            None => figure.to_owned(),
        };
        Ok(Self { figure, comparison, number, of_baseline })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Comparison::ALL.into_iter().find(|(_, known)| *known == self.comparison);
        let sign = sign.map_or("", |(sign, _)| sign);
        let of = if self.of_baseline { "x baseline" } else { "" };
        write!(f, "{} {sign} {}{of}", self.figure, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn conditions_are_read_in_every_usual_form() {
        let wanted = parse("perplexity <= 1.03x baseline");
        for text in
            ["perplexity<=1.03×baseline", "perplexity <= 1.03 * baseline", "perplexity <= 1.03 baseline"]
        {
            assert_eq!(parse(text), wanted, "{text}");
        }
        assert_eq!(parse("kl_mean < baseline").to_string(), "kl_mean < 1x baseline");
        assert_eq!(parse("bytes<4e6").to_string(), "bytes < 4000000");
        assert_eq!(parse("task.facts >= 0.9").figure, "task.facts");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["perplexity", "perplexity <= ", "perplexity <= x", "perplexity = 3", "bytes <= NaN"] {
            assert!(matches!(text.parse::<Requirement>(), Err(RequirementError::Form { .. })), "{text}");
        }
        assert!(matches!("speed > 1".parse::<Requirement>(), Err(RequirementError::Figure { .. })));
    }

    #[test]
    fn limits_count_or_do_not() {
        for (comparison, below, at) in [
            (Comparison::Less, true, false),
            (Comparison::AtMost, true, true),
            (Comparison::Greater, false, false),
            (Comparison::AtLeast, false, true),
        ] {
            assert_eq!((comparison.holds(1.0, 2.0), comparison.holds(2.0, 2.0)), (below, at));
        }
    }
}
