//! A decoder whose forward pass can be differentiated.

use crate::error::TrainError;
use crate::factors::Factored;
use crate::lora::Adapter;
use crate::ops::attention::{Plan, attend};
use crate::ops::bias::add_bias;
use crate::ops::embed::embed;
use crate::ops::gate::{activate, gated};
use crate::ops::linear::linear;
use crate::ops::norm::{cast, norm};
use crate::params::Params;
use crate::rounding::Rounding;
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tenuis_core::Layout as Stored;
use tenuis_quant::RtnConfig;
use tenuis_spec::{
    DecoderSpec, FusedOrder, LayerSpec, LinearSpec, MlpSpec, NormSpec, Positions, QkvSpec, Residual,
    best_experts,
};

/// A [`DecoderSpec`] with its [`Params`], run on autograd: the same network as `tenuis_model` runs, described by the same
/// data, out of operations that have gradients.
///
/// [`Network::from_model`] takes a checkpoint's weights, [`Params::random`] draws new ones; [`Params::train`] or
/// [`Network::add_adapters`] say what is trained, [`Network::round`] what is rounded on the way; [`train`](crate::train)
/// trains it, and [`Network::write`] and [`Network::quantized`] give the result.
#[derive(Debug)]
pub struct Network {
    spec: DecoderSpec,
    /// Its parameters.
    pub params: Params,
    /// The type of activations.
    dtype: DType,
    pub(crate) adapters: BTreeMap<String, Adapter>,
    /// Modules whose weight is rounded in the forward pass.
    pub(crate) rounded: BTreeMap<String, Rounding>,
    /// Modules whose weight is a product.
    pub(crate) factored: BTreeMap<String, Factored>,
    /// Angles of the sequence length that was run last, per layer.
    plans: Mutex<Vec<Option<Arc<Plan>>>>,
}

/// How many sequences of how many tokens stand in the rows of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub seq: usize,
}

/// The head with what is done to its logits.
pub(crate) struct Output {
    head: Tensor,
    bias: Option<Tensor>,
    scale: Option<f64>,
    softcap: Option<f64>,
}

impl Output {
    /// `[rows, d_model]` behind the final norm to `[rows, vocab]`.
    pub(crate) fn logits(&self, normed: &Tensor) -> candle_core::Result<Tensor> {
        let mut logits = linear(normed, &self.head, Stored::OutIn)?;
        if let Some(bias) = &self.bias {
            logits = logits.broadcast_add(bias)?;
        }
        if let Some(scale) = self.scale {
            logits = (logits * scale)?;
        }
        match self.softcap {
            Some(cap) => (logits / cap)?.tanh()? * cap,
            None => Ok(logits),
        }
    }
}

impl Network {
    /// Joins a spec and its parameters; activations are f32.
    pub fn new(spec: DecoderSpec, params: Params) -> Self {
        let plans = Mutex::new(vec![None; spec.layers.len()]);
        let (adapters, rounded, factored) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { spec, params, dtype: DType::F32, adapters, rounded, factored, plans }
    }

    /// What the network is.
    pub const fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// Sets the type of activations between the norms: f32, bf16 or f16. The residual stream stays f32.
    pub const fn set_activations(&mut self, dtype: DType) {
        self.dtype = dtype;
    }

    /// Rounds a module's weight in every forward pass as it will be rounded when it is stored, with the gradient passed
    /// straight through to the f32 weight (Bengio et al. 2013, 1308.3432; Jacob et al. 2018, 1712.05877);
    /// [`Network::quantized`] gives the integers. Where the module has an adapter, the sum of both is rounded. An embedding
    /// is rounded for the tokens too, and where it computes the logits, for both.
    ///
    /// A module that is not there, or groups that do not divide its rows, are an error when training begins.
    pub fn round(&mut self, module: &str, config: RtnConfig) {
        self.rounded.insert(module.to_owned(), Rounding::Fitted(config));
    }

    /// The modules that are rounded.
    pub fn rounded(&self) -> impl Iterator<Item = &str> {
        self.rounded.keys().map(String::as_str)
    }

