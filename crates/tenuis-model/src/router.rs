//! Giving tokens to experts.

use crate::error::ModelError;
use crate::linear::Linear;
use crate::load::Store;
use candle_core::{Device, Tensor};
use tenuis_spec::{MlpSpec, best_experts};

/// Chooses the experts of every token; see [`MlpSpec::Experts`].
#[derive(Clone, Debug)]
pub(crate) struct Router {
    linear: Linear,
    top_k: usize,
    renormalise: bool,
}

/// The tokens that one expert is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    /// Their rows, in ascending order.
    pub(crate) rows: Vec<u32>,
    /// The expert's share in each.
    pub(crate) shares: Vec<f32>,
}

impl Router {
    pub(crate) fn load(store: &Store, mlp: &MlpSpec) -> Result<Option<Self>, ModelError> {
        let MlpSpec::Experts { router, top_k, renormalise, .. } = mlp else { return Ok(None) };
        Ok(Some(Self { linear: store.linear(router)?, top_k: *top_k, renormalise: *renormalise }))
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.linear.resident_bytes()
    }

    /// What each expert is given of `x: [rows, d_model]`.
    pub(crate) fn route(&self, x: &Tensor) -> Result<Vec<Tokens>, ModelError> {
        let experts = self.linear.spec().shape[0];
        let logits = self.linear.forward_values(x)?;
        let mut given = vec![Tokens::default(); experts];
        for (row, logits) in logits.chunks_exact(experts).enumerate() {
            let chosen = best_experts(logits, self.top_k);
            let most = logits[chosen[0]];
            let share = |expert: usize| (logits[expert] - most).exp();
            let total: f32 = if self.renormalise {
                chosen.iter().map(|&expert| share(expert)).sum()
            } else {
                (0..experts).map(share).sum()
            };
            for &expert in &chosen {
                given[expert].rows.push(row as u32);
                given[expert].shares.push(share(expert) / total);
            }
        }
        Ok(given)
    }
}

impl Tokens {
    fn index(&self) -> candle_core::Result<Tensor> {
        Tensor::from_slice(&self.rows, self.rows.len(), &Device::Cpu)
    }

    /// Their rows of `x: [rows, width]`.
    pub(crate) fn of(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(x.index_select(&self.index()?, 0)?)
    }

    /// Adds what the expert made of them, times its shares, to `sum: [rows, width]`.
    pub(crate) fn add(&self, sum: &Tensor, made: &Tensor) -> Result<Tensor, ModelError> {
        let shares = Tensor::from_slice(&self.shares, (self.shares.len(), 1), &Device::Cpu)?;
        Ok(sum.index_add(&self.index()?, &made.broadcast_mul(&shares)?, 0)?)
    }
}
