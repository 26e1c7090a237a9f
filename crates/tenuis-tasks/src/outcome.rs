//! What a model did with an item, and what that is worth.

use crate::error::JudgeError;
use crate::extract::Extractor;
use crate::item::{Item, Request, Variant};
use crate::prompt::clean;
use crate::spec::TaskSpec;
use crate::text_metric::Counts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::slice;

/// What a model did with an item.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The log-likelihood of each variant's continuation, the sum `Σᵢ log p(tokenᵢ | all before it)`, in nats.
    LogLikelihoods(Vec<f64>),
    /// What it wrote, without what ended it.
    Text(String),
    /// The same sum for the last word, and whether each of its tokens was the likeliest one.
    LastWord {
        /// The sum, in nats.
        log_likelihood: f64,
        /// Whether all were.
        is_likeliest: bool,
    },
}

impl Outcome {
    const fn name(&self) -> &'static str {
        match self {
            Self::LogLikelihoods(_) => "log-likelihoods",
            Self::Text(_) => "a text",
            Self::LastWord { .. } => "a last word",
        }
    }
}

/// An item's result, one line of a file of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// The item's id: its line in the task's file.
    pub id: u64,
    /// What the model chose, or what was extracted of what it wrote; null where nothing could be extracted, and for last words.
    pub prediction: Option<String>,
    /// What would have been right.
    pub references: Vec<String>,
    /// All that the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The item's own value of the task's metric, 0 or 1 where it is right or wrong. Those of BLEU, chrF and TER do not
    /// average to the task's value, which counts over all items.
    pub value: f64,
    /// Whether it is right; null where the metric knows more than right and wrong.
    pub right: Option<bool>,
    /// Whether the choice would be right after division by the choices' bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_normalised: Option<bool>,
    /// The log-likelihood of each choice or of the last word, in nats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_likelihoods: Vec<f64>,
    /// The slices that the item belongs to.
    pub slices: BTreeMap<String, String>,
}

impl Sample {
    /// Writes samples as JSON lines.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_lines(samples: &[Self], mut out: impl Write) -> io::Result<()> {
        for sample in samples {
            serde_json::to_writer(&mut out, sample)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// The index of the largest number, the first of equal ones.
fn best(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

pub(crate) fn judge(
    spec: &TaskSpec,
    extractor: Option<&Extractor>,
    item: &Item,
    outcome: Outcome,
) -> Result<Sample, JudgeError> {
    let id = item.id;
    let mut sample = Sample {
        id,
        prediction: None,
        references: Vec::new(),
        text: None,
        value: 0.0,
        right: None,
        right_normalised: None,
        log_likelihoods: Vec::new(),
        slices: item.slices.clone(),
    };
    let right = match (&item.request, outcome) {
        (Request::Choices { variants, answer }, Outcome::LogLikelihoods(found)) => {
            choose(spec, &mut sample, variants, *answer, found)?
        }
        (Request::LastWord { continuation, .. }, Outcome::LastWord { log_likelihood, is_likeliest }) => {
            if !log_likelihood.is_finite() {
                return Err(JudgeError::NotFinite { id });
            }
            sample.references = vec![continuation.trim_start().to_owned()];
            sample.log_likelihoods = vec![log_likelihood];
            is_likeliest
        }
        (Request::Generate { references, .. }, Outcome::Text(text)) => {
            return write(spec, extractor, sample, references, text);
        }
        (request, outcome) => {
            let (expected, found) = (request.name(), outcome.name());
            return Err(JudgeError::Kind { id, expected, found });
        }
    };
    sample.right = Some(right);
    sample.value = f64::from(u8::from(right));
    Ok(sample)
}

fn choose(
    spec: &TaskSpec,
    sample: &mut Sample,
    variants: &[Variant],
    answer: usize,
    found: Vec<f64>,
) -> Result<bool, JudgeError> {
    if found.len() != variants.len() {
        return Err(JudgeError::Count { id: sample.id, expected: variants.len(), found: found.len() });
    }
    if found.iter().any(|log_likelihood| !log_likelihood.is_finite()) {
        return Err(JudgeError::NotFinite { id: sample.id });
    }
    let chosen = best(found.iter().copied());
    // With a shared continuation every choice has the same length: there is nothing to divide.
    if spec.choices.as_ref().is_some_and(|choices| choices.continuation.is_none()) {
        let normalised = found.iter().zip(variants).map(|(sum, variant)| sum / variant.bytes as f64);
        sample.right_normalised = Some(best(normalised) == answer);
    }
    sample.prediction = Some(variants[chosen].choice.clone());
    sample.references = vec![variants[answer].choice.clone()];
    sample.log_likelihoods = found;
    Ok(chosen == answer)
}

fn write(
    spec: &TaskSpec,
    extractor: Option<&Extractor>,
    mut sample: Sample,
    references: &[String],
    text: String,
) -> Result<Sample, JudgeError> {
    let Some(config) = &spec.generate else {
        return Err(JudgeError::Kind { id: sample.id, expected: spec.kind.name(), found: "a text" });
    };
    let found = extractor.map_or(Some(text.clone()), |extractor| extractor.find(&text));
    sample.prediction = found.map(|found| clean(config, &found));
    sample.references = references.to_vec();
    sample.text = Some(text);
    // Nothing extracted is wrong, even where the reference is empty; a metric of words sees an empty text.
    let pair = (sample.prediction.as_deref().unwrap_or_default(), references);
    let counts = Counts::new(config.metric, config.normalization, slice::from_ref(&pair))?;
    sample.value = counts.value(&[0]);
    if config.metric.is_right_or_wrong() {
        if sample.prediction.is_none() {
            sample.value = 0.0;
        }
        sample.right = Some(sample.value == 1.0);
    }
    Ok(sample)
}

impl Request {
    const fn name(&self) -> &'static str {
        match self {
            Self::Choices { .. } => "choices",
            Self::Generate { .. } => "generate",
            Self::LastWord { .. } => "last_word",
        }
    }
}
