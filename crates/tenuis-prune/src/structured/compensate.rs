//! New weights for what reads the units that are left.

use super::error::StructuredError;
use rayon::prelude::*;
use tenuis_linalg::{Gram, GramView, HessianFactor, MatMut, MatRef, factor_hessian, multiply_add};

/// Rows of the weight that one task solves for; fixed, so that the bits do not depend on the number of threads.
const ROWS: usize = 64;
/// How often the damping is made ten times as large before the regression is given up.
const ATTEMPTS: u32 = 4;

/// The mean of every input, for a Linear that has a bias.
#[derive(Clone, Copy, Debug)]
pub struct ChannelMeans<'a> {
    /// Σx per input channel.
    pub sum: &'a [f32],
    /// The rows.
    pub rows: u64,
}

/// A weight without some of its columns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compensated {
    /// `[out_features, keep.len()]`, row-major.
    pub weight: Vec<f32>,
    /// What is added to the bias, `[out_features]`, where the means were given.
    pub bias_shift: Option<Vec<f32>>,
    /// The squared output error over the calibration rows if the columns had only been dropped.
    pub error_before: f64,
    /// What is left of it.
    pub error_after: f64,
    /// The damping that was used, as a share of the mean diagonal.
    pub damp_percent: f64,
}

/// Drops the columns of `W` that are not kept and changes the others so that the output changes least.
///
/// With `K` the kept and `R` the removed columns, `H = XᵀX` and `λ = damp_percent · mean(diag H_KK)`, the minimum of
/// `‖XWᵀ − X_K W'ᵀ‖² + λ‖W' − W_K‖²` is
///
/// `W' = W_K + W_R · H_RK · (H_KK + λI)⁻¹`,
///
/// which without damping is `W · H_:K · H_KK⁻¹`; the damping pulls to the weights that were there, so inputs that are never
/// active keep theirs. With the means `μ` of a Linear that has a bias, the inputs are centred first, `H − n·μμᵀ`, and the bias
/// takes up the rest: `b' = b + Wμ − W'μ_K`. This is the closed form of an ordinary least-squares fit, as Frantar and Alistarh
/// 2022 (arXiv 2208.11580) and Kurtic et al. 2023 (arXiv 2302.04089) apply it to pruned structures.
///
/// # Shapes
/// `weight`: `[out_features, in_features]` row-major; `gram`: `[in_features, in_features]`; `keep`: ascending columns.
///
/// # Errors
/// [`StructuredError::Length`], [`StructuredError::Columns`], [`StructuredError::NoRows`], and
/// [`StructuredError::Singular`] where not even a larger damping makes the system solvable.
pub fn compensate(
    weight: &[f32],
    gram: GramView<'_>,
    keep: &[usize],
    means: Option<ChannelMeans<'_>>,
    damp_percent: f64,
) -> Result<Compensated, StructuredError> {
    let n = gram.features();
    if n == 0 || !weight.len().is_multiple_of(n) {
        return Err(StructuredError::Length {
            what: "a row of the weight",
            expected: n,
            found: weight.len(),
        });
    }
    if keep.is_empty() || keep.windows(2).any(|pair| pair[0] >= pair[1]) || keep.iter().any(|&k| k >= n) {
        return Err(StructuredError::Columns { columns: n });
    }
    if let Some(means) = means {
        if means.sum.len() != n {
            return Err(StructuredError::Length { what: "Σx", expected: n, found: means.sum.len() });
        }
        if means.rows == 0 {
            return Err(StructuredError::NoRows);
        }
    }
    let inputs = Inputs { gram, means };
    let mut removed = vec![true; n];
    for &column in keep {
        removed[column] = false;
    }
    let removed: Vec<usize> = (0..n).filter(|&column| removed[column]).collect();
    let (kept_weight, removed_weight) = (columns(weight, n, keep), columns(weight, n, &removed));
    let (factor, damp_percent) = factor(&inputs, keep, damp_percent)?;

    // G = W_R · C_RK, then D = G · (C_KK + λI)⁻¹.
    let (out, k) = (weight.len() / n, keep.len());
    let coupling = inputs.block(&removed, keep);
    let right = product(&removed_weight, &coupling, [out, removed.len(), k]);
    let mut change = right.clone();
    factor.solve_rows(&mut change);

    let own = inputs.block(&removed, &removed);
    let reached = product(&removed_weight, &own, [out, removed.len(), removed.len()]);
    let error_before = dot(&removed_weight, &reached);
    // tr(D C_KK Dᵀ) = tr(D Gᵀ) − λ‖D‖², so what D wins is tr(D Gᵀ) + λ‖D‖².
    let won = dot(&change, &right) + factor.damp() * dot(&change, &change);

    let new: Vec<f64> = kept_weight.iter().zip(&change).map(|(w, d)| w + d).collect();
    let bias_shift = means.map(|means| {
        let mean = |column: usize| f64::from(means.sum[column]) / means.rows as f64;
        let shift = |row: usize| {
            let lost: f64 =
                removed.iter().zip(&removed_weight[row * removed.len()..]).map(|(&c, w)| w * mean(c)).sum();
            let changed: f64 = keep.iter().zip(&change[row * k..]).map(|(&c, d)| d * mean(c)).sum();
            (lost - changed) as f32
        };
        (0..out).map(shift).collect()
    });
    Ok(Compensated {
        weight: new.into_iter().map(|w| w as f32).collect(),
        bias_shift,
        error_before,
        error_after: (error_before - won).max(0.0),
        damp_percent,
    })
}

