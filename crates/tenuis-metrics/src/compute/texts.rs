//! Metrics of texts: with references, or alone.

use super::{Options, Prepared};
use crate::answers::{Normalization, exact_match, numeric_match, squad_f1};
use crate::bleu::BleuCounts;
use crate::bootstrap::Statistic;
use crate::chrf::{ChrfConfig, ChrfCounts};
use crate::diversity::{distinct, mean_repetition, repetition, self_bleu};
use crate::error::MetricError;
use crate::predictions::{FieldProblem, Predictions};
use crate::rouge::RougeKind;
use crate::ter::TerCounts;

/// Texts and their references.
struct Pairs {
    predictions: Vec<String>,
    references: Vec<Vec<String>>,
}

impl Pairs {
    fn read(predictions: &Predictions, options: &Options) -> Result<Self, MetricError> {
        let (mut texts, mut references) = (Vec::new(), Vec::new());
        for row in predictions.rows() {
            texts.push(row.text(&options.fields.prediction)?);
            references.push(row.texts(&options.fields.reference)?);
        }
        Ok(Self { predictions: texts, references })
    }

    fn map<T>(&self, of: impl Fn(&str, &[String]) -> Result<T, MetricError>) -> Result<Vec<T>, MetricError> {
        self.predictions.iter().zip(&self.references).map(|(p, r)| of(p, r)).collect()
    }

    /// How many references each has, if that is the same for all.
    fn references(&self) -> Option<usize> {
        let first = self.references.first().map(Vec::len);
        first.filter(|&count| self.references.iter().all(|references| references.len() == count))
    }
}

pub(super) fn prepare<'a>(
    name: &str,
    predictions: &'a Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    if matches!(name, "distinct" | "repetition" | "self_bleu") {
        return alone(name, predictions, options);
    }
    let pairs = Pairs::read(predictions, options)?;
    let share = |is: Result<bool, MetricError>| is.map(|is| f64::from(u8::from(is)));
    match name {
        "bleu" => bleu(&pairs, options),
        "chrf" | "chrf++" => chrf(&pairs, options, name == "chrf++"),
        "ter" => ter(&pairs, options),
        "exact_match" => {
            let normalization = options.normalization;
            let values = pairs.map(|p, r| share(exact_match(p, r, normalization)))?;
            let steps = [
                (normalization.lowercase, "lowercase"),
                (normalization.punctuation, "punctuation"),
                (normalization.articles, "articles"),
                (normalization.whitespace, "whitespace"),
            ];
            let taken: Vec<&str> = steps.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            let taken = if taken.is_empty() { "none".to_owned() } else { taken.join("+") };
            Ok(Prepared::mean(values, format!("normalize:{taken}")))
        }
        "squad_em" => {
            let values = pairs.map(|p, r| share(exact_match(p, r, Normalization::squad())))?;
            Ok(Prepared::mean(values, "normalize:squad"))
        }
        "squad_f1" => Ok(Prepared::mean(pairs.map(squad_f1)?, "normalize:squad")),
        "numeric_match" => numeric(&pairs, predictions, options),
        _ => rouge(name, &pairs, options),
    }
}

fn bleu<'a>(pairs: &Pairs, options: &'a Options) -> Result<Prepared<'a>, MetricError> {
    let config = &options.bleu;
    let counts = pairs.map(|p, r| config.count(p, r))?;
    let score = |items: &mut dyn Iterator<Item = &BleuCounts>| {
        let mut sum = BleuCounts::zero(config.max_order);
        items.for_each(|counts| sum.add(counts));
        config.score(sum)
    };
    let whole = score(&mut counts.iter());
    let mut prepared = Prepared::new(whole.score, config.signature(pairs.references())).with(&[
        ("brevity_penalty", whole.brevity_penalty),
        ("hypothesis_len", whole.counts.hypothesis_len as f64),
        ("reference_len", whole.counts.reference_len as f64),
    ]);
    for (n, precision) in (1..).zip(&whole.precisions) {
        prepared.parts.insert(format!("precision_{n}"), *precision);
    }
    let drawn = move |items: &[usize]| Some(score(&mut items.iter().map(|&i| &counts[i])).score);
    Ok(prepared.drawn(Statistic::new(pairs.predictions.len(), drawn)))
}

