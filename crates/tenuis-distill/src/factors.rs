//! Weights that are products of two factors, and stay so while the factors are trained.

use crate::error::TrainError;
use crate::network::Network;
use crate::ops::linear::linear;
use candle_core::Tensor;
use std::sync::Arc;
use tenuis_core::{DType, Dense, GroupedInt, Layout as Stored, LowRank, Weight, WeightError};

/// The names of the factors of `W = B·A` among the parameters of a module: `{module}.b.weight` and `{module}.a.weight`.
const FACTORS: [&str; 2] = ["b", "a"];

/// A product in the place of a module's weight.
#[derive(Clone, Debug)]
pub(crate) struct Factored {
    module: String,
    /// The types that dense factors are stored in.
    dtypes: [DType; 2],
}

impl Factored {
    /// A factor as the forward pass computes with it.
    fn factor(&self, network: &Network, which: &str) -> Result<Tensor, TrainError> {
        let name = format!("{}.{which}", self.module);
        let values = network.params.tensor(&format!("{name}.weight"))?;
        match network.rounded.get(&name) {
            Some(rounding) => Ok(rounding.apply(values, Stored::OutIn)?),
            None => Ok(values.clone()),
        }
    }

    /// `(x Aᵀ) Bᵀ`.
    pub(crate) fn apply(&self, network: &Network, x: &Tensor) -> Result<Tensor, TrainError> {
        let inner = linear(x, &self.factor(network, "a")?, Stored::OutIn)?;
        Ok(linear(&inner, &self.factor(network, "b")?, Stored::OutIn)?)
    }

    /// `B·A` in the stored layout of the weight that it stands for.
    pub(crate) fn product(&self, network: &Network, stored: Stored) -> Result<Tensor, TrainError> {
        let (b, a) = (self.factor(network, "b")?, self.factor(network, "a")?);
        match stored {
            Stored::OutIn => Ok(linear(&b, &a, Stored::InOut)?),
            Stored::InOut => Ok(linear(&a.t()?.contiguous()?, &b, Stored::OutIn)?),
        }
    }
}

impl Network {
    /// Puts a product in the place of a module's weight: the network computes with its factors, which are parameters of
    /// their own, `{module}.b.weight` and `{module}.a.weight` (the pattern `factors` chooses all of them in
    /// [`Params::train`](crate::Params::train)), and [`Network::low_rank`] gives the product back. Factors that are integers keep
    /// their grids where they are trained ([`Network::round_on`]). They are frozen until they are chosen.
    ///
    /// # Errors
    /// [`TrainError::Weight`] for a factor that cannot be decoded, [`TrainError::Shape`] for a module that is not there.
    pub fn factor(&mut self, module: &str, product: &LowRank) -> Result<(), TrainError> {
        let wrap = |source| TrainError::Weight { module: module.to_owned(), source };
        self.params.tensor(&format!("{module}.weight"))?;
        let mut dtypes = [DType::F32; 2];
        for ((name, factor), dtype) in FACTORS.iter().zip([product.b(), product.a()]).zip(&mut dtypes) {
            if let Some(dense) = factor.downcast::<Dense>() {
                *dtype = dense.dtype();
            }
            let values = factor.to_dense().map_err(wrap)?;
            self.params.insert_factor(&format!("{module}.{name}.weight"), values, &factor.shape())?;
        }
        self.params.remove(&format!("{module}.weight"));
        self.factored.insert(module.to_owned(), Factored { module: module.to_owned(), dtypes });
        Ok(())
    }

    /// Whether a module's weight is a product.
    pub fn is_factored(&self, module: &str) -> bool {
        self.factored.contains_key(module)
    }

    /// The product that a [factored](Network::factor) module's weight now is, its dense factors in the types that they came
    /// in; nothing for any other module.
    ///
    /// # Errors
    /// As [`Network::quantized`].
    pub fn low_rank(&self, module: &str) -> Result<Option<LowRank>, TrainError> {
        let Some(factored) = self.factored.get(module) else { return Ok(None) };
        let wrap = |source: WeightError| TrainError::Weight { module: module.to_owned(), source };
        let mut factors: Vec<Weight> = Vec::with_capacity(2);
        for (which, dtype) in FACTORS.iter().zip(factored.dtypes) {
            let name = format!("{module}.{which}");
            let quantized: Option<GroupedInt> = self.quantized(&name)?;
            factors.push(if let Some(integers) = quantized {
                Arc::new(integers)
            } else {
                let name = format!("{name}.weight");
                let shape = self.params.tensor(&name)?.dims().to_vec();
                let tensor = tenuis_core::Tensor::from_f32(dtype, shape, &self.params.values(&name)?);
                Arc::new(tensor.map_err(WeightError::from).and_then(Dense::new).map_err(wrap)?)
            });
        }
        let a = factors.pop();
        match (factors.pop(), a) {
            (Some(b), Some(a)) => LowRank::new(b, a).map(Some).map_err(wrap),
            _ => Ok(None),
        }
    }
}