/// The inputs' Gram matrix, centred where their means are known.
struct Inputs<'a> {
    gram: GramView<'a>,
    means: Option<ChannelMeans<'a>>,
}

impl Inputs<'_> {
    fn get(&self, i: usize, j: usize) -> f64 {
        let value = f64::from(self.gram.get(i, j));
        let common =
            |means: ChannelMeans<'_>| f64::from(means.sum[i]) * f64::from(means.sum[j]) / means.rows as f64;
        value - self.means.map_or(0.0, common)
    }

    /// `C[rows, columns]`, row-major.
    fn block(&self, rows: &[usize], columns: &[usize]) -> Vec<f64> {
        let row = |&i: &usize| columns.iter().map(move |&j| self.get(i, j)).collect::<Vec<f64>>();
        rows.par_iter().map(row).collect::<Vec<_>>().concat()
    }
}

/// Factorises `C_KK + λI`, with more damping where it has to be.
fn factor(
    inputs: &Inputs<'_>,
    keep: &[usize],
    damp_percent: f64,
) -> Result<(HessianFactor<f64>, f64), StructuredError> {
    let k = keep.len();
    let mut upper = vec![0.0f32; k * k];
    upper.par_chunks_mut(k).enumerate().for_each(|(i, row)| {
        for (value, &column) in row[i..].iter_mut().zip(&keep[i..]) {
            *value = inputs.get(keep[i], column) as f32;
        }
        // A channel without variance may be left with a rounding error below zero.
        row[i] = row[i].max(0.0);
    });
    let singular =
        |damp_percent, attempts, problem| StructuredError::Singular { damp_percent, attempts, problem };
    let gram = Gram::from_upper(k, upper).map_err(|e| singular(damp_percent, 0, e.to_string()))?;
    let mut damp = damp_percent;
    for attempt in 1.. {
        match factor_hessian::<f64>(gram.view(), None, damp) {
            Ok(factor) => return Ok((factor, damp)),
            Err(e) if attempt >= ATTEMPTS => return Err(singular(damp, attempt, e.to_string())),
            Err(_) => damp = (damp * 10.0).max(1e-4),
        }
    }
    Err(singular(damp, ATTEMPTS, String::new()))
}

/// Some columns of a row-major matrix of `n`, widened.
fn columns(matrix: &[f32], n: usize, which: &[usize]) -> Vec<f64> {
    matrix.chunks_exact(n).flat_map(|row| which.iter().map(|&c| f64::from(row[c]))).collect()
}

/// `[m, k] · [k, n]`, row-major.
fn product(left: &[f64], right: &[f64], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    if k == 0 || n == 0 {
        return out;
    }
    out.par_chunks_mut(ROWS * n).zip(left.par_chunks(ROWS * k)).for_each(|(out, left)| {
        let rows = left.len() / k;
        let right = MatRef::new(right, [k, n], [n, 1]);
        multiply_add(MatMut::new(out, [rows, n], [n, 1]), 1.0, MatRef::new(left, [rows, k], [k, 1]), right);
    });
    out
}