    /// Embeds tokens: `embedding · scale + position`, normed where the family norms it.
    ///
    /// # Shapes
    /// `tokens`: `[batch · seq]`, result: `[batch · seq, d_model]` f32.
    ///
    /// # Errors
    /// [`TrainError::Candle`] for a token that is not in the vocabulary, or positions beyond a learned table.
    pub fn embed(&self, tokens: &[u32], extent: Extent) -> Result<Tensor, TrainError> {
        let mut x = embed(&self.table(&self.spec.embedding.name)?, tokens.into())?;
        if let Some(scale) = self.spec.embedding.scale {
            x = (x * scale)?;
        }
        if let Positions::Learned { name, offset, .. } = &self.spec.positions {
            let numbers: Vec<u32> =
                (0..extent.batch).flat_map(|_| (0..extent.seq).map(|t| (t + offset) as u32)).collect();
            x = (x + embed(&self.table(name)?, numbers.into())?)?;
        }
        match &self.spec.embedding.norm {
            Some(spec) => self.norm(&x, spec, DType::F32),
            None => Ok(x),
        }
    }

    /// Runs a block; see [`LayerSpec`] for the formula.
    ///
    /// # Shapes
    /// `x` and the result: `[batch · seq, d_model]` f32.
    ///
    /// # Errors
    /// [`TrainError::Candle`].
    ///
    /// # Panics
    /// For a block that is not there.
    pub fn block(&self, index: usize, x: &Tensor, extent: Extent) -> Result<Tensor, TrainError> {
        let layer = &self.spec.layers[index];
        let norms = &layer.norms;
        let normed = self.opt_norm(x, norms.attention_pre.as_ref(), self.dtype)?;
        let attended = self.attend(layer, &normed, extent)?;
        let attended = self.linear(&layer.attention.o, &attended)?;
        let attended = self.opt_norm(&attended, norms.attention_post.as_ref(), DType::F32)?;
        let scaled = |x: Tensor| match layer.residual_scale {
            Some(scale) => x * scale,
            None => Ok(x),
        };
        let with_attention = (x + scaled(cast(&attended, DType::F32)?)?)?;
        let mlp_input = if layer.mlp_shares_attention_input() {
            normed
        } else {
            let read = match layer.residual {
                Residual::Sequential => &with_attention,
                Residual::Parallel => x,
            };
            self.opt_norm(read, norms.mlp_pre.as_ref(), self.dtype)?
        };
        let mlp = self.mlp(&layer.mlp, &mlp_input)?;
        let mlp = self.opt_norm(&mlp, norms.mlp_post.as_ref(), DType::F32)?;
        Ok((with_attention + scaled(cast(&mlp, DType::F32)?)?)?)
    }

    /// Applies the norm before the head.
    ///
    /// # Shapes
    /// `x` and the result: `[batch · seq, d_model]` f32.
    ///
    /// # Errors
    /// [`TrainError::Candle`].
    pub fn final_norm(&self, x: &Tensor) -> Result<Tensor, TrainError> {
        self.opt_norm(x, self.spec.final_norm.as_ref(), DType::F32)
    }

    /// The matrix that computes the logits, `[vocab, d_model]`: the head, or the embedding where the two are tied.
    ///
    /// # Errors
    /// [`TrainError::Shape`] where it is not there.
    pub fn head(&self) -> Result<Tensor, TrainError> {
        let head = self.spec.head();
        self.weight(&head)
    }

    /// The logits of every position, in the graph. Training does not go this way: there the logits are made piece by piece
    /// within the loss.
    ///
    /// # Shapes
    /// `tokens`: `[batch · seq]`, result: `[batch · seq, vocab]` f32.
    ///
    /// # Errors
    /// As [`Network::block`].
    pub fn logits(&self, tokens: &[u32], extent: Extent) -> Result<Tensor, TrainError> {
        let mut x = self.embed(tokens, extent)?;
        for index in 0..self.spec.layers.len() {
            x = self.block(index, &x, extent)?;
        }
        Ok(self.output()?.logits(&self.final_norm(&x)?)?)
    }

    /// What turns the final norm's output into logits.
    pub(crate) fn output(&self) -> Result<Output, TrainError> {
        let (scale, softcap) = (self.spec.logit_scale, self.spec.logit_softcap);
        Ok(Output { head: self.head()?, bias: self.head_bias()?, scale, softcap })
    }

