//! The figures of one prediction.

use rayon::prelude::*;

/// One prediction's figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) nll: f64,
    pub(super) kl: f32,
    pub(super) agrees: bool,
    /// The predicted token's position in its window, from 1.
    pub(super) position: usize,
}

/// Scores all predictions of a batch, in order.
pub(super) fn compare(
    reference: &[f32],
    candidate: &[f32],
    tokens: &[u32],
    seq: usize,
    vocab: usize,
) -> Vec<Score> {
    let same = std::ptr::eq(reference, candidate);
    (0..tokens.len() / seq * (seq - 1))
        .into_par_iter()
        .map(|i| {
            let at = i / (seq - 1) * seq + i % (seq - 1);
            let row = at * vocab..(at + 1) * vocab;
            let (b, c) = (&reference[row.clone()], &candidate[row]);
            let next = tokens[at + 1] as usize;
            let position = i % (seq - 1) + 1;
            let (c_top, c_lse) = log_sum_exp(c);
            let nll = c_lse - f64::from(c[next]);
            if same {
                return Score { nll, kl: 0.0, agrees: true, position };
            }
            let (b_top, b_lse) = log_sum_exp(b);
            let kl = between((b, b_lse), (c, c_lse));
            // Rounding may leave a divergence of zero a hair below it.
            Score { nll, kl: if kl < 0.0 { 0.0 } else { kl as f32 }, agrees: b_top == c_top, position }
        })
        .collect()
}

/// `KL(reference ‖ candidate)` in nats of the predictions that two rows of logits make, as long as each other.
///
/// ```
/// use tenuis_eval::quality::divergence;
/// let found = divergence(&[3f32.ln(), 0.0], &[5.0, 5.0]); // (3/4, 1/4) and (1/2, 1/2)
/// assert!((found - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-6);
/// ```
pub fn divergence(reference: &[f32], candidate: &[f32]) -> f64 {
    between((reference, log_sum_exp(reference).1), (candidate, log_sum_exp(candidate).1))
}

/// The same with the logarithms of the sums of exponentials.
fn between((b, b_lse): (&[f32], f64), (c, c_lse): (&[f32], f64)) -> f64 {
    let shift = c_lse - b_lse;
    let term = |(&lb, &lc): (&f32, &f32)| {
        let p = (lb - b_lse as f32).exp();
        f64::from(p) * (f64::from(lb) - f64::from(lc) + shift)
    };
    b.iter().zip(c).map(term).sum()
}

/// The position of the maximum and `log Σ exp`.
pub(crate) fn log_sum_exp(logits: &[f32]) -> (usize, f64) {
    let (mut top, mut max) = (0, f32::NEG_INFINITY);
    for (i, &l) in logits.iter().enumerate() {
        if l > max {
            (top, max) = (i, l);
        }
    }
    let sum: f64 = logits.iter().map(|&l| f64::from((l - max).exp())).sum();
    (top, f64::from(max) + sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 exponentials bound the error of a divergence of a few tokens.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn divergence_of_known_distributions() {
        // p = (3/4, 1/4), q = (1/2, 1/2) at the only prediction of a window of two tokens.
        let reference = [3f32.ln(), 0.0, 0.0, 0.0];
        let candidate = [5.0, 5.0, 0.0, 0.0];
        let scores = compare(&reference, &candidate, &[0, 1], 2, 2);
        assert_eq!(scores.len(), 1);
        let expected = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
        assert!((f64::from(scores[0].kl) - expected).abs() < TOLERANCE);
        assert!((scores[0].nll - 2f64.ln()).abs() < TOLERANCE);
        assert!(scores[0].agrees, "the first of equal maxima counts");
    }

    #[test]
    fn nothing_crosses_a_window() {
        // Two windows of two tokens: predictions at positions 0 and 2 only.
        let logits: Vec<f32> = vec![0.0, 1.0, 9.0, 0.0, 0.0, 3.0, 9.0, 0.0];
        let scores = compare(&logits, &logits, &[0, 1, 0, 1], 2, 2);
        let nll: Vec<f64> = scores.iter().map(|s| s.nll).collect();
        assert_eq!(nll.len(), 2);
        assert!((nll[0] - (1.0 + (-1f64).exp()).ln()).abs() < TOLERANCE);
        assert!((nll[1] - (1.0 + (-3f64).exp()).ln()).abs() < TOLERANCE);
    }

    #[test]
    fn infinite_logits_are_seen() {
        let scores = compare(&[0.0, 0.0], &[f32::INFINITY, 0.0], &[0, 0], 2, 1);
        assert!(!scores[0].nll.is_finite() || !scores[0].kl.is_finite());
    }
}
