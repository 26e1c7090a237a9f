//! The value of a task over its samples, and over slices of them.

use crate::error::JudgeError;
use crate::item::{Item, Request};
use crate::outcome::Sample;
use crate::spec::{Kind, TaskSpec};
use crate::text_metric::{Counts, Pair, TextMetric};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenuis_metrics::{
    BootstrapConfig, Direction, Normalization, Statistic, bootstrap, distinct, mean_repetition,
};

/// What a task gives over all its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Summary {
    /// `accuracy`, or the name of a metric of texts.
    pub metric: String,
    /// Which values are better.
    pub direction: Direction,
    /// The value, a share: that of BLEU, chrF and TER is divided by 100.
    pub value: f64,
    /// How sure that is: `√(p (1 − p) / n)` where items are right or wrong, `s / √n` for another mean with the items' standard
    /// deviation `s`, and the deviation over resamples of the items for BLEU, chrF and TER; null where a single item tells
    /// nothing of it.
    pub standard_error: Option<f64>,
    /// How many samples there are.
    pub items: usize,
    /// How many of them have a value of 1.
    pub correct: usize,
    /// The value to expect of blind guesses, the mean of 1 ÷ choices; null where there are no choices.
    pub chance: Option<f64>,
    /// Further values: `acc_norm` of choices, `perplexity` of last words, the metrics of `also`, and of all that was written
    /// `repetition` of 4-grams and `distinct` 2-grams.
    pub parts: BTreeMap<String, f64>,
    /// The scores of slices: name of the field, its value. `length` groups items by the length of what they ask.
    pub slices: BTreeMap<String, BTreeMap<String, SliceScore>>,
}

/// The score of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SliceScore {
    /// Its samples.
    pub items: usize,
    /// Their value.
    pub value: f64,
    /// How sure that is, as for all samples; null for a single item of another mean, and for BLEU, chrF and TER.
    pub standard_error: Option<f64>,
}

/// What goes into the value of some samples.
struct Values {
    counts: Counts,
    is_right_or_wrong: bool,
}

impl Values {
    fn new(
        metric: Option<TextMetric>,
        normalization: Normalization,
        samples: &[Sample],
    ) -> Result<Self, JudgeError> {
        match metric {
            Some(metric) if !metric.is_right_or_wrong() => {
                let pair = |sample| pair(sample);
                let pairs: Vec<Pair<'_>> = samples.iter().map(pair).collect();
                Ok(Self { counts: Counts::new(metric, normalization, &pairs)?, is_right_or_wrong: false })
            }
            // The samples have it already, and know what could not be extracted.
            _ => {
                let values = samples.iter().map(|sample| sample.value).collect();
                Ok(Self { counts: Counts::Mean(values), is_right_or_wrong: true })
            }
        }
    }

    fn standard_error(&self, items: &[usize]) -> Option<f64> {
        let n = items.len() as f64;
        let mean = self.counts.value(items);
        match &self.counts {
            Counts::Mean(_) if self.is_right_or_wrong => Some((mean * (1.0 - mean) / n).sqrt()),
            Counts::Mean(values) if items.len() > 1 => {
                let squares: f64 = items.iter().map(|&item| (values[item] - mean).powi(2)).sum();
                Some((squares / (n - 1.0) / n).sqrt())
            }
            _ => None,
        }
    }
}

fn pair(sample: &Sample) -> Pair<'_> {
    (sample.prediction.as_deref().unwrap_or_default(), &sample.references)
}

/// The value of any draw of samples, corpus metrics counted anew over those drawn.
pub(crate) fn statistic(spec: &TaskSpec, samples: &[Sample]) -> Result<Statistic<'static>, JudgeError> {
    let values = of_task(spec, samples)?;
    Ok(Statistic::new(samples.len(), move |drawn| (!drawn.is_empty()).then(|| values.counts.value(drawn))))
}

fn of_task(spec: &TaskSpec, samples: &[Sample]) -> Result<Values, JudgeError> {
    let generate = spec.generate.as_ref();
    let metric = generate.map(|generate| generate.metric);
    Values::new(metric, generate.map(|generate| generate.normalization).unwrap_or_default(), samples)
}