    /// The bias of the head, `[vocab]`, where it has one.
    pub(crate) fn head_bias(&self) -> Result<Option<Tensor>, TrainError> {
        let name = self.spec.lm_head.bias_name().filter(|_| !self.spec.tied);
        name.map(|name| self.params.tensor(&name).cloned()).transpose()
    }

    /// The hidden states after every block, and last the one after the final norm.
    ///
    /// # Shapes
    /// `tokens`: `[batch · seq]`, results: `[batch · seq, d_model]` f32.
    ///
    /// # Errors
    /// As [`Network::block`].
    pub fn hidden_states(&self, tokens: &[u32], extent: Extent) -> Result<Vec<Tensor>, TrainError> {
        let mut x = self.embed(tokens, extent)?;
        let mut states = Vec::with_capacity(self.spec.layers.len() + 1);
        for index in 0..self.spec.layers.len() {
            x = self.block(index, &x, extent)?;
            states.push(x.clone());
        }
        states.push(self.final_norm(&x)?);
        Ok(states)
    }

    fn attend(&self, layer: &LayerSpec, x: &Tensor, extent: Extent) -> Result<Tensor, TrainError> {
        let spec = &layer.attention;
        let [mut q, mut k, v] = match &spec.qkv {
            QkvSpec::Separate { q, k, v } => [self.linear(q, x)?, self.linear(k, x)?, self.linear(v, x)?],
            QkvSpec::Fused { qkv, order } => {
                // Either order is blocks of queries, keys and values: over all heads at once, or within every group.
                let groups = if *order == FusedOrder::Blocks { 1 } else { spec.n_kv };
                let fused = self.linear(qkv, x)?;
                let rows = fused.dim(0)?;
                let (q, kv) = (spec.n_q / groups * spec.head_dim, spec.n_kv / groups * spec.head_dim);
                let fused = fused.reshape((rows, groups, q + 2 * kv))?;
                let part = |start: usize, width: usize| {
                    fused.narrow(2, start, width)?.contiguous()?.reshape((rows, groups * width))
                };
                [part(0, q)?, part(q, kv)?, part(q + kv, kv)?]
            }
        };
        if let Some(norms) = &spec.qk_norm {
            q = self.norm(&q, &norms.q, self.dtype)?;
            k = self.norm(&k, &norms.k, self.dtype)?;
        }
        Ok(attend(&self.plan(layer, extent), &q, &k, &v)?)
    }

