//! Phi-3 and Phi-4: Llama with q, k, v and gate, up as one Linear each, and LongRoPE.

use super::Context;
use super::llama_like::{self, RopeSite, Traits};
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{AttentionSpec, FusedOrder, LayerSpec, MlpSpec, QkvSpec};
use crate::linear::{LinearSpec, Role};
use crate::rope::{RopeFields, RopeScaling, RopeSpec};
use serde_json::Value;

/// The trained length of files that do not mention it.
const TRAINED: usize = 4096;

pub(super) fn build(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let layers = cx.config.layers("num_hidden_layers")?;
    let traits = Traits {
        eps: 1e-5,
        max_positions: TRAINED,
        windows: vec![cx.config.opt_usize("sliding_window")?; layers],
        rope,
        ..Traits::of_llama(layers)
    };
    let mut spec = llama_like::build(cx, &traits)?;
    spec.layers.iter_mut().for_each(fuse);
    Ok(spec)
}

/// A trained length within `rope_parameters` has no effect, as in the reference. The first files have other names for
/// LongRoPE; any other scaling is refused there too.
fn rope(site: &RopeSite<'_>) -> Result<RopeSpec, SpecError> {
    let usual = RopeFields::usual(site.theta);
    let rope = site.read(&RopeFields { trained: Some(TRAINED), long: &["su", "yarn"], ..usual })?;
    match rope.scaling {
        RopeScaling::Default | RopeScaling::LongRope { .. } => Ok(rope),
        RopeScaling::Linear { .. } => Err(wrong_type(site, "linear")),
        _ => Err(wrong_type(site, "llama3")),
    }
}

fn wrong_type(site: &RopeSite<'_>, found: &str) -> SpecError {
    site.config.wrong("rope_type", &Value::from(found), "default or longrope")
}

fn fuse(layer: &mut LayerSpec) {
    let AttentionSpec { n_q, n_kv, head_dim, .. } = layer.attention;
    if let QkvSpec::Separate { q, .. } = &layer.attention.qkv {
        let shape = [(n_q + 2 * n_kv) * head_dim, layer.d_model];
        let qkv = fused(q, Role::Qkv, shape, ("q_proj", "qkv_proj"));
        layer.attention.qkv = QkvSpec::Fused { qkv, order: FusedOrder::Blocks };
    }
    if let MlpSpec::Gated { activation, gate, down, .. } = &layer.mlp {
        let shape = [2 * gate.shape[0], layer.d_model];
        let gate_up = fused(gate, Role::GateUp, shape, ("gate_proj", "gate_up_proj"));
        layer.mlp = MlpSpec::FusedGated { activation: *activation, gate_up, down: down.clone() };
    }
}

fn fused(first: &LinearSpec, role: Role, shape: [usize; 2], (from, to): (&str, &str)) -> LinearSpec {
    LinearSpec { name: first.name.replace(from, to), role, shape, ..first.clone() }
}
