//! What a network is, in llama.cpp's terms.

use crate::{ExportError, Source};
use serde_json::json;
use tenuis_core::gguf::names::HeadRows;
use tenuis_core::gguf::{GgufValue, Metadata, config};
use tenuis_spec::{
    Activation, DecoderSpec, LayerSpec, MlpSpec, NormKind, NormSpec, Positions, QkvSpec, Residual,
    RopeScaling, RopeSpec,
};

/// The families that have an architecture there: `model_type`, its name, whether rows of queries and keys are reordered.
const ARCHITECTURES: [(&str, &str, bool); 3] =
    [("llama", "llama", true), ("mistral", "llama", true), ("qwen2", "qwen2", false)];

/// A network that the format can hold.
pub(crate) struct Network {
    architecture: &'static str,
    /// How the rows of queries and keys lie in the file.
    pub(crate) rows: Option<HeadRows>,
    /// The factors of the rotary frequencies, which are a tensor.
    pub(crate) rope_factors: Option<Vec<f32>>,
    rope: RopeSpec,
    eps: f64,
    head_dim: usize,
    n_q: usize,
    n_kv: usize,
    d_ff: usize,
}

/// What keeps a network out; the message continues "cannot hold this model:".
type Refusal = String;

impl Network {
    /// Checks that llama.cpp's architecture computes what the network does.
    pub(crate) fn of(source: &Source<'_>) -> Result<Self, ExportError> {
        let spec = source.spec;
        Self::check(spec).map_err(|problem| ExportError::Network {
            format: "gguf",
            model_type: spec.model_type.clone(),
            problem,
        })
    }

    fn check(spec: &DecoderSpec) -> Result<Self, Refusal> {
        let known = ARCHITECTURES.iter().find(|(model_type, ..)| *model_type == spec.model_type);
        let &(_, architecture, reordered) =
            known.ok_or("only llama, mistral and qwen2 have an architecture here")?;
        let first = spec.layers.first().ok_or("it has no layers")?;
        if spec.positions != Positions::None
            || spec.embedding.scale.is_some()
            || spec.embedding.norm.is_some()
            || spec.logit_scale.is_some()
            || spec.logit_softcap.is_some()
            || spec.lm_head.bias
        {
            return Err("its embedding or head does more than llama.cpp's".to_owned());
        }
        let widths = |layer: &LayerSpec| {
            let attention = &layer.attention;
            (attention.n_q, attention.n_kv, attention.head_dim, layer.mlp.d_ff())
        };
        for layer in &spec.layers {
            check_layer(layer, spec.max_positions).map_err(|p| format!("layer {}: {p}", layer.index))?;
            if widths(layer) != widths(first) || layer.attention.rope != first.attention.rope {
                return Err(format!(
                    "layer {} has other widths, numbers of heads or positions than layer 0, and llama.cpp has one for all",
                    layer.index
                ));
            }
        }
        let rope = first.attention.rope.clone().ok_or("its layers have no rotary positions")?;
        let head_dim = first.attention.head_dim;
        let eps = first.norms.attention_pre.as_ref().map_or(0.0, |n| n.eps);
        let final_norm = spec.final_norm.as_ref().ok_or("it has no final norm")?;
        let mut norms = spec.layers.iter().flat_map(LayerSpec::norms).chain([final_norm]);
        if norms.any(|norm| !is_plain(norm) || norm.eps != eps) {
            return Err("its norms are not all root-mean-square norms with one epsilon".to_owned());
        }
        let rope_factors = match rope.scaling {
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let settings = (factor, low_freq_factor, high_freq_factor, original_max_positions as f64);
                let factors = config::llama3_factors(settings, rope.theta, head_dim);
                Some(factors.into_iter().map(|f| f as f32).collect())
            }
            _ => None,
        };
        Ok(Self {
            architecture,
            rows: reordered.then_some(HeadRows { head_dim }),
            rope_factors,
            rope,
            eps,
            head_dim,
            n_q: first.attention.n_q,
            n_kv: first.attention.n_kv,
            d_ff: first.mlp.d_ff(),
        })
    }

    /// The metadata of the network; the tokenizer's are not among them.
    pub(crate) fn metadata(&self, source: &Source<'_>) -> Metadata {
        let spec = source.spec;
        let mut metadata = Metadata::default();
        metadata.push("general.architecture", self.architecture.into());
        let name = source.checkpoint.dir().file_name().map(|n| n.to_string_lossy().into_owned());
        metadata.push("general.name", GgufValue::Text(name.unwrap_or_else(|| spec.model_type.clone())));
        let mut put = |key: &str, value| metadata.push(format!("{}.{key}", self.architecture), value);
        let count = |n: usize| GgufValue::U32(n as u32);
        put("vocab_size", count(spec.vocab));
        put("context_length", count(spec.max_positions));
        put("embedding_length", count(spec.d_model));
        put("block_count", count(spec.layers.len()));
        put("feed_forward_length", count(self.d_ff));
        put("attention.head_count", count(self.n_q));
        put("attention.head_count_kv", count(self.n_kv));
        put("attention.key_length", count(self.head_dim));
        put("attention.value_length", count(self.head_dim));
        put("attention.layer_norm_rms_epsilon", GgufValue::F32(self.eps as f32));
        put("rope.dimension_count", count(self.head_dim));
        put("rope.freq_base", GgufValue::F32(self.rope.theta as f32));
        match self.rope.scaling {
            // LongRoPE is refused before.
            RopeScaling::Default | RopeScaling::LongRope { .. } => {}
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let settings = json!({
                    "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original_max_positions,
                });
                metadata.push(config::ROPE_SETTINGS, GgufValue::Text(settings.to_string()));
            }
            RopeScaling::Linear { factor } => {
                put("rope.scaling.type", "linear".into());
                put("rope.scaling.factor", GgufValue::F32(factor as f32));
            }
            RopeScaling::Yarn { factor, original_max_positions, .. } => {
                put("rope.scaling.type", "yarn".into());
                put("rope.scaling.factor", GgufValue::F32(factor as f32));
                put("rope.scaling.original_context_length", count(original_max_positions));
            }
        }
        metadata
    }
}

