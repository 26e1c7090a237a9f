//! How far a student's distribution is from its teacher's, and the gradient towards the student's logits.
//!
//! Student `p = softmax(z / T)`, teacher `q = softmax(t / T)`. For a divergence `D = Σ_c d(p_c, q_c)` over classes `c`, and
//! with `a_c = ∂D/∂p_c`, the gradient is `∂D/∂z_j = p_j (a_c(j) − Σ_c p_c a_c) / T`, where `c(j)` is the class of token
//! `j`. Each token is a class of its own, or, with `top_k`, the teacher's k likeliest tokens are and all others are one.

use crate::objective::Divergence;
use candle_core::Result;
use std::ops::Range;
use std::sync::Arc;
use tenuis_linalg::float;

/// Log-probabilities are not taken for smaller than this, so that a token that one side excludes (`−∞`) leaves the other
/// divergences finite; no f32 logit comes near.
const LEAST_LOG: f64 = -1e4;
/// `q/p` is not taken for larger than `e` to this, which f64 still holds.
const LARGEST_LOG_RATIO: f64 = 700.0;
/// A rest of the student's below this has terms that f32 does not hold.
const SMALL_REST: f64 = 1e-30;
/// Terms that are added up in f32 before they go on in f64.
const PIECE: usize = 512;

/// What a teacher says about consecutive positions.
pub(crate) enum TeacherRows {
    /// Its logits, `[rows, vocab]`.
    Logits(Vec<f32>),
    /// Its likeliest tokens only, at the temperature of the loss.
    TopK(TopRows),
}

/// The likeliest tokens of consecutive positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TopRows {
    /// Tokens per position.
    pub(crate) k: usize,
    /// `[rows, k]`, the likeliest first.
    pub(crate) tokens: Vec<u32>,
    /// Their log-probabilities, `[rows, k]`.
    pub(crate) log_probs: Vec<f32>,
    /// The logarithm of what all other tokens have together, `[rows]`; `−∞` where there are none.
    pub(crate) log_rest: Vec<f32>,
}

impl TopRows {
    /// Rows of these rows.
    pub(crate) fn narrow(&self, rows: Range<usize>) -> Self {
        let at = rows.start * self.k..rows.end * self.k;
        Self {
            k: self.k,
            tokens: self.tokens[at.clone()].to_vec(),
            log_probs: self.log_probs[at].to_vec(),
            log_rest: self.log_rest[rows].to_vec(),
        }
    }

    /// Adds rows behind these.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.tokens.extend_from_slice(&other.tokens);
        self.log_probs.extend_from_slice(&other.log_probs);
        self.log_rest.extend_from_slice(&other.log_rest);
    }

    /// Adds the `k` likeliest tokens of a row of logits; of equally likely ones, those that come first.
    pub(crate) fn push(&mut self, logits: &[f32], inverse_temperature: f32) {
        let k = self.k.min(logits.len());
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let likelier =
            |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then_with(|| a.cmp(b));
        if k < order.len() {
            order.select_nth_unstable_by(k, likelier);
        }
        let (known, rest) = order.split_at_mut(k);
        known.sort_unstable_by(likelier);
        let log_sum = log_sum(logits, inverse_temperature);
        self.tokens.extend_from_slice(known);
        self.log_probs.extend(known.iter().map(|&t| logits[t as usize] * inverse_temperature - log_sum));
        // From the logits themselves: what `1 − Σ known` leaves of a small rest is rounding.
        let largest = rest.iter().map(|&t| logits[t as usize]).fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 =
            rest.iter().map(|&t| f64::from((logits[t as usize] - largest) * inverse_temperature).exp()).sum();
        let log_rest = f64::from(largest * inverse_temperature - log_sum) + sum.ln();
        self.log_rest.push(if rest.is_empty() { f32::NEG_INFINITY } else { log_rest as f32 });
    }
}

/// Gives a teacher's rows as they are needed.
pub(crate) type TeacherSource = Arc<dyn Fn(Range<usize>) -> Result<TeacherRows> + Send + Sync>;

