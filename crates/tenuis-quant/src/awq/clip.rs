//! The search for the range of each group.

use super::{AwqConfig, span};
use crate::error::QuantError;
use crate::grid::GridFit;
use rayon::prelude::*;
use tenuis_linalg::{MatMut, MatRef, multiply_add};

/// The largest magnitude that each group of a weight keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// `[out_features, groups]`.
    limits: Vec<f64>,
}

impl Clip {
    /// The limits, `[out_features, groups]`.
    pub fn limits(&self) -> &[f64] {
        &self.limits
    }
}

/// Rows of a weight that are rounded and measured at a time.
const ROWS: usize = 64;

/// `mean((x·(w − q))²) = (w − q)·G·(w − q)ᵀ` with `G = mean(xᵀx)` over the group's channels, so that the tokens are read
/// once and not for every candidate.
pub(super) fn search(
    weight: &[f64],
    shape: [usize; 2],
    inputs: &[f32],
    config: &AwqConfig,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Clip, QuantError> {
    let [out_features, in_features] = shape;
    if in_features == 0 || inputs.is_empty() || !inputs.len().is_multiple_of(in_features) {
        return Err(QuantError::Inputs { values: inputs.len(), in_features });
    }
    let group_size = config.group_size.resolve(in_features)?;
    let (groups, columns) = (group_size.groups(in_features)?, group_size.columns(in_features));
    let tokens = inputs.len() / in_features;
    let stride = (tokens / config.clip_tokens).max(1);
    let rows: Vec<&[f32]> = inputs.chunks_exact(in_features).step_by(stride).collect();

    let by_group: Option<Vec<Vec<f64>>> = (0..groups)
        .into_par_iter()
        .map(|group| {
            let range = group * columns..(group + 1) * columns;
            let x: Vec<f32> = rows.iter().flat_map(|row| row[range.clone()].iter().copied()).collect();
            let x = MatRef::new(&x, [rows.len(), columns], [columns, 1]);
            let mut gram = vec![0.0f32; columns * columns];
            let mean = 1.0 / rows.len() as f32;
            multiply_add(MatMut::new(&mut gram, [columns, columns], [columns, 1]), mean, x.transposed(), x);
            let parts: Option<Vec<Vec<f64>>> = (0..out_features.div_ceil(ROWS))
                .into_par_iter()
                .map(|part| {
                    if !go_on() {
                        return None;
                    }
                    let rows = part * ROWS..out_features.min((part + 1) * ROWS);
                    let own: Vec<&[f64]> =
                        rows.map(|row| &weight[row * in_features..][range.clone()]).collect();
                    Some(limits(&own, &gram, columns, config))
                })
                .collect();
            Some(parts?.concat())
        })
        .collect();
    let by_group = by_group.ok_or(QuantError::Stopped)?;
    let mut limits = Vec::with_capacity(out_features * groups);
    for row in 0..out_features {
        limits.extend(by_group.iter().map(|group| group[row]));
    }
    Ok(Clip { limits })
}

/// The best limit of each row's weights in one group.
fn limits(rows: &[&[f64]], gram: &[f32], columns: usize, config: &AwqConfig) -> Vec<f64> {
    let fit = GridFit::<f64>::new(config.bits, config.symmetric, config.scale_dtype, None);
    let widest: Vec<f64> = rows.iter().map(|row| row.iter().fold(0.0f64, |m, w| m.max(w.abs()))).collect();
    let mut best = widest.clone();
    let mut least = vec![f64::INFINITY; rows.len()];
    let shape = [rows.len(), columns];
    let (mut error, mut product) = (vec![0.0f32; rows.len() * columns], vec![0.0f32; rows.len() * columns]);
    for step in 0..config.clip_candidates() {
        let keep = 1.0 - f64::from(step) / f64::from(config.clip_grid);
        for ((row, error), widest) in rows.iter().zip(error.chunks_exact_mut(columns)).zip(&widest) {
            let limit = widest * keep;
            let grid = span(&fit, row, limit);
            for (error, w) in error.iter_mut().zip(*row) {
                *error = (w - grid.value(grid.code(w.clamp(-limit, limit), fit.max_code()))) as f32;
            }
        }
        product.fill(0.0);
        multiply_add(
            MatMut::new(&mut product, shape, [columns, 1]),
            1.0,
            MatRef::new(&error, shape, [columns, 1]),
            MatRef::new(gram, [columns, columns], [columns, 1]),
        );
        let parts = error.chunks_exact(columns).zip(product.chunks_exact(columns));
        for (index, (error, product)) in parts.enumerate() {
            let sum: f64 = error.iter().zip(product).map(|(e, p)| f64::from(*e) * f64::from(*p)).sum();
            if sum < least[index] {
                least[index] = sum;
                best[index] = widest[index] * keep;
            }
        }
    }
    best
}
