//! What to prune and by what.

use super::error::StructuredError;
use serde::{Deserialize, Serialize};

/// What is removed where the options say nothing, a fifth: the smallest step of An et al. 2023 (arXiv 2312.11983).
const DEFAULT_RATIO: f64 = 0.2;

/// By what a unit is scored; see [`UnitNorms`](super::UnitNorms) and [`channel_scores`](super::channel_scores).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnitCriterion {
    /// The L2 norm of all weights that move with the unit. Needs no data.
    Magnitude,
    /// The root mean square of the unit's activations (Muralidharan et al. 2024, arXiv 2407.14679).
    Activation,
    /// The root mean square of what the unit adds to the output, `√(Σ_j E[x_j²] · ‖W_:j‖²)`: Wanda's criterion (Sun et al.
    /// 2023, arXiv 2306.11695) summed over whole columns.
    #[default]
    WandaSp,
    /// The variance of what the unit adds to the output, `Σ_j Var[x_j] · ‖W_:j‖²` (An et al. 2023, arXiv 2312.11983): what is
    /// constant can be made up for by a bias.
    Flap,
}

/// What units are compared with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnitScope {
    /// Those of a layer, so that every layer keeps the same share: the result is a plain smaller model.
    #[default]
    Layer,
    /// Those of all layers, after the scores of each layer are standardised, `(s − mean) / deviation`: layers differ in the
    /// end, and only Tenuis reads the result.
    Global,
}

/// How channels or heads are pruned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WidthConfig {
    /// By what a unit is scored.
    pub criterion: UnitCriterion,
    /// The share of units that is removed, between 0 and 1; 0.2 where neither this nor `keep` is given.
    pub ratio: Option<f64>,
    /// The units that each layer keeps, in the place of `ratio`; with the global scope their mean over the layers.
    pub keep: Option<usize>,
    /// The number of units that a layer keeps is rounded to a multiple of this.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub round_to: usize,
    /// What units are compared with each other.
    pub scope: UnitScope,
    /// The layers that are pruned; all where absent.
    pub layers: Option<Vec<usize>>,
    /// Whether the Linear that reads the units gets new weights, so that its output changes least.
    pub compensate: bool,
    /// The damping of that regression as a share of the mean diagonal of the kept inputs' Gram matrix.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub damp_percent: f64,
}

impl Default for WidthConfig {
    fn default() -> Self {
        Self {
            criterion: UnitCriterion::default(),
            ratio: None,
            keep: None,
            round_to: 1,
            scope: UnitScope::default(),
            layers: None,
            compensate: true,
            damp_percent: 0.01,
        }
    }
}

impl WidthConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`StructuredError::Option`], [`StructuredError::Both`] or [`StructuredError::NoLayers`].
    pub fn validate(&self) -> Result<(), StructuredError> {
        check_ratio(self.ratio)?;
        if self.ratio.is_some() && self.keep.is_some() {
            return Err(StructuredError::Both { first: "ratio", second: "keep" });
        }
        let option = |option, value: String, allowed| Err(StructuredError::Option { option, value, allowed });
        if self.round_to == 0 {
            return option("round_to", "0".to_owned(), "at least 1");
        }
        match self.keep {
            Some(0) => return option("keep", "0".to_owned(), "at least 1"),
            Some(keep) if !keep.is_multiple_of(self.round_to) => {
                return option("keep", keep.to_string(), "a multiple of round_to");
            }
            _ => {}
        }
        if !(self.damp_percent.is_finite() && self.damp_percent >= 0.0) {
            return option("damp_percent", self.damp_percent.to_string(), "a number of at least 0");
        }
        if self.layers.as_ref().is_some_and(Vec::is_empty) {
            return Err(StructuredError::NoLayers);
        }
        Ok(())
    }

    /// The layers that are pruned, in ascending order, of a network of so many.
    ///
    /// # Errors
    /// [`StructuredError::NoLayer`] for one that is not there or named twice.
    pub fn chosen_layers(&self, layers: usize) -> Result<Vec<usize>, StructuredError> {
        self.layers.as_ref().map_or_else(|| Ok((0..layers).collect()), |chosen| ascending(chosen, layers))
    }

    /// The share of units that is kept.
    pub(crate) fn kept_share(&self) -> f64 {
        1.0 - self.ratio.unwrap_or(DEFAULT_RATIO)
    }
}

