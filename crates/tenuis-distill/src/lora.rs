//! Low-rank adapters.

use crate::error::TrainError;
use crate::network::Network;
use crate::ops::linear::linear;
use crate::params::{Params, matcher, normal};
use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tenuis_core::Layout as Stored;
use tenuis_spec::LinearSpec;

/// Low-rank adapters (Hu et al. 2021, LoRA, 2106.09685): `y = x Wᵀ + (alpha / rank) · (x Aᵀ) Bᵀ` with `A: [rank, in]`
/// drawn from `N(0, 1/in)` and `B: [out, rank]` of zeros, so that training starts where the model is. Among the parameters
/// they are `{module}.lora_A.weight` and `{module}.lora_B.weight`, as PEFT names them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LoraConfig {
    /// The rank.
    #[schemars(range(min = 1))]
    pub rank: usize,
    /// The numerator of the scale.
    #[schemars(range(min = 0.0))]
    pub alpha: f64,
    /// Which Linears of the layers get one: globs over module names.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, targets: vec!["*".to_owned()] }
    }
}

/// An adapter of one Linear; its factors lie among the parameters.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    down: String,
    up: String,
    scale: f64,
}

impl Adapter {
    /// The factor `alpha / rank`.
    pub(crate) const fn scale(&self) -> f64 {
        self.scale
    }

    /// What the adapter adds to the weight, in the weight's stored layout.
    pub(crate) fn product(&self, params: &Params, stored: Stored) -> Result<Tensor, TrainError> {
        let (down, up) = (params.tensor(&self.down)?, params.tensor(&self.up)?);
        let product = match stored {
            Stored::OutIn => linear(up, down, Stored::InOut)?,
            Stored::InOut => linear(&down.t()?.contiguous()?, up, Stored::OutIn)?,
        };
        Ok((product * self.scale)?)
    }

    pub(crate) fn apply(&self, params: &Params, x: &Tensor) -> Result<Tensor, TrainError> {
        let inner = linear(x, params.tensor(&self.down)?, Stored::OutIn)?;
        Ok((linear(&inner, params.tensor(&self.up)?, Stored::OutIn)? * self.scale)?)
    }
}

impl Network {
    /// Freezes the network and gives the Linears that `config` chooses an adapter each, which are then what is trained;
    /// [`Params::train`] may choose more. An adapter that a Linear had before is replaced.
    ///
    /// # Errors
    /// [`TrainError::NothingToTrain`] where no Linear is chosen, [`TrainError::Pattern`], and [`TrainError::Option`] for a
    /// rank of zero or a scale that is not a number.
    pub fn add_adapters(&mut self, config: &LoraConfig, seed: u64) -> Result<(), TrainError> {
        if config.rank == 0 {
            return Err(TrainError::Option { option: "lora.rank", value: "0".into(), allowed: "at least 1" });
        }
        if !config.alpha.is_finite() {
            let value = config.alpha.to_string();
            return Err(TrainError::Option { option: "lora.alpha", value, allowed: "a finite number" });
        }
        let globs = config.targets.iter().map(|p| matcher(p)).collect::<Result<Vec<_>, _>>()?;
        self.params.freeze();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let linears: Vec<LinearSpec> = self.spec().linears().collect();
        for linear in linears.iter().filter(|l| globs.iter().any(|g| g.is_match(&l.name))) {
            let [out, input] = linear.shape;
            let adapter = Adapter {
                down: format!("{}.lora_A.weight", linear.name),
                up: format!("{}.lora_B.weight", linear.name),
                scale: config.alpha / config.rank as f64,
            };
            let deviation = 1.0 / (input as f32).sqrt();
            let down = (0..config.rank * input).map(|_| deviation * normal(&mut rng)).collect();
            self.params.insert_trained(&adapter.down, down, &[config.rank, input])?;
            self.params.insert_trained(&adapter.up, vec![0.0; out * config.rank], &[out, config.rank])?;
            self.adapters.insert(linear.name.clone(), adapter);
        }
        if self.adapters.is_empty() {
            return Err(TrainError::NothingToTrain {
                patterns: config.targets.clone(),
                names: linears.len(),
                example: linears.first().map(|l| l.name.clone()).unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Adds every adapter's product to its weight and removes it: the network computes the same as before, up to rounding,
    /// and exactly the same where the weight is [rounded](Network::round). The weights stay frozen.
    ///
    /// # Errors
    /// [`TrainError::Candle`].
    pub fn merge_adapters(&mut self) -> Result<(), TrainError> {
        for (module, adapter) in std::mem::take(&mut self.adapters) {
            let Some(spec) = self.spec().linears().find(|l| l.name == module) else { continue };
            let product = adapter.product(&self.params, spec.layout)?.detach();
            let sum = (self.params.tensor(&spec.weight_name())?.detach() + product)?;
            let values = crate::ops::to_vec(&sum)?;
            self.params.insert(&spec.weight_name(), values, &spec.stored_shape())?;
            self.params.remove(&adapter.down);
            self.params.remove(&adapter.up);
        }
        Ok(())
    }
}
