//! Which blocks to remove.

use super::error::StructuredError;
use super::select::best;

/// The influence of each block, `1 − cos(h_in, h_out)`, from the mean cosines (Men et al. 2024, arXiv 2403.03853): a block that
/// hardly turns the hidden state is hardly missed.
pub fn block_influence(similarity: &[f32]) -> Vec<f64> {
    similarity.iter().map(|&cosine| 1.0 - f64::from(cosine)).collect()
}

/// The blocks that stay, in ascending order, when the `remove` of the lowest score go; of equal ones the later.
///
/// ```
/// use tenuis_prune::structured::{block_influence, select_blocks};
/// let influence = block_influence(&[0.2, 0.9, 0.7, 0.5]);
/// assert_eq!(select_blocks(&influence, 2)?, [0, 3]);
/// # Ok::<(), tenuis_prune::structured::StructuredError>(())
/// ```
///
/// # Errors
/// [`StructuredError::AllBlocks`] where none would stay, [`StructuredError::NonFinite`] for a score that is not finite.
pub fn select_blocks(scores: &[f64], remove: usize) -> Result<Vec<usize>, StructuredError> {
    let blocks = scores.len();
    if remove >= blocks {
        return Err(StructuredError::AllBlocks { remove, blocks });
    }
    if let Some((layer, &value)) = scores.iter().enumerate().find(|(_, score)| !score.is_finite()) {
        return Err(StructuredError::NonFinite { layer, unit: 0, value });
    }
    Ok(best(scores, blocks - remove))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structured::BlockConfig;

    #[test]
    fn numbers_of_blocks_are_checked() {
        let of = |config: BlockConfig, blocks| config.validate().and_then(|()| config.removed(blocks));
        let config = BlockConfig::default();
        assert_eq!(of(config.clone(), 32), Ok(6));
        assert_eq!(of(config.clone(), 2), Err(StructuredError::Nothing { units: 2 }));
        let all = BlockConfig { count: Some(4), ..config.clone() };
        assert_eq!(of(all, 4), Err(StructuredError::AllBlocks { remove: 4, blocks: 4 }));
        let list = BlockConfig { remove: Some(vec![3, 1]), ..config.clone() };
        assert_eq!(of(list.clone(), 4), Ok(2));
        assert_eq!(of(list, 3), Err(StructuredError::NoLayer { layer: 3, layers: 3 }));
        let twice = BlockConfig { remove: Some(vec![1, 1]), ..config.clone() };
        assert_eq!(of(twice, 3), Err(StructuredError::NoLayer { layer: 1, layers: 3 }));
        let both = BlockConfig { count: Some(1), ratio: Some(0.5), ..config };
        assert_eq!(of(both, 3), Err(StructuredError::Both { first: "ratio", second: "count" }));
        assert!(matches!(
            select_blocks(&[f64::NAN, 0.0], 1),
            Err(StructuredError::NonFinite { layer: 0, .. })
        ));
    }
}