    fn plan(&self, layer: &LayerSpec, extent: Extent) -> Arc<Plan> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut plans[layer.index];
        match slot {
            Some(plan) if (plan.batch, plan.seq) == (extent.batch, extent.seq) => Arc::clone(plan),
            _ => {
                let plan = Plan::new(&layer.attention, extent.batch, extent.seq);
                *slot = Some(Arc::clone(&plan));
                plan
            }
        }
    }

    fn mlp(&self, mlp: &MlpSpec, x: &Tensor) -> Result<Tensor, TrainError> {
        let (inner, last) = match mlp {
            MlpSpec::Gated { activation, gate, up, down } => {
                (gated(*activation, &self.linear(gate, x)?, &self.linear(up, x)?)?, down)
            }
            MlpSpec::FusedGated { activation, gate_up, down } => {
                let both = self.linear(gate_up, x)?;
                let width = down.shape[1];
                let part = |start| both.narrow(1, start, width)?.contiguous();
                (gated(*activation, &part(0)?, &part(width)?)?, down)
            }
            MlpSpec::Plain { activation, fc1, fc2 } => (activate(*activation, &self.linear(fc1, x)?)?, fc2),
            MlpSpec::Experts { router, top_k, renormalise, experts } => {
                return self.experts(router, *top_k, *renormalise, experts, x);
            }
        };
        self.linear(last, &inner)
    }

    /// The shares have a gradient; which experts a token goes to has none.
    fn experts(
        &self,
        router: &LinearSpec,
        top_k: usize,
        renormalise: bool,
        experts: &[MlpSpec],
        x: &Tensor,
    ) -> Result<Tensor, TrainError> {
        let (rows, width) = x.dims2()?;
        let logits = cast(&self.linear(router, x)?, DType::F32)?;
        let mut chosen = vec![0.0f32; rows * experts.len()];
        let mut given = vec![Vec::new(); experts.len()];
        for (row, logits) in crate::ops::to_vec(&logits)?.chunks_exact(experts.len()).enumerate() {
            for expert in best_experts(logits, top_k) {
                chosen[row * experts.len() + expert] = 1.0;
                given[expert].push(row as u32);
            }
        }
        let chosen = Tensor::from_vec(chosen, (rows, experts.len()), x.device())?;
        let exp = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?.exp()?;
        let taken = (&exp * &chosen)?;
        let total = if renormalise { taken.sum_keepdim(1)? } else { exp.sum_keepdim(1)? };
        let shares = taken.broadcast_div(&total)?;
        let mut sum = Tensor::zeros((rows, width), DType::F32, x.device())?;
        for (index, (expert, rows)) in
            experts.iter().zip(given).enumerate().filter(|(_, (_, rows))| !rows.is_empty())
        {
            let count = rows.len();
            let rows = Tensor::from_vec(rows, count, x.device())?;
            let made = cast(&self.mlp(expert, &x.index_select(&rows, 0)?)?, DType::F32)?;
            let share = shares.narrow(1, index, 1)?.contiguous()?.index_select(&rows, 0)?;
            sum = sum.index_add(&rows, &made.broadcast_mul(&share)?, 0)?;
        }
        Ok(cast(&sum, x.dtype())?)
    }

    /// A table of embeddings as the forward pass uses it.
    fn table(&self, module: &str) -> Result<Tensor, TrainError> {
        let table = self.params.tensor(&format!("{module}.weight"))?;
        match self.rounded.get(module) {
            Some(rounding) => Ok(rounding.apply(table, Stored::OutIn)?),
            None => Ok(table.clone()),
        }
    }

    /// A weight with what its adapter adds, in its stored layout and before rounding.
    pub(crate) fn adapted(&self, module: &str, stored: Stored) -> Result<Tensor, TrainError> {
        if let Some(factored) = self.factored.get(module) {
            return factored.product(self, stored);
        }
        let weight = self.params.tensor(&format!("{module}.weight"))?;
        match self.adapters.get(module) {
            Some(adapter) => Ok((weight + adapter.product(&self.params, stored)?)?),
            None => Ok(weight.clone()),
        }
    }

    fn weight(&self, spec: &LinearSpec) -> Result<Tensor, TrainError> {
        if let Some(factored) = self.factored.get(&spec.name) {
            return factored.product(self, spec.layout);
        }
        match self.rounded.get(&spec.name) {
            Some(rounding) => Ok(rounding.apply(&self.adapted(&spec.name, spec.layout)?, spec.layout)?),
            None => Ok(self.params.tensor(&spec.weight_name())?.clone()),
        }
    }

    fn linear(&self, spec: &LinearSpec, x: &Tensor) -> Result<Tensor, TrainError> {
        let mut y = match self.factored.get(&spec.name) {
            Some(factored) => factored.apply(self, x)?,
            None => linear(x, &self.weight(spec)?, spec.layout)?,
        };
        // Where the weight is rounded, the adapter is in it already.
        if let Some(adapter) =
            self.adapters.get(&spec.name).filter(|_| !self.rounded.contains_key(&spec.name))
        {
            y = (y + adapter.apply(&self.params, x)?)?;
        }
        match spec.bias_name() {
            Some(bias) => Ok(add_bias(&y, self.params.tensor(&bias)?)?),
            None => Ok(y),
        }
    }

    fn opt_norm(&self, x: &Tensor, spec: Option<&NormSpec>, out: DType) -> Result<Tensor, TrainError> {
        match spec {
            Some(spec) => self.norm(x, spec, out),
            None => Ok(cast(x, out)?),
        }
    }

    fn norm(&self, x: &Tensor, spec: &NormSpec, out: DType) -> Result<Tensor, TrainError> {
        let weight = self.params.tensor(&format!("{}.weight", spec.name))?;
        let bias = spec.bias.then(|| self.params.tensor(&format!("{}.bias", spec.name))).transpose()?;
        Ok(norm(x, spec, weight, bias, out)?)
    }
}
