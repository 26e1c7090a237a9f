//! What a learning curve says about going on.

use serde::{Deserialize, Serialize};

/// Points that the curve is thinned to, evenly spaced in the logarithm of the step.
const BINS: usize = 40;
/// A gain from doubling the steps that is worth having, as a share of the loss.
const WORTH: f64 = 0.01;

/// A power law `loss(t) = floor + scale · t^(−exponent)` fitted to the training loss (the form of Hestness et al. 2017,
/// 1712.00409), and what it foretells.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The loss that the fit tends to.
    pub floor: f64,
    /// The factor of the part that goes away.
    pub scale: f64,
    /// How fast it goes.
    pub exponent: f64,
    /// The root mean square of what the fit leaves over.
    pub residual: f64,
    /// The loss at the last step, by the fit.
    pub last: f64,
    /// The loss after twice the steps, by the fit.
    pub doubled: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// Whether it pays to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Twice the steps would gain at least one per cent of the loss, and more than the fit's own uncertainty: more steps or
    /// data pay.
    StillLearning,
    /// They would not: change the method or the model.
    Flat,
}

impl LearningCurve {
    /// Fits the losses of steps `first..`, or nothing where there are fewer than 20 of them.
    ///
    /// The losses are averaged in 40 bins that are even in the logarithm of the step; for every exponent from 0.025 to 2 floor
    /// and scale follow by least squares, neither of them below zero, and the exponent that leaves the least error is kept.
    pub fn fit(losses: &[(usize, f64)], first: usize) -> Option<Self> {
        let points = thin(losses, first)?;
        let last_step = losses.last()?.0 as f64 + 1.0;
        let mut best: Option<(f64, [f64; 3])> = None;
        for step in 1..=80 {
            let exponent = f64::from(step) * 0.025;
            let Some((floor, scale)) = line(&points, exponent) else { continue };
            let error =
                points.iter().map(|(t, l)| (floor + scale * t.powf(-exponent) - l).powi(2)).sum::<f64>();
            if best.is_none_or(|b| error < b.0) {
                best = Some((error, [floor, scale, exponent]));
            }
        }
        let (error, [floor, scale, exponent]) = best?;
        let residual = (error / points.len() as f64).sqrt();
        let at = |t: f64| floor + scale * t.powf(-exponent);
        let (last, doubled) = (at(last_step), at(2.0 * last_step));
        let gain = last - doubled;
        let uncertain = 2.0 * residual / (points.len() as f64).sqrt();
        let verdict =
            if gain > (WORTH * last).max(uncertain) { Verdict::StillLearning } else { Verdict::Flat };
        Some(Self { floor, scale, exponent, residual, last, doubled, verdict })
    }

    /// One line for people.
    pub fn sentence(&self) -> String {
        let says = match self.verdict {
            Verdict::StillLearning => "still learning: more steps or data pay",
            Verdict::Flat => "flat: change the method or the model rather than the number of steps",
        };
        format!(
            "{says} (fit {:.4} + {:.3}·t^-{:.3}, residual {:.4}; twice the steps: {:.4} -> {:.4})",
            self.floor, self.scale, self.exponent, self.residual, self.last, self.doubled
        )
    }
}

/// Means over bins that are even in the logarithm of the step.
fn thin(losses: &[(usize, f64)], first: usize) -> Option<Vec<(f64, f64)>> {
    let used: Vec<(f64, f64)> = losses
        .iter()
        .filter(|(step, loss)| *step >= first && loss.is_finite())
        .map(|(step, loss)| (*step as f64 + 1.0, *loss))
        .collect();
    if used.len() < 20 {
        return None;
    }
    let (low, high) = (used.first()?.0.ln(), used.last()?.0.ln());
    let mut bins = vec![(0.0, 0.0, 0.0); BINS];
    for (t, loss) in used {
        let at = ((t.ln() - low) / (high - low).max(1e-9) * BINS as f64) as usize;
        let bin = &mut bins[at.min(BINS - 1)];
        *bin = (bin.0 + 1.0, bin.1 + t.ln(), bin.2 + loss);
    }
    let points: Vec<(f64, f64)> =
        bins.into_iter().filter(|b| b.0 > 0.0).map(|(n, t, l)| ((t / n).exp(), l / n)).collect();
    (points.len() >= 5).then_some(points)
}

/// Least squares of `loss = floor + scale · t^(−exponent)` in floor and scale.
fn line(points: &[(f64, f64)], exponent: f64) -> Option<(f64, f64)> {
    let n = points.len() as f64;
    let x: Vec<f64> = points.iter().map(|(t, _)| t.powf(-exponent)).collect();
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let (mut cross, mut square) = (0.0, 0.0);
    for (x, (_, y)) in x.iter().zip(points) {
        cross += (x - mean_x) * (y - mean_y);
        square += (x - mean_x) * (x - mean_x);
    }
    if square < 1e-300 {
        return None;
    }
    // A curve that rises, or a floor below zero, is no learning curve: the best without is at the bound.
    let scale = (cross / square).max(0.0);
    let floor = mean_y - scale * mean_x;
    if floor >= 0.0 {
        return Some((floor, scale));
    }
    let products = x.iter().zip(points).map(|(x, (_, y))| x * y).sum::<f64>();
    Some((0.0, products / x.iter().map(|x| x * x).sum::<f64>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(steps: usize, loss: impl Fn(f64) -> f64) -> LearningCurve {
        let noise = |i: usize| ((i * 7919) % 101) as f64 / 101.0 - 0.5;
        let losses: Vec<_> = (0..steps).map(|i| (i, loss(i as f64 + 1.0) + 0.05 * noise(i))).collect();
        LearningCurve::fit(&losses, 10).unwrap()
    }

    #[test]
    fn a_power_law_is_found_again() {
        let fit = curve(2000, |t| 1.5 + 8.0 * t.powf(-0.5));
        assert!((fit.floor - 1.5).abs() < 0.05 && (fit.exponent - 0.5).abs() < 0.06, "{fit:?}");
        assert_eq!(fit.verdict, Verdict::StillLearning);
        assert!(fit.residual < 0.03);
    }

    /// A curve that tends to nothing: the floor stays at zero and the scale is fitted without it.
    #[test]
    fn a_power_law_without_a_floor_is_found_again() {
        let fit = curve(2000, |t| 6.0 * t.powf(-0.15));
        assert!(fit.floor < 0.2 && (fit.exponent - 0.15).abs() < 0.03, "{fit:?}");
        assert!(fit.residual < 0.03 && fit.verdict == Verdict::StillLearning);
    }

    #[test]
    fn a_level_curve_is_flat() {
        assert_eq!(curve(2000, |_| 2.0).verdict, Verdict::Flat);
        assert_eq!(curve(2000, |t| 2.0 + 3.0 * t.powf(-1.5)).verdict, Verdict::Flat);
    }

    #[test]
    fn too_few_points_say_nothing() {
        assert!(LearningCurve::fit(&[(0, 1.0), (1, 0.9)], 0).is_none());
    }
}
