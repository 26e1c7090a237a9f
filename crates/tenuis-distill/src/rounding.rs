//! Weights that are rounded in the forward pass and exported as the integers that they were rounded to.

use crate::error::TrainError;
use crate::network::Network;
use crate::ops::fake_quant::{fake_quant, rounded};
use crate::ops::on_grid::{Grid, on_grid};
use candle_core::Tensor;
use std::sync::Arc;
use tenuis_core::{GroupedInt, Layout as Stored};
use tenuis_quant::RtnConfig;

/// How a weight is rounded.
#[derive(Clone, Debug)]
pub(crate) enum Rounding {
    /// To a grid that is fitted to it anew in every forward pass.
    Fitted(RtnConfig),
    /// To the grid of the compressed weight that training started from.
    Kept(Arc<Grid>),
}

impl Rounding {
    /// The weight as the forward pass computes with it, with a gradient that passes straight through.
    pub(crate) fn apply(&self, weight: &Tensor, stored: Stored) -> candle_core::Result<Tensor> {
        match self {
            Self::Fitted(config) => fake_quant(weight, stored, config),
            Self::Kept(grid) => on_grid(weight, stored, grid),
        }
    }

    /// The integers of the same.
    pub(crate) fn encode(
        &self,
        module: &str,
        weight: &Tensor,
        stored: Stored,
    ) -> Result<GroupedInt, TrainError> {
        let module = || module.to_owned();
        let (rows, columns) = weight.dims2()?;
        let values = crate::ops::to_vec(weight)?;
        match self {
            Self::Fitted(config) => rounded(&values, [rows, columns], stored, config)
                .map_err(|source| TrainError::Quantise { module: module(), source }),
            Self::Kept(grid) => {
                grid.encode(&values, stored).map_err(|source| TrainError::Weight { module: module(), source })
            }
        }
    }

    /// What decides how it rounds, for the identity of a run.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Fitted(config) => format!("{config:?}"),
            // Its scales follow from the weights that training starts from, which enter by themselves.
            Self::Kept(_) => "kept".to_owned(),
        }
    }
}

impl Network {
    /// Keeps a module's weight on the grid of `weight`, its scales, zero points and order of columns, and learns its codes
    /// alone: so a compressed model can be trained without ceasing to be the compressed model.
    ///
    /// # Errors
    /// [`TrainError::Weight`].
    pub fn round_on(&mut self, module: &str, weight: &GroupedInt) -> Result<(), TrainError> {
        let grid =
            Grid::of(weight).map_err(|source| TrainError::Weight { module: module.to_owned(), source })?;
        self.rounded.insert(module.to_owned(), Rounding::Kept(Arc::new(grid)));
        Ok(())
    }
}
