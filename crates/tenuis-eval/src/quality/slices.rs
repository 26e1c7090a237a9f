//! The figures on parts of a text.

use super::score::Score;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parts that windows and predictions are divided into.
const PARTS: usize = 4;

/// The figures on a part of the text's predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TextSlice {
    /// What it holds.
    pub name: String,
    /// Predictions in it.
    pub predictions: usize,
    /// `exp(mean NLL)`.
    pub perplexity: f64,
    /// Mean divergence from the baseline in nats.
    pub kl_mean: f64,
    /// Share of predictions that agree with the baseline's.
    pub top1_agreement: f64,
}

/// Divides predictions twice: by their position in the window, in quarters (what a long context loses), and by how likely the
/// *baseline* found the true token, in quarters (what the rare loses: compression harms what a model barely knows first; Hooker
/// et al. 2019, arXiv 1911.05248). The parts are the same for every model.
pub(super) fn slices(scores: &[Score], reference: &[Score], per_window: usize) -> Vec<TextSlice> {
    let mut found = Vec::with_capacity(2 * PARTS);
    if per_window >= PARTS {
        for part in 0..PARTS {
            let positions = part * per_window / PARTS..(part + 1) * per_window / PARTS;
            let name = format!("positions {} to {}", positions.start + 1, positions.end);
            let within = scores.iter().filter(|score| positions.contains(&(score.position - 1)));
            found.extend(slice(name, within));
        }
    }
    let mut order: Vec<usize> = (0..reference.len()).collect();
    order.sort_by(|&a, &b| reference[a].nll.total_cmp(&reference[b].nll).then(a.cmp(&b)));
    let names = ["easiest quarter", "second quarter", "third quarter", "hardest quarter"];
    for (part, name) in names.into_iter().enumerate() {
        let chosen = &order[part * order.len() / PARTS..(part + 1) * order.len() / PARTS];
        found.extend(slice(name.to_owned(), chosen.iter().map(|&i| &scores[i])));
    }
    found
}

fn slice<'a>(name: String, scores: impl Iterator<Item = &'a Score>) -> Option<TextSlice> {
    let (mut predictions, mut nll, mut kl, mut agreed) = (0, 0.0, 0.0, 0);
    for score in scores {
        predictions += 1;
        nll += score.nll;
        kl += f64::from(score.kl);
        agreed += usize::from(score.agrees);
    }
    let n = predictions as f64;
    (predictions > 0).then(|| TextSlice {
        name,
        predictions,
        perplexity: (nll / n).exp(),
        kl_mean: kl / n,
        top1_agreement: f64::from(u32::try_from(agreed).unwrap_or(u32::MAX)) / n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_what_they_say() {
        // Two windows of five tokens; the baseline finds later tokens less likely.
        let score = |nll: f64, position| Score { nll, kl: nll as f32, agrees: nll < 2.5, position };
        let reference: Vec<Score> = (0..8).map(|i| score(f64::from(i % 4), i as usize % 4 + 1)).collect();
        let candidate: Vec<Score> = reference.iter().map(|s| score(s.nll + 1.0, s.position)).collect();
        let found = slices(&candidate, &reference, 4);
        assert_eq!(found.len(), 8);
        assert_eq!((found[0].name.as_str(), found[0].predictions), ("positions 1 to 1", 2));
        assert!((found[3].perplexity - 4f64.exp()).abs() < 1e-9);
        let hardest = &found[7];
        assert_eq!((hardest.name.as_str(), hardest.predictions), ("hardest quarter", 2));
        assert!((hardest.kl_mean - 4.0).abs() < 1e-6 && hardest.top1_agreement == 0.0);
        assert_eq!(found[4].top1_agreement, 1.0);
    }

    #[test]
    fn few_predictions_have_fewer_parts() {
        let one = [Score { nll: 1.0, kl: 0.0, agrees: true, position: 1 }];
        let found = slices(&one, &one, 1);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].predictions, 1);
    }
}
