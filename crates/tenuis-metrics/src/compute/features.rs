//! The distance of two sets of features in one file.

use super::{Options, Prepared};
use crate::error::MetricError;
use crate::frechet::{FeatureStats, frechet_distance};
use crate::predictions::{FieldProblem, Predictions};

/// Rows that are added at once: products of matrices are much faster than those of rows.
const BATCH: usize = 256;

/// A set of features and rows that wait to be added.
struct Set {
    stats: FeatureStats,
    waiting: Vec<f64>,
}

impl Set {
    fn push(&mut self, row: &[f64]) -> Result<(), MetricError> {
        self.waiting.extend(row);
        if self.waiting.len() >= BATCH * row.len() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), MetricError> {
        self.stats.update(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

/// Gathers the features of both sets row by row. A row may have those of one set alone, as sets need not be of one size.
pub(super) fn prepare<'a>(
    predictions: &Predictions,
    options: &'a Options,
) -> Result<Prepared<'a>, MetricError> {
    let fields = [&options.fields.prediction, &options.fields.reference];
    let mut sets: [Option<Set>; 2] = [None, None];
    // The width of the first row that has any, and its line.
    let mut first: Option<(usize, u64)> = None;
    for row in predictions.rows() {
        if !fields.iter().any(|field| row.has(field)) {
            // Says what is missing.
            row.numbers(fields[0])?;
        }
        for (field, set) in fields.iter().zip(&mut sets) {
            if !row.has(field) {
                continue;
            }
            let values = row.numbers(field)?;
            let (expected, line) = *first.get_or_insert((values.len(), row.line()));
            if values.len() != expected {
                let (found, other) = (values.len(), format!("that of line {line}"));
                let problem = FieldProblem::Count { expected, found, other };
                return Err(row.refused(field, problem).into());
            }
            if set.is_none() {
                *set = Some(Set { stats: FeatureStats::new(expected)?, waiting: Vec::new() });
            }
            if let Some(set) = set {
                set.push(&values)?;
            }
        }
    }
    let [Some(mut found), Some(mut reference)] = sets else {
        return Err(MetricError::Rows { metric: "frechet", rows: 0, needed: 2 });
    };
    found.flush()?;
    reference.flush()?;
    let (found, reference) = (found.stats, reference.stats);
    let counts = [found.rows(), reference.rows()];
    let distance = frechet_distance(&found, &reference)?;
    let width = found.mean().len() as f64;
    Ok(Prepared::new(distance, "covariance:n-1").with(&[
        ("features", width),
        ("prediction_rows", counts[0] as f64),
        ("reference_rows", counts[1] as f64),
    ]))
}
