//! Which units to keep.

use super::config::{UnitScope, WidthConfig};
use super::error::StructuredError;

/// Chooses the units of each layer that are kept, in ascending order, by their scores.
///
/// `scores[i]` belongs to layer `layers[i]`. In the scope of a layer, layer `i` with `n` units keeps its
/// `keep`, or `(1 − ratio)·n`, best ones. In the global scope, the scores of each layer are standardised, each layer keeps
/// its best `round_to` units, and of the others the best of all layers are kept until there are as many in all. Numbers are
/// rounded to the nearest multiple of `round_to`, layer by layer, so the sum may differ a little from what was asked for.
/// Of equal scores the earlier layer and unit is kept.
///
/// ```
/// use tenuis_prune::structured::{WidthConfig, select_units};
/// let mut config = WidthConfig::default();
/// config.keep = Some(2);
/// let kept = select_units(&[0], &[vec![0.1, 0.9, 0.5, 0.7]], &config)?;
/// assert_eq!(kept, [[1, 3]]);
/// # Ok::<(), tenuis_prune::structured::StructuredError>(())
/// ```
///
/// # Errors
/// [`StructuredError::Everything`], [`StructuredError::Nothing`], [`StructuredError::TooFew`] where the numbers do not
/// work out, [`StructuredError::NonFinite`] for a score that is not finite, [`StructuredError::NoLayers`], and as
/// [`WidthConfig::validate`].
pub fn select_units(
    layers: &[usize],
    scores: &[Vec<f64>],
    config: &WidthConfig,
) -> Result<Vec<Vec<usize>>, StructuredError> {
    config.validate()?;
    if layers.is_empty() {
        return Err(StructuredError::NoLayers);
    }
    if layers.len() != scores.len() {
        return Err(StructuredError::Length { what: "scores", expected: layers.len(), found: scores.len() });
    }
    for (&layer, scores) in layers.iter().zip(scores) {
        if let Some((unit, &value)) = scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
            return Err(StructuredError::NonFinite { layer, unit, value });
        }
        match config.keep {
            Some(keep) if keep > scores.len() => {
                return Err(StructuredError::TooFew { layer, units: scores.len(), keep });
            }
            _ => {}
        }
    }
    let wanted = |units: usize| config.keep.map_or(units as f64 * config.kept_share(), |keep| keep as f64);
    let counts: Vec<f64> = match config.scope {
        UnitScope::Layer => scores.iter().map(|scores| wanted(scores.len())).collect(),
        UnitScope::Global => {
            let total: f64 = scores.iter().map(|scores| wanted(scores.len())).sum();
            global_counts(scores, total, config.round_to)
        }
    };
    let mut kept = Vec::with_capacity(layers.len());
    for ((&layer, scores), wanted) in layers.iter().zip(scores).zip(counts) {
        let count = rounded(wanted, scores.len(), config.round_to);
        if count == 0 {
            let (units, round_to) = (scores.len(), config.round_to);
            return Err(StructuredError::Everything { layer, units, wanted, round_to });
        }
        kept.push(best(scores, count));
    }
    if kept.iter().zip(scores).all(|(kept, scores)| kept.len() == scores.len()) {
        return Err(StructuredError::Nothing { units: scores[0].len() });
    }
    Ok(kept)
}

/// The nearest multiple, but never more than there are.
fn rounded(wanted: f64, units: usize, round_to: usize) -> usize {
    // A share of a whole number may lie a bit beside it.
    let multiple = (wanted / round_to as f64 + 1e-9).round() as usize * round_to;
    multiple.min(units)
}

/// How many units each layer has among the best of all.
fn global_counts(scores: &[Vec<f64>], total: f64, round_to: usize) -> Vec<f64> {
    let mut counts: Vec<usize> = scores.iter().map(|scores| scores.len().min(round_to)).collect();
    let mut rest: Vec<(f64, usize)> = Vec::new();
    for (layer, scores) in scores.iter().enumerate() {
        let standard = standardised(scores);
        let order = order(&standard);
        rest.extend(order.into_iter().skip(counts[layer]).map(|unit| (standard[unit], layer)));
    }
    // Stable: of equal scores the earlier layer comes first.
    rest.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total = (total + 1e-9).round() as usize;
    let missing = total.saturating_sub(counts.iter().sum());
    for (_, layer) in rest.into_iter().take(missing) {
        counts[layer] += 1;
    }
    counts.into_iter().map(|count| count as f64).collect()
}

