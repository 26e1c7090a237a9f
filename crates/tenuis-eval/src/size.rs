//! Exact parameters and bytes of a checkpoint, and the arithmetic that a token takes.

use crate::error::EvalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tenuis_core::{Checkpoint, Ratio};
use tenuis_model::Model;
use tenuis_spec::{DecoderSpec, LayerSpec, LinearSpec, MlpSpec};

/// What a checkpoint weighs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Weights of the model's matrices and vectors: of a product of two factors theirs, of a sum those of its terms, otherwise
    /// those of the matrix, whatever of it is stored. Scales and zero points of a quantised weight are not parameters, and a
    /// tied head counts once.
    pub params: u64,
    /// `params` without the weights of Linears that are exactly zero, counted from what they decode to.
    pub nonzero_params: u64,
    /// Bytes of the weight files on disk: tensors and headers.
    pub bytes: u64,
    /// Bytes of the tensors alone.
    pub tensor_bytes: u64,
    /// The baseline's `bytes` ÷ these `bytes`: larger is smaller.
    pub compression_ratio: f64,
    /// These `bytes` ÷ the baseline's `bytes`: the inverse of the ratio.
    pub fraction: f64,
    /// The arithmetic of a token; absent where an older version wrote the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
}

/// The floating-point (or integer) operations that a model really does, a multiplication and an addition each counting one.
///
/// A Linear takes `2 · parameters` of its form per row: two factors of low rank save some, while zeros save none, as the
/// kernels multiply vectors of eight columns, zeros or not. Of experts, only those that a token is given to count. Attention
/// takes `4 · n_q · head_dim` per position seen. Norms, activations and rotations, some per cent of the whole, are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// Operations of one decoding step after `prompt_tokens` positions.
    pub flops_per_decoded_token: u64,
    /// Operations of a prefill of `prompt_tokens`, whose last position alone gets logits.
    pub flops_per_prefill: u64,
    /// Positions of the prompt.
    pub prompt_tokens: usize,
}

impl Size {
    /// Measures a model's checkpoint beside the weight files' bytes of the baseline; work is that of a prompt of
    /// `prompt_tokens`.
    ///
    /// # Errors
    /// [`EvalError::Model`] and [`EvalError::Weight`] where a weight cannot be read.
    pub fn of(model: &Model, baseline_bytes: u64, prompt_tokens: usize) -> Result<Self, EvalError> {
        let checkpoint: &Checkpoint = model.checkpoint();
        let ratio = Ratio::of(baseline_bytes, checkpoint.file_bytes());
        let spec = model.spec();
        let (mut params, mut nonzero_params) = (parameters(spec), parameters(spec));
        let head = (!spec.tied).then(|| spec.lm_head.clone());
        let mut forms = BTreeMap::new();
        for linear in spec.linears().chain(head) {
            let weight = model.matrix(&linear.name, linear.shape, linear.layout)?;
            let kept = weight
                .nonzero_parameters()
                .map_err(|source| EvalError::Weight { module: linear.name.clone(), source })?;
            let dense = dense_parameters(&linear);
            params = params - dense + weight.parameters();
            nonzero_params = nonzero_params - dense + kept;
            forms.insert(linear.name, weight.parameters());
        }
        Ok(Self {
            params,
            nonzero_params,
            bytes: checkpoint.file_bytes(),
            tensor_bytes: checkpoint.tensor_bytes(),
            compression_ratio: ratio.get(),
            fraction: ratio.fraction(),
            work: Some(work(spec, &forms, prompt_tokens)),
        })
    }
}

/// The parameters of a network: the elements of every tensor that its spec calls for, however they are stored.
pub fn parameters(spec: &DecoderSpec) -> u64 {
    spec.tensors().iter().map(|t| t.shape.iter().map(|&d| d as u64).product::<u64>()).sum()
}

fn dense_parameters(linear: &LinearSpec) -> u64 {
    linear.shape.iter().map(|&d| d as u64).product()
}

/// `forms` holds the parameters of the Linears that are stored.
fn work(spec: &DecoderSpec, forms: &BTreeMap<String, u64>, prompt_tokens: usize) -> Work {
    let of =
        |linear: &LinearSpec| forms.get(&linear.name).copied().unwrap_or_else(|| dense_parameters(linear));
    let head = 2 * if spec.tied { (spec.vocab * spec.d_model) as u64 } else { of(&spec.lm_head) };
    let linears: u64 = spec.layers.iter().map(|layer| 2 * per_token(layer, &of)).sum();
    let attention = |position: usize| -> u64 {
        let of_layer = |layer: &LayerSpec| {
            let seen = layer.attention.window.map_or(position, |window| window.min(position));
            (4 * layer.attention.n_q * layer.attention.head_dim * seen) as u64
        };
        spec.layers.iter().map(of_layer).sum()
    };
    let prompt: u64 = (1..=prompt_tokens).map(attention).sum();
    Work {
        flops_per_decoded_token: linears + head + attention(prompt_tokens + 1),
        flops_per_prefill: linears * prompt_tokens as u64 + head + prompt,
        prompt_tokens,
    }
}

/// The parameters that a token meets in a layer.
fn per_token(layer: &LayerSpec, of: &impl Fn(&LinearSpec) -> u64) -> u64 {
    let all: u64 = layer.linears().iter().map(of).sum();
    let MlpSpec::Experts { experts, top_k, router, .. } = &layer.mlp else { return all };
    let expert = |expert: &MlpSpec| -> u64 {
        expert
            .parts()
            .iter()
            .flat_map(|part| part.inputs().into_iter().chain(part.output()))
            .map(|l| of(&l))
            .sum()
    };
    let total: u64 = experts.iter().map(expert).sum();
    // Experts may differ in what became of them; which ones a token meets depends on it, so their mean counts.
    let met = total * (*top_k).min(experts.len()) as u64 / experts.len().max(1) as u64;
    all - total + met + of(router)
}
