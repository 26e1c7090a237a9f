//! The decomposition that all methods share.

use crate::config::{RankChoice, Solver};
use crate::error::LowRankError;
use crate::report::{Decomposed, Factors, LowRankReport};
use crate::spectrum::{Spectrum, rank_of_shape, rank_of_spectrum};
use rayon::prelude::*;
use tenuis_linalg::{
    MatMut, MatRef, RandomizedSvd, Whitening, first_non_finite, multiply_add_parallel, singular_values, svd,
    svd_randomized,
};

/// Singular values below this share of the largest are rounding errors of the others; their directions are scaled as
/// if they were that long.
const NOISE: f64 = 1e-12;

/// What the weight is multiplied by before its singular values are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scaling<'a> {
    /// Nothing.
    None,
    /// A factor for every input channel.
    Channels(&'a [f64]),
    /// A square root of the Hessian.
    Whitening(&'a Whitening),
}

impl Scaling<'_> {
    /// `W·S`, `[out, in]`.
    fn apply(&self, weight: &[f32], [out_features, in_features]: [usize; 2]) -> Vec<f64> {
        match self {
            Self::None => weight.par_iter().map(|&w| f64::from(w)).collect(),
            Self::Channels(scale) => {
                let scaled = |(at, &w): (usize, &f32)| f64::from(w) * scale[at % in_features];
                weight.par_iter().enumerate().map(scaled).collect()
            }
            Self::Whitening(whitening) => whitening.apply(weight, out_features),
        }
    }
}

/// The leading left singular vectors of a scaled weight.
struct Leading {
    rank: usize,
    /// `[rank, out_features]`.
    left: Vec<f64>,
    spectrum: Spectrum,
    randomized: bool,
}

/// Decomposes `W ≈ B·A` with the best `B·A·S` of its rank for `W·S`.
///
/// With `W·S = U Σ Vᵀ` the best approximation of rank `k` is `U_k Σ_k V_kᵀ`, and undoing the scaling gives
/// `Ŵ = U_k Σ_k V_kᵀ S⁻¹`. Because `U_kᵀ W S = Σ_k V_kᵀ`, that is the projection `Ŵ = U_k U_kᵀ W`: no inverse of `S` is needed,
/// nothing is divided by a small eigenvalue, and `S` may be singular. The published split `B = U_k Σ_k^½`,
/// `A = Σ_k^½ V_kᵀ S⁻¹` becomes `A = Σ_k^−½ U_kᵀ W`, and one common factor, which changes no product, gives both the same
/// norm, so that half-precision floats hold both.
pub(crate) fn decompose(
    weight: &[f32],
    shape: [usize; 2],
    scaling: Scaling<'_>,
    choice: RankChoice,
    solver: &Solver,
) -> Result<Decomposed, LowRankError> {
    check_weight(weight, shape)?;
    let [out_features, in_features] = shape;
    let leading = lead(&scaling.apply(weight, shape), shape, choice, solver)?;
    let rank = leading.rank;
    let wide: Vec<f64> = weight.par_iter().map(|&w| f64::from(w)).collect();
    let mut projected = vec![0.0; rank * in_features];
    multiply_add_parallel(
        MatMut::new(&mut projected, [rank, in_features], [in_features, 1]),
        1.0,
        MatRef::new(&leading.left, [rank, out_features], [out_features, 1]),
        MatRef::new(&wide, shape, [in_features, 1]),
    );
    let squared = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let loss = leading.spectrum.loss(rank);
    let total = leading.spectrum.total;
    let report = LowRankReport {
        rank,
        retained_energy: if total > 0.0 { 1.0 - loss / total } else { 1.0 },
        truncation_loss: loss,
        // A projection: what is left is at right angles to what is gone.
        weight_error: (squared(&wide) - squared(&projected)).max(0.0),
        randomized: leading.randomized,
        ..LowRankReport::default()
    };
    if rank * (out_features + in_features) >= out_features * in_features {
        return Ok(Decomposed { factors: None, report });
    }
    Ok(Decomposed { factors: Some(split(&leading, projected, shape)), report })
}