fn standardised(scores: &[f64]) -> Vec<f64> {
    let count = scores.len().max(1) as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count).sqrt();
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    scores.iter().map(|s| (s - mean) * scale).collect()
}

/// Units from the best to the worst.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// The best `count` units, in ascending order.
pub(super) fn best(scores: &[f64], count: usize) -> Vec<usize> {
    let mut best = order(scores);
    best.truncate(count);
    best.sort_unstable();
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut WidthConfig)) -> WidthConfig {
        let mut config = WidthConfig::default();
        change(&mut config);
        config
    }

    fn rising(units: usize) -> Vec<f64> {
        (0..units).map(|u| u as f64).collect()
    }

    #[test]
    fn a_layer_keeps_its_best_rounded_to_a_multiple() {
        let of = |units, ratio, round_to| {
            let config = config(|c| (c.ratio, c.round_to) = (Some(ratio), round_to));
            select_units(&[0], &[rising(units)], &config).map(|kept| kept[0].len())
        };
        assert_eq!(of(10, 0.3, 1), Ok(7));
        assert_eq!(of(352, 0.3, 32), Ok(256));
        assert_eq!(of(352, 0.1, 32), Ok(320));
        assert_eq!(of(4, 0.5, 1), Ok(2));
        let nothing = of(2, 0.1, 1);
        assert_eq!(nothing, Err(StructuredError::Nothing { units: 2 }));
        assert!(matches!(of(4, 0.9, 1), Err(StructuredError::Everything { layer: 0, units: 4, .. })));
        assert!(matches!(of(16, 0.9, 8), Err(StructuredError::Everything { round_to: 8, .. })));
        let default = select_units(&[0], &[rising(10)], &WidthConfig::default()).unwrap();
        assert_eq!(default, [[2, 3, 4, 5, 6, 7, 8, 9]]);
    }

    #[test]
    fn a_global_ranking_gives_each_layer_its_due() {
        // Of eight units four stay. The first layer has one that stands out, the second three; each keeps at least one.
        let scores = vec![vec![1.0, 1.0, 1.0, 9.0], vec![500.0, 500.0, 500.0, 0.0]];
        let config = config(|c| (c.ratio, c.scope) = (Some(0.5), UnitScope::Global));
        let kept = select_units(&[0, 1], &scores, &config).unwrap();
        assert_eq!(kept, [vec![3], vec![0, 1, 2]]);
        // Equal scores: the earlier ones stay.
        let flat = vec![vec![1.0; 4], vec![1.0; 4]];
        assert_eq!(select_units(&[0, 1], &flat, &config).unwrap(), [vec![0, 1, 2], vec![0]]);
    }

    #[test]
    fn bad_wishes_are_named() {
        let error = |c: WidthConfig| select_units(&[7], &[rising(4)], &c).unwrap_err();
        let ratio = error(config(|c| c.ratio = Some(1.0)));
        assert_eq!(ratio.to_string(), "ratio is 1, but must be a number between 0 and 1, neither of them");
        assert!(matches!(error(config(|c| c.ratio = Some(f64::NAN))), StructuredError::Option { .. }));
        let few = error(config(|c| c.keep = Some(5)));
        assert_eq!(few, StructuredError::TooFew { layer: 7, units: 4, keep: 5 });
        assert!(matches!(
            error(config(|c| c.keep = Some(0))),
            StructuredError::Option { option: "keep", .. }
        ));
        let both = error(config(|c| (c.keep, c.ratio) = (Some(1), Some(0.5))));
        assert_eq!(both, StructuredError::Both { first: "ratio", second: "keep" });
        assert!(
            error(config(|c| (c.keep, c.round_to) = (Some(3), 2)))
                .to_string()
                .contains("multiple of round_to")
        );
        let nan = select_units(&[7], &[vec![0.0, f64::NAN]], &WidthConfig::default());
        assert!(matches!(nan, Err(StructuredError::NonFinite { layer: 7, unit: 1, .. })));
        assert_eq!(select_units(&[], &[], &WidthConfig::default()), Err(StructuredError::NoLayers));
        let layers = config(|c| c.layers = Some(vec![2, 0]));
        assert_eq!(layers.chosen_layers(3), Ok(vec![0, 2]));
        assert_eq!(layers.chosen_layers(2), Err(StructuredError::NoLayer { layer: 2, layers: 2 }));
    }
}
