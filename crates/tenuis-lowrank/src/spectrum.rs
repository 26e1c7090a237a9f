//! Singular values and the rank that a choice makes of them.

use crate::config::{Energy, Keep, RankChoice, Worth};
use crate::error::LowRankError;

/// The squared singular values of a matrix as far as they are known, largest first, and the sum of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// `σᵢ²`.
    pub squared: Vec<f64>,
    /// `Σ σᵢ²` over all of them: the squared Frobenius norm.
    pub total: f64,
}

impl Spectrum {
    /// The energy that is lost with everything behind `rank`.
    pub fn loss(&self, rank: usize) -> f64 {
        if rank >= self.squared.len() {
            // Sums of different order: what is left of them is no energy.
            return (self.total - self.squared.iter().sum::<f64>()).max(0.0);
        }
        let behind: f64 = self.squared[rank..].iter().rev().sum();
        let unknown = (self.total - self.squared.iter().sum::<f64>()).max(0.0);
        behind + unknown
    }
}

/// The rank that needs no singular values, or `None` where a choice needs them.
pub(crate) fn rank_of_shape(choice: RankChoice, shape: [usize; 2]) -> Result<Option<usize>, LowRankError> {
    let [out_features, in_features] = shape;
    let most = out_features.min(in_features);
    match choice {
        RankChoice::Fixed(rank) if rank > most => Err(LowRankError::RankOutOfRange { rank, most, shape }),
        RankChoice::Fixed(rank) => Ok(Some(rank)),
        RankChoice::Keep(Keep { keep }) => {
            let weights = (out_features * in_features) as f64;
            let per_rank = (out_features + in_features) as f64;
            match (keep * weights / per_rank) as usize {
                0 => Err(LowRankError::RemovesEverything { keep, least: per_rank / weights, shape }),
                rank => Ok(Some(rank.min(most))),
            }
        }
        RankChoice::Energy(_) | RankChoice::Worth(_) => Ok(None),
    }
}

/// The rank that a choice makes of all singular values; at least 1.
pub(crate) fn rank_of_spectrum(choice: RankChoice, shape: [usize; 2], spectrum: &Spectrum) -> usize {
    let most = shape[0].min(shape[1]).max(1);
    let rank = match choice {
        RankChoice::Energy(Energy { energy }) => {
            let mut kept = 0.0;
            let enough = spectrum.squared.iter().position(|value| {
                kept += value;
                kept >= energy * spectrum.total
            });
            enough.map_or(most, |last| last + 1)
        }
        RankChoice::Worth(Worth { loss_per_weight }) => {
            let price = loss_per_weight * (shape[0] + shape[1]) as f64 * spectrum.total;
            spectrum.squared.iter().take_while(|&&value| value >= price && value > 0.0).count()
        }
        RankChoice::Fixed(_) | RankChoice::Keep(_) => most,
    };
    rank.clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(loss_per_weight: f64) -> RankChoice {
        RankChoice::Worth(Worth { loss_per_weight })
    }

    #[test]
    fn ranks_by_their_definition() {
        // ⌊0.8·4096²/8192⌋, as in the paper.
        assert_eq!(rank_of_shape(RankChoice::keep(0.8), [4096, 4096]).unwrap(), Some(1638));
        assert_eq!(rank_of_shape(RankChoice::keep(1.0), [4, 4]).unwrap(), Some(2));
        assert_eq!(rank_of_shape(RankChoice::Fixed(3), [4, 3]).unwrap(), Some(3));
        assert_eq!(rank_of_shape(RankChoice::energy(0.5), [4, 3]).unwrap(), None);
        let spectrum = Spectrum { squared: vec![8.0, 4.0, 3.0, 1.0], total: 16.0 };
        let by = |choice| rank_of_spectrum(choice, [4, 6], &spectrum);
        assert_eq!([0.5, 0.51, 0.75, 0.9, 1.0].map(|e| by(RankChoice::energy(e))), [1, 2, 2, 3, 4]);
        // 4/16 of the energy for 10 weights.
        assert_eq!([0.025, 0.0251, 0.001, 1.0].map(|p| by(worth(p))), [2, 1, 4, 1]);
        assert_eq!([0, 1, 2, 3, 4].map(|rank| spectrum.loss(rank)), [16.0, 8.0, 4.0, 1.0, 0.0]);
        let partly = Spectrum { squared: vec![8.0, 4.0], total: 16.0 };
        assert_eq!([1, 2].map(|rank| partly.loss(rank)), [8.0, 4.0]);
    }

    #[test]
    fn ranks_that_cannot_be_are_refused() {
        let error = rank_of_shape(RankChoice::Fixed(5), [8, 4]).unwrap_err();
        assert!(matches!(error, LowRankError::RankOutOfRange { rank: 5, most: 4, shape: [8, 4] }));
        let error = rank_of_shape(RankChoice::keep(0.1), [8, 8]).unwrap_err();
        assert!(matches!(error, LowRankError::RemovesEverything { .. }), "{error}");
        assert!(error.to_string().contains("at least 0.25"), "{error}");
    }
}