/// The part of the loss that is knowledge distillation.
#[derive(Clone)]
pub(crate) struct Distil {
    pub(crate) weight: f32,
    pub(crate) divergence: Divergence,
    pub(crate) temperature: f32,
    /// How many of the teacher's tokens are told apart; all where absent.
    pub(crate) top_k: Option<usize>,
    pub(crate) teacher: TeacherSource,
}

/// `log Σ exp(z / T)`.
#[inline(always)]
pub(crate) fn log_sum(z: &[f32], inverse_temperature: f32) -> f32 {
    let largest = float::max(z);
    let sum = float::sum(z, |v| float::exp((v - largest) * inverse_temperature));
    largest * inverse_temperature + sum.ln()
}

impl Distil {
    /// The divergence of a row and its gradient towards the student's logits `z`.
    #[inline(always)]
    pub(crate) fn gradient(&self, z: &[f32], teacher: &TeacherRows, row: usize, grad: &mut [f32]) -> f64 {
        let inverse = 1.0 / self.temperature;
        match (teacher, self.top_k) {
            (TeacherRows::Logits(logits), None) => {
                self.dense(z, &logits[row * z.len()..(row + 1) * z.len()], grad)
            }
            (TeacherRows::Logits(logits), Some(k)) => {
                let mut top = TopRows { k, ..TopRows::default() };
                top.push(&logits[row * z.len()..(row + 1) * z.len()], inverse);
                self.coarse(z, &top.tokens, &top.log_probs, top.log_rest[0], grad)
            }
            (TeacherRows::TopK(top), _) => {
                let at = row * top.k..(row + 1) * top.k;
                self.coarse(z, &top.tokens[at.clone()], &top.log_probs[at], top.log_rest[row], grad)
            }
        }
    }

    /// Forward `KL(q‖p)`: `(p − q)/T`; reverse `KL(p‖q)`: `p (log p/q − KL)/T`; Jensen–Shannon with `m = (p + q)/2`:
    /// `p (log p/m − KL(p‖m))/2T`.
    #[inline(always)]
    fn dense(&self, z: &[f32], t: &[f32], grad: &mut [f32]) -> f64 {
        let inverse = 1.0 / self.temperature;
        let (student_sum, teacher_sum) = (log_sum(z, inverse), log_sum(t, inverse));
        let logs = |z: f32, t: f32| (z * inverse - student_sum, t * inverse - teacher_sum);
        match self.divergence {
            Divergence::ForwardKl => {
                let mut total = 0.0f64;
                for ((z, t), grad) in z.chunks(PIECE).zip(t.chunks(PIECE)).zip(grad.chunks_mut(PIECE)) {
                    let mut sum = 0.0f32;
                    for ((&z, &t), g) in z.iter().zip(t).zip(grad.iter_mut()) {
                        let (log_p, log_q) = logs(z, t);
                        let (p, q) = (float::exp(log_p), float::exp(log_q));
                        *g = (p - q) * inverse;
                        sum += q * (log_q - log_p);
                    }
                    total += f64::from(sum);
                }
                total
            }
            Divergence::ReverseKl => {
                let mut total = 0.0f64;
                for ((&z, &t), g) in z.iter().zip(t).zip(grad.iter_mut()) {
                    let (log_p, log_q) = logs(z, t);
                    *g = log_p - log_q;
                    total += f64::from(float::exp(log_p) * *g);
                }
                for (&z, g) in z.iter().zip(grad.iter_mut()) {
                    *g = float::exp(z * inverse - student_sum) * (*g - total as f32) * inverse;
                }
                total
            }
            Divergence::JensenShannon => {
                let (mut from_p, mut from_q) = (0.0f64, 0.0f64);
                for ((&z, &t), g) in z.iter().zip(t).zip(grad.iter_mut()) {
                    let (log_p, log_q) = logs(z, t);
                    let (p, q) = (float::exp(log_p), float::exp(log_q));
                    // log m around the larger of the two: neither may vanish first.
                    let (high, low) = if log_p > log_q { (log_p, log_q) } else { (log_q, log_p) };
                    let log_m = high + (0.5 * (1.0 + float::exp(low - high))).ln();
                    *g = log_p - log_m;
                    from_p += f64::from(p * *g);
                    from_q += f64::from(q * (log_q - log_m));
                }
                for (&z, g) in z.iter().zip(grad.iter_mut()) {
                    *g = 0.5 * float::exp(z * inverse - student_sum) * (*g - from_p as f32) * inverse;
                }
                0.5 * (from_p + from_q)
            }
        }
    }

