//! The search for the scale of the input channels.

use super::AwqConfig;
use crate::config::FallbackPolicy;
use crate::error::QuantError;
use crate::report::FallbackReason;

/// The smallest scale before scales are normalised, as in the reference.
const LEAST: f64 = 1e-4;

/// What [`search_scale`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundScale {
    /// What the input is divided by, `[in_features]`; each is an f32.
    pub scale: Vec<f64>,
    /// The exponent α.
    pub ratio: f64,
    /// The loss of every candidate.
    pub losses: Vec<f64>,
    /// Why the scale is 1 everywhere although it was searched for.
    pub fallback: Option<FallbackReason>,
}

impl FoundScale {
    /// No scale.
    pub fn ones(in_features: usize) -> Self {
        Self { scale: vec![1.0; in_features], ratio: 0.0, losses: Vec::new(), fallback: None }
    }
}

/// The scale for an exponent: `mean|x|^α`, at least 10⁻⁴, over `√(max·min)` of itself, rounded to f32: what a weight is
/// multiplied by is what its input is divided by.
///
/// ```
/// let scale = tenuis_quant::awq_scale(&[4.0, 1.0, 16.0], 0.5);
/// assert_eq!(scale, [1.0, 0.5, 2.0]);
/// ```
pub fn awq_scale(mean_abs: &[f64], ratio: f64) -> Vec<f64> {
    let raw: Vec<f64> = mean_abs.iter().map(|mean| mean.powf(ratio).max(LEAST)).collect();
    let (least, most) = raw.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &s| (a.min(s), b.max(s)));
    let middle = (least * most).sqrt();
    raw.into_iter().map(|s| f64::from((s / middle) as f32)).collect()
}

/// Gives channels that come from one channel of the producer the mean of their magnitudes, so that the scale can be
/// folded into it: query heads that share a value head, say.
///
/// # Panics
/// If the lengths differ.
pub fn share_channels(mean_abs: &mut [f64], producer: &[usize]) {
    assert_eq!(mean_abs.len(), producer.len());
    let mut sums = vec![(0.0, 0u32); producer.iter().max().map_or(0, |most| most + 1)];
    for (mean, &channel) in mean_abs.iter().zip(producer) {
        sums[channel].0 += mean;
        sums[channel].1 += 1;
    }
    for (mean, &channel) in mean_abs.iter_mut().zip(producer) {
        *mean = sums[channel].0 / f64::from(sums[channel].1);
    }
}

/// Tries `α = i / grid` for `i < grid` and keeps the first of the least losses.
///
/// `loss` rounds all weights that share the input, multiplied by the scale that it is given, and measures the output of
/// their parent module.
///
/// # Errors
/// Whatever `loss` reports, and [`QuantError::NoAwq`] where no candidate has a finite loss and the configuration forbids
/// to fall back.
pub fn search_scale<E: From<QuantError>>(
    mean_abs: &[f64],
    config: &AwqConfig,
    mut loss: impl FnMut(&[f64]) -> Result<f64, E>,
) -> Result<FoundScale, E> {
    let give_up = |reason: FallbackReason, losses: Vec<f64>| match config.fallback {
        FallbackPolicy::Rtn => {
            Ok(FoundScale { losses, fallback: Some(reason), ..FoundScale::ones(mean_abs.len()) })
        }
        FallbackPolicy::Fail => Err(QuantError::NoAwq(reason).into()),
    };
    if let Some(channel) = mean_abs.iter().position(|mean| !mean.is_finite()) {
        return give_up(FallbackReason::NonFiniteActivations { channel }, Vec::new());
    }
    let mut best: Option<(f64, f64, Vec<f64>)> = None;
    let mut losses = Vec::with_capacity(config.grid as usize);
    for step in 0..config.grid {
        let ratio = f64::from(step) / f64::from(config.grid);
        let scale = awq_scale(mean_abs, ratio);
        let loss = loss(&scale)?;
        losses.push(loss);
        if loss.is_finite() && best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, ratio, scale));
        }
    }
    match best {
        Some((_, ratio, scale)) => Ok(FoundScale { scale, ratio, losses, fallback: None }),
        None => give_up(FallbackReason::NonFiniteSearch { candidates: config.grid }, losses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_least_loss_wins_and_what_is_not_finite_is_passed_over() {
        let mut losses = [3.0, f64::NAN, 2.0, 2.0, f64::INFINITY].into_iter();
        let config = AwqConfig { grid: 5, ..AwqConfig::default() };
        let found = search_scale::<QuantError>(&[1.0, 4.0], &config, |_| Ok(losses.next().unwrap())).unwrap();
        assert_eq!((found.ratio, found.fallback, found.losses.len()), (0.4, None, 5));
        assert_eq!(found.scale, awq_scale(&[1.0, 4.0], 0.4));
    }

    #[test]
    fn a_search_without_a_finite_loss_is_a_recorded_fallback_or_an_error() {
        let mut config = AwqConfig::default();
        let nan = |_: &[f64]| Ok::<f64, QuantError>(f64::NAN);
        let found = search_scale(&[1.0, 4.0], &config, nan).unwrap();
        assert_eq!(found.fallback, Some(FallbackReason::NonFiniteSearch { candidates: 20 }));
        assert_eq!(found.scale, [1.0, 1.0]);
        let found = search_scale(&[1.0, f64::NAN], &config, nan).unwrap();
        assert_eq!(found.fallback, Some(FallbackReason::NonFiniteActivations { channel: 1 }));
        config.fallback = FallbackPolicy::Fail;
        let error = search_scale(&[1.0, f64::INFINITY], &config, nan).unwrap_err();
        assert!(matches!(error, QuantError::NoAwq(FallbackReason::NonFiniteActivations { channel: 1 })));
    }

    #[test]
    fn shared_channels_get_one_scale() {
        let mut mean = [1.0, 2.0, 3.0, 6.0];
        share_channels(&mut mean, &[7, 0, 7, 0]);
        assert_eq!(mean, [2.0, 4.0, 2.0, 4.0]);
    }

    /// A channel that is never active would make every other one infinite.
    #[test]
    fn a_silent_channel_is_harmless() {
        let scale = awq_scale(&[0.0, 1.0, 2.0], 0.9);
        assert!(scale.iter().all(|s| s.is_finite() && *s > 0.0), "{scale:?}");
    }
}