/// By what a block is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockCriterion {
    /// `1 − cos(h_in, h_out)`, averaged over tokens (Men et al. 2024, arXiv 2403.03853).
    #[default]
    BlockInfluence,
    /// The loss of the network without the block on the validation text. One block is removed at a time, and the rest is
    /// scored anew, so a removal takes as many evaluations as there are blocks left.
    Perplexity,
}

/// How blocks are pruned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BlockConfig {
    /// By what a block is scored; of no effect beside `remove`.
    pub criterion: BlockCriterion,
    /// The share of blocks that is removed, between 0 and 1; 0.2 where neither this nor `count` nor `remove` is given.
    pub ratio: Option<f64>,
    /// How many blocks are removed.
    pub count: Option<usize>,
    /// The blocks that are removed.
    pub remove: Option<Vec<usize>>,
}

impl BlockConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`StructuredError::Option`], [`StructuredError::Both`] or [`StructuredError::NoLayers`].
    pub fn validate(&self) -> Result<(), StructuredError> {
        check_ratio(self.ratio)?;
        let given = [
            ("ratio", self.ratio.is_some()),
            ("count", self.count.is_some()),
            ("remove", self.remove.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            return Err(StructuredError::Both { first, second });
        }
        if self.count == Some(0) {
            return Err(StructuredError::Option {
                option: "count",
                value: "0".into(),
                allowed: "at least 1",
            });
        }
        if self.remove.as_ref().is_some_and(Vec::is_empty) {
            return Err(StructuredError::NoLayers);
        }
        Ok(())
    }

    /// How many of so many blocks are removed.
    ///
    /// # Errors
    /// [`StructuredError::AllBlocks`], [`StructuredError::Nothing`] where the share rounds to none, and
    /// [`StructuredError::NoLayer`] for a block to remove that is not there or named twice.
    pub fn removed(&self, blocks: usize) -> Result<usize, StructuredError> {
        let remove = match (&self.remove, self.count) {
            (Some(list), _) => ascending(list, blocks)?.len(),
            (None, Some(count)) => count,
            (None, None) => (self.ratio.unwrap_or(DEFAULT_RATIO) * blocks as f64).round() as usize,
        };
        match remove {
            0 => Err(StructuredError::Nothing { units: blocks }),
            n if n >= blocks => Err(StructuredError::AllBlocks { remove, blocks }),
            n => Ok(n),
        }
    }
}

/// By what an expert is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExpertCriterion {
    /// What it adds to the outputs of all tokens that it was given, `Σ_tokens Σ_j x_j² · ‖W_:j‖²` with the input `x` of its last
    /// Linear: a rare expert scores low, and so does one that adds little.
    #[default]
    Activation,
    /// The number of tokens that it was given.
    Frequency,
    /// The L2 norm of its weights. Needs no data.
    Magnitude,
}

/// How experts are pruned: the ones with the lowest scores of each layer go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ExpertConfig {
    /// By what an expert is scored.
    pub criterion: ExpertCriterion,
    /// The share of experts that is removed, between 0 and 1; 0.2 where neither this nor `keep` is given.
    pub ratio: Option<f64>,
    /// The experts that each layer keeps, in the place of `ratio`.
    pub keep: Option<usize>,
}

impl ExpertConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// As [`WidthConfig::validate`].
    pub fn validate(&self) -> Result<(), StructuredError> {
        self.to_width().validate()
    }

    /// The same choice among units of any kind, for [`select_units`](super::select_units).
    pub fn to_width(&self) -> WidthConfig {
        WidthConfig { ratio: self.ratio, keep: self.keep, ..WidthConfig::default() }
    }
}

fn check_ratio(ratio: Option<f64>) -> Result<(), StructuredError> {
    match ratio {
        Some(ratio) if !(ratio > 0.0 && ratio < 1.0) => Err(StructuredError::Option {
            option: "ratio",
            value: ratio.to_string(),
            allowed: "a number between 0 and 1, neither of them",
        }),
        _ => Ok(()),
    }
}

fn ascending(chosen: &[usize], layers: usize) -> Result<Vec<usize>, StructuredError> {
    let mut sorted = chosen.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    let beyond = sorted.iter().copied().find(|&layer| layer >= layers);
    match twice.or(beyond) {
        Some(layer) => Err(StructuredError::NoLayer { layer, layers }),
        None => Ok(sorted),
    }
}