    /// The divergence over the teacher's likeliest tokens and one class of all others: what can be said when the rest of
    /// its distribution is not known. By the data-processing inequality it is never above the whole divergence, and with
    /// every token known it is the whole divergence.
    #[inline(always)]
    fn coarse(&self, z: &[f32], tokens: &[u32], log_probs: &[f32], log_rest: f32, grad: &mut [f32]) -> f64 {
        let inverse = 1.0 / self.temperature;
        let student_sum = log_sum(z, inverse);
        for (g, &z) in grad.iter_mut().zip(z) {
            *g = float::exp(z * inverse - student_sum);
        }
        let (mut divergence, mut mean) = (0.0, 0.0);
        let mut class = |log_p: f64, log_q: f64| {
            let (value, slope) = self.term(log_p.max(LEAST_LOG), log_q.max(LEAST_LOG));
            divergence += value;
            mean += log_p.max(LEAST_LOG).exp() * slope;
            slope
        };
        let mut slopes = Vec::with_capacity(tokens.len());
        for (&token, &log_q) in tokens.iter().zip(log_probs) {
            slopes.push(class(f64::from(z[token as usize] * inverse - student_sum), f64::from(log_q)));
            grad[token as usize] = 0.0;
        }
        if tokens.len() < z.len() {
            // What is left in `grad` is the rest.
            let rest: f64 = grad.chunks(PIECE).map(|piece| f64::from(float::sum(piece, |p| p))).sum();
            if rest > SMALL_REST {
                let slope = class(rest.ln(), f64::from(log_rest));
                let factor = (slope - mean) as f32 * inverse;
                for g in grad.iter_mut() {
                    *g *= factor;
                }
            } else {
                let logs = rest_logs(z, tokens, inverse, student_sum);
                let slope = class(log_sum_exp(&logs), f64::from(log_rest));
                for (g, log_p) in grad.iter_mut().zip(logs) {
                    *g = (log_p.exp() * (slope - mean)) as f32 * inverse;
                }
            }
        }
        for (&token, slope) in tokens.iter().zip(slopes) {
            let p = f64::from(z[token as usize] * inverse - student_sum).exp();
            grad[token as usize] = (p * (slope - mean)) as f32 * inverse;
        }
        divergence
    }

    /// A class's part of the divergence, and its slope towards the student's probability.
    fn term(&self, log_p: f64, log_q: f64) -> (f64, f64) {
        let (p, q) = (log_p.exp(), log_q.exp());
        match self.divergence {
            Divergence::ForwardKl => (q * (log_q - log_p), -(log_q - log_p).min(LARGEST_LOG_RATIO).exp()),
            Divergence::ReverseKl => (p * (log_p - log_q), log_p - log_q),
            Divergence::JensenShannon => {
                let (high, low) = if log_p > log_q { (log_p, log_q) } else { (log_q, log_p) };
                let log_m = high + (0.5 * (1.0 + (low - high).exp())).ln();
                (0.5 * (p * (log_p - log_m) + q * (log_q - log_m)), 0.5 * (log_p - log_m))
            }
        }
    }
}

/// The log-probabilities of all tokens but the known ones, for which it is `−∞`.
fn rest_logs(z: &[f32], known: &[u32], inverse_temperature: f32, log_sum: f32) -> Vec<f64> {
    let mut logs: Vec<f64> = z.iter().map(|&z| f64::from(z * inverse_temperature - log_sum)).collect();
    for &token in known {
        logs[token as usize] = f64::NEG_INFINITY;
    }
    logs
}