fn chrf<'a>(pairs: &Pairs, options: &'a Options, words: bool) -> Result<Prepared<'a>, MetricError> {
    let mut config: ChrfConfig = options.chrf.clone();
    if words && config.word_order == 0 {
        config.word_order = 2;
    }
    let counts = pairs.map(|p, r| config.count(p, r))?;
    let signature = config.signature(pairs.references());
    let score = move |items: &[usize]| {
        let mut sum = vec![ChrfCounts::default(); config.char_order + config.word_order];
        for &item in items {
            for (sum, c) in sum.iter_mut().zip(&counts[item]) {
                sum.hypothesis += c.hypothesis;
                sum.reference += c.reference;
                sum.shared += c.shared;
            }
        }
        config.score(&sum)
    };
    let all: Vec<usize> = (0..pairs.predictions.len()).collect();
    let value = score(&all);
    Ok(Prepared::new(value, signature).drawn(Statistic::new(all.len(), move |items| Some(score(items)))))
}

fn ter<'a>(pairs: &Pairs, options: &'a Options) -> Result<Prepared<'a>, MetricError> {
    let config = &options.ter;
    let counts = pairs.map(|p, r| config.count(p, r))?;
    let sum = |items: &mut dyn Iterator<Item = &TerCounts>| {
        items.fold(TerCounts::default(), |sum, c| TerCounts {
            edits: sum.edits + c.edits,
            reference_len: sum.reference_len + c.reference_len,
        })
    };
    let whole = sum(&mut counts.iter());
    let prepared = Prepared::new(config.score(whole), config.signature(pairs.references()))
        .with(&[("edits", whole.edits as f64), ("reference_len", whole.reference_len)]);
    let drawn = move |items: &[usize]| Some(config.score(sum(&mut items.iter().map(|&i| &counts[i]))));
    Ok(prepared.drawn(Statistic::new(pairs.predictions.len(), drawn)))
}

fn rouge<'a>(name: &str, pairs: &Pairs, options: &'a Options) -> Result<Prepared<'a>, MetricError> {
    let kind = match name {
        "rouge1" => RougeKind::N(1),
        "rouge2" => RougeKind::N(2),
        "rougeL" => RougeKind::L,
        _ => RougeKind::Lsum,
    };
    let scores = pairs.map(|p, r| options.rouge.best(kind, p, r))?;
    let mean =
        |of: fn(&crate::PrecisionRecall) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let parts = [("precision", mean(|s| s.precision)), ("recall", mean(|s| s.recall))];
    let signature = format!("stemmer:{}", if options.rouge.stemmer { "porter" } else { "none" });
    Ok(Prepared::mean(scores.iter().map(|s| s.f1).collect(), signature).with(&parts))
}

fn numeric<'a>(
    pairs: &Pairs,
    predictions: &Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let mut values = Vec::new();
    for (item, row) in predictions.rows().iter().enumerate() {
        let matched = numeric_match(&pairs.predictions[item], &pairs.references[item], options.numeric);
        let problem = || FieldProblem::Type {
            expected: "a text with a number in it",
            found: format!("{:?}", pairs.references[item]),
        };
        let is = matched.map_err(|_| row.refused(&options.fields.reference, problem()))?;
        values.push(f64::from(u8::from(is)));
    }
    let found = pairs.predictions.iter().filter(|p| options.numeric.find(p).is_some()).count();
    let share = found as f64 / values.len() as f64;
    let signature = format!("result:{:?}", options.numeric).to_lowercase();
    Ok(Prepared::mean(values, signature).with(&[("with_number", share)]))
}

fn alone<'a>(
    name: &str,
    predictions: &Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let texts = predictions.rows().iter().map(|row| row.text(&options.fields.prediction));
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    match name {
        "distinct" => {
            let n = options.ngram.unwrap_or(2);
            Ok(Prepared::new(distinct(&texts, n)?, format!("ngram:{n}")))
        }
        "repetition" => {
            let n = options.ngram.unwrap_or(4);
            let values: Vec<Option<f64>> = texts.iter().map(|text| repetition(text, n)).collect();
            let drawn = move |items: &[usize]| {
                let known: Vec<f64> = items.iter().filter_map(|&item| values[item]).collect();
                (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
            };
            let prepared = Prepared::new(mean_repetition(&texts, n)?, format!("ngram:{n}"));
            Ok(prepared.drawn(Statistic::new(texts.len(), drawn)))
        }
        _ => Ok(Prepared::new(self_bleu(&texts, &options.bleu)?, options.bleu.signature(None))),
    }
}