pub(crate) fn summarise(spec: &TaskSpec, items: &[Item], samples: &[Sample]) -> Result<Summary, JudgeError> {
    if samples.is_empty() {
        return Err(JudgeError::NoSamples);
    }
    let metric = spec.generate.as_ref().map(|generate| generate.metric);
    let values = of_task(spec, samples)?;
    let all: Vec<usize> = (0..samples.len()).collect();
    let value = values.counts.value(&all);
    let standard_error = match &values.counts {
        Counts::Mean(_) => values.standard_error(&all),
        counts if samples.len() > 1 => {
            let statistic = Statistic::new(samples.len(), |items| Some(counts.value(items)));
            Some(bootstrap(&statistic, &BootstrapConfig::default())?.standard_error)
        }
        _ => None,
    };
    Ok(Summary {
        metric: metric.map_or("accuracy", TextMetric::name).to_owned(),
        direction: metric.map_or(Direction::HigherIsBetter, TextMetric::direction),
        value,
        standard_error,
        items: samples.len(),
        correct: samples.iter().filter(|sample| sample.value == 1.0).count(),
        chance: chance(items, samples),
        parts: parts(spec, samples)?,
        slices: slices(&values, samples),
    })
}

/// The mean of 1 ÷ choices over the samples' items.
fn chance(items: &[Item], samples: &[Sample]) -> Option<f64> {
    let choices: BTreeMap<u64, usize> = items
        .iter()
        .filter_map(|item| match &item.request {
            Request::Choices { variants, .. } => Some((item.id, variants.len())),
            _ => None,
        })
        .collect();
    let each: Option<Vec<f64>> =
        samples.iter().map(|sample| choices.get(&sample.id).map(|&count| 1.0 / count as f64)).collect();
    each.map(|each| each.iter().sum::<f64>() / each.len() as f64)
}

fn parts(spec: &TaskSpec, samples: &[Sample]) -> Result<BTreeMap<String, f64>, JudgeError> {
    let count = samples.len() as f64;
    let mut parts = BTreeMap::new();
    let normalised: Option<Vec<bool>> = samples.iter().map(|sample| sample.right_normalised).collect();
    if let Some(normalised) = normalised {
        let right = normalised.iter().filter(|right| **right).count();
        parts.insert("acc_norm".to_owned(), right as f64 / count);
    }
    if spec.kind == Kind::LastWord {
        let sum: f64 = samples.iter().flat_map(|sample| &sample.log_likelihoods).sum();
        parts.insert("perplexity".to_owned(), (-sum / count).exp());
    }
    if let Some(generate) = &spec.generate {
        let pairs: Vec<Pair<'_>> = samples.iter().map(pair).collect();
        let all: Vec<usize> = (0..samples.len()).collect();
        for &metric in &generate.also {
            let counts = Counts::new(metric, generate.normalization, &pairs)?;
            parts.insert(metric.name().to_owned(), counts.value(&all));
        }
        parts.extend(variety(samples));
    }
    Ok(parts)
}

/// How varied what was written is, which needs no reference: a compressed model that begins to loop shows here first. Absent where
/// too little was written.
fn variety(samples: &[Sample]) -> impl Iterator<Item = (String, f64)> {
    let texts: Vec<&str> = samples.iter().filter_map(|sample| sample.text.as_deref()).collect();
    let repetition = mean_repetition(&texts, REPEATED).ok().map(|share| ("repetition".to_owned(), share));
    let distinct = distinct(&texts, DISTINCT).ok().map(|share| ("distinct".to_owned(), share));
    repetition.into_iter().chain(distinct)
}

/// Words of the n-grams whose repetition counts (Welleck et al. 2019, arXiv 1908.04319).
const REPEATED: usize = 4;
/// Words of the n-grams that are to be distinct (Li et al. 2016, arXiv 1510.03055).
const DISTINCT: usize = 2;

fn slices(values: &Values, samples: &[Sample]) -> BTreeMap<String, BTreeMap<String, SliceScore>> {
    let mut groups: BTreeMap<&String, BTreeMap<&String, Vec<usize>>> = BTreeMap::new();
    for (index, sample) in samples.iter().enumerate() {
        for (field, value) in &sample.slices {
            groups.entry(field).or_default().entry(value).or_default().push(index);
        }
    }
    let score = |items: &Vec<usize>| SliceScore {
        items: items.len(),
        value: values.counts.value(items),
        standard_error: values.standard_error(items),
    };
    let of = |values: BTreeMap<&String, Vec<usize>>| {
        values.into_iter().map(|(value, items)| (value.clone(), score(&items))).collect()
    };
    groups.into_iter().map(|(field, values)| (field.clone(), of(values))).collect()
}