fn log_sum_exp(logs: &[f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::input;

    const VOCAB: usize = 40;
    const KINDS: [Divergence; 3] = [Divergence::ForwardKl, Divergence::ReverseKl, Divergence::JensenShannon];
    /// f32 exponentials and logarithms of forty terms of magnitude one.
    const ROUNDING: f32 = 2e-6;

    fn rows() -> (Vec<f32>, Vec<f32>) {
        let row = |seed| crate::ops::to_vec(&(input(&[VOCAB], seed) * 3.0).unwrap()).unwrap();
        (row(0), row(1))
    }

    fn run(
        divergence: Divergence,
        temperature: f32,
        top_k: Option<usize>,
        z: &[f32],
        t: &[f32],
    ) -> (f64, Vec<f32>) {
        let teacher: TeacherSource = Arc::new(|_| Ok(TeacherRows::Logits(Vec::new())));
        let distil = Distil { weight: 1.0, divergence, temperature, top_k, teacher };
        let mut grad = vec![0.0; z.len()];
        let value = distil.gradient(z, &TeacherRows::Logits(t.to_vec()), 0, &mut grad);
        (value, grad)
    }

    #[test]
    fn all_tokens_known_is_the_whole_divergence() {
        let (z, t) = rows();
        for kind in KINDS {
            for temperature in [0.5, 1.0, 3.0] {
                let (whole, whole_grad) = run(kind, temperature, None, &z, &t);
                let (coarse, coarse_grad) = run(kind, temperature, Some(VOCAB), &z, &t);
                assert!(whole > 1e-2, "{kind:?}: {whole}");
                assert!((whole - coarse).abs() < f64::from(ROUNDING) * whole.max(1.0), "{whole}, {coarse}");
                for (a, b) in whole_grad.iter().zip(coarse_grad) {
                    assert!((a - b).abs() < ROUNDING, "{kind:?}: {a}, {b}");
                }
            }
        }
    }

    #[test]
    fn more_known_tokens_see_more_of_the_divergence() {
        let (z, t) = rows();
        for kind in KINDS {
            let mut last = 0.0;
            for k in [1, 2, 5, 20, VOCAB] {
                let (value, _) = run(kind, 2.0, Some(k), &z, &t);
                assert!(value > last - f64::from(ROUNDING), "{kind:?}, {k}: {value} after {last}");
                last = value;
            }
        }
    }

    /// The classes of one row, in f64 from the definition.
    #[test]
    fn likeliest_tokens_and_the_rest() {
        let (_, mut t) = rows();
        (t[7], t[3]) = (9.0, 9.0);
        let mut top = TopRows { k: 3, ..TopRows::default() };
        top.push(&t, 0.5);
        let total: f64 = t.iter().map(|&v| f64::from(0.5 * v).exp()).sum();
        assert_eq!(top.tokens[..2], [3, 7]);
        let mut rest = 1.0;
        for (&token, &log_prob) in top.tokens.iter().zip(&top.log_probs) {
            let wanted = f64::from(0.5 * t[token as usize]).exp() / total;
            assert!((f64::from(log_prob).exp() - wanted).abs() < f64::from(ROUNDING));
            rest -= wanted;
        }
        assert!((f64::from(top.log_rest[0]).exp() - rest).abs() < f64::from(ROUNDING));
        assert_eq!(top.narrow(0..1), top);
    }

    /// Distributions so sharp that f32 sees only one token still give numbers.
    #[test]
    fn sharp_distributions_stay_finite() {
        let sharp = |at: usize| (0..VOCAB).map(|i| if i == at { 300.0 } else { 0.0 }).collect::<Vec<f32>>();
        for kind in KINDS {
            for k in [1, 5, VOCAB] {
                let (value, grad) = run(kind, 1.0, Some(k), &sharp(4), &sharp(9));
                assert!(value.is_finite() && value > 0.1, "{kind:?}, {k}: {value}");
                assert!(grad.iter().all(|g| g.is_finite()), "{kind:?}, {k}");
                // The others have no slope where the student is certain.
                if kind == Divergence::ForwardKl {
                    assert!((grad[9] + 1.0).abs() < ROUNDING && (grad[4] - 1.0).abs() < ROUNDING, "{k}");
                }
            }
        }
    }
}
