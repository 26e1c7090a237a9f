//! Metrics of tagged sentences.

use super::{Options, Prepared};
use crate::bootstrap::Statistic;
use crate::entities::{EntityReport, token_accuracy};
use crate::error::MetricError;
use crate::predictions::{FieldProblem, Predictions, Row};

pub(super) fn prepare<'a>(
    name: &'static str,
    predictions: &'a Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let (mut truth, mut found) = (Vec::new(), Vec::new());
    for row in predictions.rows() {
        let (tags, prediction) = read(row, options)?;
        truth.push(tags);
        found.push(prediction);
    }
    if name == "token_accuracy" {
        let sentence = |(truth, found): (&Vec<String>, &Vec<String>)| {
            (truth.iter().zip(found).filter(|(a, b)| a == b).count(), truth.len())
        };
        let counts: Vec<(usize, usize)> = truth.iter().zip(&found).map(sentence).collect();
        let drawn = move |items: &[usize]| {
            let (hits, tokens) =
                items.iter().map(|&i| counts[i]).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
            Some(hits as f64 / tokens as f64)
        };
        let prepared = Prepared::new(token_accuracy(&truth, &found)?, String::new());
        return Ok(prepared.drawn(Statistic::new(truth.len(), drawn)));
    }
    let mut reports = Vec::new();
    for (sentence, row) in predictions.rows().iter().enumerate() {
        let report = options.entities.sentence(&truth[sentence], &found[sentence], sentence);
        reports.push(report.map_err(|error| name_line(error, row, &truth[sentence], options))?);
    }
    let of = move |report: &EntityReport| {
        let scores = report.average(options.average);
        match name {
            "entity_precision" => scores.precision,
            "entity_recall" => scores.recall,
            _ => scores.f1,
        }
    };
    let mut whole = EntityReport::default();
    for report in &reports {
        whole.add(report);
    }
    let scores = whole.average(options.average);
    let scheme = options.entities.strict.map_or_else(|| "lenient".into(), |s| format!("strict {s:?}"));
    let signature = format!("average:{:?}|scheme:{scheme}", options.average).to_lowercase();
    let mut prepared = Prepared::new(of(&whole), signature).with(&[
        ("precision", scores.precision),
        ("recall", scores.recall),
        ("f1", scores.f1),
    ]);
    prepared.classes = whole.per_class();
    prepared.table = Some(whole.to_string());
    let count = reports.len();
    let drawn = move |items: &[usize]| {
        let mut sum = EntityReport::default();
        for &item in items {
            sum.add(&reports[item]);
        }
        Some(of(&sum))
    };
    Ok(prepared.drawn(Statistic::new(count, drawn)))
}

/// The true and the predicted tags of a row, as many as it has tokens.
fn read(row: &Row, options: &Options) -> Result<(Vec<String>, Vec<String>), MetricError> {
    let fields = &options.fields;
    let tags = row.tags(&fields.tags)?;
    let check = |field: &str, found: usize, other: &str, expected: usize| {
        let problem = FieldProblem::Count { expected, found, other: other.to_owned() };
        if found == expected { Ok(()) } else { Err(row.refused(field, problem)) }
    };
    if row.has(&fields.tokens) {
        let tokens = row.tags(&fields.tokens)?.len();
        check(&fields.tags, tags.len(), &format!("field {:?}", fields.tokens), tokens)?;
    }
    let found = row.tags(&fields.prediction)?;
    check(&fields.prediction, found.len(), &format!("field {:?}", fields.tags), tags.len())?;
    Ok((tags, found))
}

/// Says where in the file a wrong tag stands.
fn name_line(error: MetricError, row: &Row, truth: &[String], options: &Options) -> MetricError {
    let MetricError::Tag { token, tag, .. } = error else { return error };
    let fields = &options.fields;
    let field = if truth.get(token) == Some(&tag) { &fields.tags } else { &fields.prediction };
    let expected = "tags that begin with a prefix of their scheme, as in B-PER";
    row.refused(field, FieldProblem::Type { expected, found: format!("{tag:?} at token {token}") }).into()
}