/// The squared singular values of `W·S`, largest first.
pub(crate) fn squared_values(
    weight: &[f32],
    shape: [usize; 2],
    scaling: Scaling<'_>,
) -> Result<Vec<f64>, LowRankError> {
    check_weight(weight, shape)?;
    let values = singular_values(&scaling.apply(weight, shape), shape)?;
    Ok(values.into_iter().map(|v| v * v).collect())
}

/// `B = U·T·c` and `A = T⁻¹·UᵀW / c` with `T = Σ^½` and `c` such that both have the same norm.
fn split(leading: &Leading, mut a: Vec<f64>, [out_features, in_features]: [usize; 2]) -> Factors {
    let rank = leading.rank;
    let largest = leading.spectrum.squared.first().copied().unwrap_or_default();
    let roots: Vec<f64> = leading.spectrum.squared[..rank]
        .iter()
        .map(|&squared| {
            // The fourth root of the square: the root of the singular value.
            if largest > 0.0 { squared.max(NOISE * NOISE * largest).sqrt().sqrt() } else { 1.0 }
        })
        .collect();
    for (row, root) in a.chunks_exact_mut(in_features.max(1)).zip(&roots) {
        for v in row {
            *v /= root;
        }
    }
    // The columns of U have length 1.
    let norm_b = roots.iter().map(|root| root * root).sum::<f64>().sqrt();
    let norm_a = a.iter().map(|v| v * v).sum::<f64>().sqrt();
    let balance = if norm_a > 0.0 && norm_b > 0.0 { (norm_a / norm_b).sqrt() } else { 1.0 };
    let mut b = vec![0.0; out_features * rank];
    b.par_chunks_mut(rank.max(1)).enumerate().for_each(|(out, row)| {
        for (k, (value, root)) in row.iter_mut().zip(&roots).enumerate() {
            *value = (leading.left[k * out_features + out] * root * balance) as f32;
        }
    });
    Factors { rank, b, a: a.par_iter().map(|v| (v / balance) as f32).collect() }
}

fn lead(
    scaled: &[f64],
    shape: [usize; 2],
    choice: RankChoice,
    solver: &Solver,
) -> Result<Leading, LowRankError> {
    let total: f64 = scaled.iter().map(|v| v * v).sum();
    let of_shape = rank_of_shape(choice, shape)?;
    if let Some(rank) = of_shape.filter(|&rank| !choice.needs_spectrum() && solver.is_randomized(rank, shape))
    {
        let narrow: Vec<f32> = scaled.par_iter().map(|&v| v as f32).collect();
        let options = RandomizedSvd::new(rank)
            .oversampling(solver.oversampling)
            .power_iterations(solver.power_iterations)
            .seed(solver.seed.unwrap_or_default());
        let found = svd_randomized(&narrow, shape, options)?;
        let squared = found.values.iter().map(|&v| f64::from(v).powi(2)).collect();
        let left = found.left.into_iter().map(f64::from).collect();
        return Ok(Leading { rank, left, spectrum: Spectrum { squared, total }, randomized: true });
    }
    let mut found = svd(scaled, shape)?;
    let spectrum = Spectrum { squared: found.values.iter().map(|v| v * v).collect(), total };
    let rank = of_shape.unwrap_or_else(|| rank_of_spectrum(choice, shape, &spectrum));
    found.left.truncate(rank * shape[0]);
    Ok(Leading { rank, left: found.left, spectrum, randomized: false })
}

/// Checks that a weight fits its shape and is finite.
fn check_weight(weight: &[f32], shape: [usize; 2]) -> Result<(), LowRankError> {
    if shape[0].checked_mul(shape[1]) != Some(weight.len()) || weight.is_empty() {
        return Err(LowRankError::Shape { shape, found: weight.len() });
    }
    match first_non_finite(weight) {
        None => Ok(()),
        Some(at) => Err(LowRankError::NonFiniteWeight {
            row: at / shape[1],
            column: at % shape[1],
            value: weight[at],
        }),
    }
}