fn is_plain(norm: &NormSpec) -> bool {
    norm.kind == NormKind::Rms && !norm.plus_one && !norm.bias
}

fn check_layer(layer: &LayerSpec, max_positions: usize) -> Result<(), Refusal> {
    let attention = &layer.attention;
    if layer.residual != Residual::Sequential
        || layer.residual_scale.is_some()
        || layer.norms.attention_post.is_some()
        || layer.norms.mlp_post.is_some()
        || layer.norms.attention_pre.is_none()
        || layer.norms.mlp_pre.is_none()
    {
        return Err("its norms or residual connections stand elsewhere".to_owned());
    }
    if !matches!(attention.qkv, QkvSpec::Separate { .. }) {
        return Err("its queries, keys and values are one matrix".to_owned());
    }
    if !matches!(layer.mlp, MlpSpec::Gated { activation: Activation::Silu, .. }) {
        return Err("its feed-forward part is not gated by SiLU".to_owned());
    }
    if attention.qk_norm.is_some() || attention.softcap.is_some() {
        return Err("its queries and keys are normed or its scores capped".to_owned());
    }
    if attention.window.is_some_and(|window| window < max_positions) {
        return Err("its attention has a window".to_owned());
    }
    let scale = (attention.head_dim as f64).powf(-0.5);
    if (attention.scale - scale).abs() > 1e-9 * scale {
        return Err("its scores have a scale of their own".to_owned());
    }
    match &attention.rope {
        Some(rope) if rope.interleaved || rope.rotary_dim != attention.head_dim => {
            Err("its rotary positions turn part of a head, or neighbouring channels".to_owned())
        }
        Some(rope) if rope.long_after().is_some() => {
            Err("its rotary positions are stretched by LongRoPE".to_owned())
        }
        Some(RopeSpec {
            scaling: RopeScaling::Yarn { factor, beta_fast, beta_slow, attention_factor, truncate, .. },
            ..
        }) => {
            // What llama.cpp computes where a file gives the factor and the trained length alone.
            let usual = 0.1 * factor.ln() + 1.0;
            let is_usual = *beta_fast == 32.0
                && *beta_slow == 1.0
                && *truncate
                && (attention_factor - usual).abs() < 1e-6;
            if is_usual { Ok(()) } else { Err("its YaRN settings are not the usual ones".to_owned()) }
        }
        _ => Ok(()),
    }
}
