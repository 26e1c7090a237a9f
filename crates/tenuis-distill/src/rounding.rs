//! Weights that are rounded in the forward pass and exported as the integers that they were rounded to.

use crate::error::TrainError;
use crate::network::Network;
use crate::ops::fake_quant::transposed;
use crate::ops::on_grid::Grid;
use std::sync::Arc;
use tenuis_core::{GroupedInt, Layout as Stored};
use tenuis_quant::{RtnConfig, rtn};
use tenuis_spec::LinearSpec;

/// How a weight is rounded.
#[derive(Clone, Debug)]
pub(crate) enum Rounding {
    /// To a grid that is fitted to it anew in every forward pass.
    Fitted(RtnConfig),
    /// To the grid of the compressed weight that training started from.
    Kept(Arc<Grid>),
}

impl Network {
    /// Rounds a module's weight in every forward pass as it will be rounded when it is stored.
    pub fn round(&mut self, module: &str, config: RtnConfig) {
        self.rounded.insert(module.to_owned(), Rounding::Fitted(config));
    }

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

    /// The modules whose weight is rounded.
    pub fn rounded(&self) -> impl Iterator<Item = &str> {
        self.rounded.keys().map(String::as_str)
    }

    /// The integers that the forward pass computes with, or nothing for a module that is not rounded.
    ///
    /// Adapters have to be merged before, as their product is rounded together with the weight.
    ///
    /// # Errors
    /// [`TrainError::Quantise`], [`TrainError::Weight`].
    pub fn rounded_weight(&self, linear: &LinearSpec) -> Result<Option<GroupedInt>, TrainError> {
        let Some(rounding) = self.rounded.get(&linear.name) else { return Ok(None) };
        let mut values = self.params.values(&linear.weight_name())?;
        let weight = match rounding {
            Rounding::Fitted(config) => {
                if linear.layout == Stored::InOut {
                    values = transposed(&values, linear.stored_shape());
                }
                let quantised = rtn(&values, linear.shape, config);
                let module = linear.name.clone();
                quantised.map_err(|source| TrainError::Quantise { module, source })?.weight
            }
            Rounding::Kept(grid) => {
                let module = linear.name.clone();
                grid.encode(&values, linear.layout).map_err(|source| TrainError::Weight { module, source })?
            }
        };
        Ok(Some(weight))
    }

    /// What decides how weights are rounded, for the identity of a run.
    pub(crate) fn rounding_identity(&self) -> String {
        let mut identity = String::new();
        for (module, rounding) in &self.rounded {
            let how = match rounding {
                Rounding::Fitted(config) => format!("{config:?}"),
                // Its scales follow from the weights that training starts from, which enter by themselves.
                Rounding::Kept(_) => "kept".to_owned(),
            };
            identity += &format!("{module} {how}\n");
        }
        identity
    }
}