/// Summed in one order, whatever the threads.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: usize = 6;
    const OUT: usize = 3;
    const ROWS_OF_X: usize = 40;

    /// Inputs that depend on each other and have means, and a weight.
    fn case() -> (Vec<f64>, Vec<f32>) {
        let noise = |i: usize| ((i * 7919 + 13) as f64 * 0.618).sin();
        let mut x = vec![0.0; ROWS_OF_X * IN];
        for (r, row) in x.chunks_mut(IN).enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = noise(r * 31 + c) + 0.7 * noise(r * 31) + 0.3 * c as f64;
            }
        }
        (x, (0..OUT * IN).map(|i| noise(i + 1000) as f32).collect())
    }

    fn gram(x: &[f64]) -> Gram {
        let mut gram = vec![0.0; IN * IN];
        for i in 0..IN {
            for j in i..IN {
                gram[i * IN + j] = x.chunks(IN).map(|row| row[i] * row[j]).sum::<f64>() as f32;
            }
        }
        Gram::from_upper(IN, gram).unwrap()
    }

    fn error(x: &[f64], weight: &[f32], new: &[f32], shift: Option<&[f32]>, keep: &[usize]) -> f64 {
        let mut error = 0.0;
        for row in x.chunks(IN) {
            for o in 0..OUT {
                let before: f64 = (0..IN).map(|c| row[c] * f64::from(weight[o * IN + c])).sum();
                let kept = keep.iter().enumerate();
                let after: f64 = kept.map(|(k, &c)| row[c] * f64::from(new[o * keep.len() + k])).sum();
                let shift = shift.map_or(0.0, |s| f64::from(s[o]));
                error += (before - after - shift).powi(2);
            }
        }
        error
    }

    /// What is reported is the error that the definition gives, and no small step in any direction lessens it.
    #[test]
    fn the_result_is_the_minimum() {
        let (x, weight) = case();
        let gram = gram(&x);
        let sum: Vec<f32> = (0..IN).map(|c| x.chunks(IN).map(|row| row[c]).sum::<f64>() as f32).collect();
        let keep = [0, 2, 3, 5];
        let dropped: Vec<f32> = columns(&weight, IN, &keep).into_iter().map(|w| w as f32).collect();
        for means in [None, Some(ChannelMeans { sum: &sum, rows: ROWS_OF_X as u64 })] {
            let found = compensate(&weight, gram.view(), &keep, means, 0.0).unwrap();
            let of = |new: &[f32], shift: Option<&[f32]>| error(&x, &weight, new, shift, &keep);
            let least = of(&found.weight, found.bias_shift.as_deref());
            assert!(
                (found.error_after - least).abs() < 1e-4 * found.error_before,
                "{} {least}",
                found.error_after
            );
            if means.is_none() {
                assert!((found.error_before / of(&dropped, None) - 1.0).abs() < 1e-4);
            }
            assert!(least < 0.7 * of(&dropped, None));
            for i in 0..found.weight.len() {
                for step in [-0.01, 0.01] {
                    let mut other = found.weight.clone();
                    other[i] += step;
                    assert!(of(&other, found.bias_shift.as_deref()) > least);
                }
            }
        }
    }

    /// Without damping the textbook form holds: W' H_KK = W H_:K.
    #[test]
    fn the_normal_equations_hold() {
        let (x, weight) = case();
        let gram = gram(&x);
        let keep = [1, 4];
        let found = compensate(&weight, gram.view(), &keep, None, 0.0).unwrap();
        for o in 0..OUT {
            for &j in &keep {
                let left: f64 =
                    (0..2).map(|k| f64::from(found.weight[o * 2 + k] * gram.view().get(keep[k], j))).sum();
                let right: f64 = (0..IN).map(|i| f64::from(weight[o * IN + i] * gram.view().get(i, j))).sum();
                assert!((left - right).abs() < 1e-3, "{left} {right}");
            }
        }
    }

    #[test]
    fn nothing_removed_changes_nothing_and_dead_inputs_do_no_harm() {
        let (mut x, weight) = case();
        let all: Vec<usize> = (0..IN).collect();
        let same = compensate(&weight, gram(&x).view(), &all, None, 0.01).unwrap();
        assert_eq!((same.weight, same.error_before), (weight.clone(), 0.0));
        x.chunks_mut(IN).for_each(|row| row[0] = 0.0);
        let found = compensate(&weight, gram(&x).view(), &[0, 1, 2], None, 0.0).unwrap();
        for o in 0..OUT {
            assert_eq!(
                found.weight[o * 3],
                weight[o * IN],
                "an input that is never active keeps its weights"
            );
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let (x, weight) = case();
        let gram = gram(&x);
        let of = |keep: &[usize]| compensate(&weight, gram.view(), keep, None, 0.01).unwrap_err();
        for keep in [&[][..], &[1, 1], &[2, 1], &[0, IN]] {
            assert_eq!(of(keep), StructuredError::Columns { columns: IN });
        }
        let zero = Gram::zeros(IN);
        let error = compensate(&weight, zero.view(), &[0, 1], None, 0.01).unwrap_err();
        assert!(matches!(error, StructuredError::Singular { .. }), "{error}");
        let none = ChannelMeans { sum: &[0.0; IN], rows: 0 };
        assert_eq!(
            compensate(&weight, gram.view(), &[0], Some(none), 0.0).unwrap_err(),
            StructuredError::NoRows
        );
    }
}
