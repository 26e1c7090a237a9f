//! Gemma 1 to 3: scaled embeddings, norms whose weight is an offset from one, a feed-forward part gated by GELU. Gemma 2
//! adds norms behind both parts of a layer, caps and windows; Gemma 3 norms of heads and positions of two kinds.

use super::llama_like::{self, RopeSite, Traits};
use super::{Context, refuse};
use crate::config::Config;
use crate::decoder::DecoderSpec;
use crate::error::SpecError;
use crate::layer::{Activation, MlpSpec, NormSpec};
use crate::rope::{RopeFields, RopeSpec};
use serde_json::Value;

/// The window of files that do not mention it.
const WINDOW: usize = 4096;

/// Every sixth layer of a Gemma 3 sees everything where the configuration does not say which do.
const PATTERN: usize = 6;

pub(super) fn build_gemma(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let mut spec = llama_like::build(cx, &Traits { n_kv: Some(16), ..of_gemma(cx, "hidden_act")? })?;
    if cx.config.opt_str("hidden_act")? == Some("gelu") {
        // The first files said gelu and meant its approximation; the reference reads them so in Gemma 1 alone.
        for layer in &mut spec.layers {
            if let MlpSpec::Gated { activation, .. } = &mut layer.mlp {
                *activation = Activation::GeluTanh;
            }
        }
    }
    finish(&mut spec);
    Ok(spec)
}

pub(super) fn build_gemma2(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let traits = Traits {
        n_kv: Some(4),
        windows: windows(cx, |i| i.is_multiple_of(2))?,
        ..of_gemma(cx, "hidden_activation")?
    };
    let mut spec = llama_like::build(cx, &traits)?;
    let softcap = cap(config, "attn_logit_softcapping", 50.0)?;
    for layer in &mut spec.layers {
        layer.attention.softcap = softcap;
    }
    spec.logit_softcap = cap(config, "final_logit_softcapping", 30.0)?;
    sandwich(cx, &mut spec)?;
    finish(&mut spec);
    Ok(spec)
}

/// `attn_logit_softcapping` has no effect, as in the reference.
pub(super) fn build_gemma3(cx: &Context<'_>) -> Result<DecoderSpec, SpecError> {
    let config = cx.config;
    let pattern = config.usize_or("sliding_window_pattern", PATTERN)?;
    let traits = Traits {
        n_kv: Some(4),
        qk_norm: true,
        max_positions: 131_072,
        windows: windows(cx, |i| (i + 1) % pattern != 0)?,
        rope: rope_by_window,
        ..of_gemma(cx, "hidden_activation")?
    };
    let mut spec = llama_like::build(cx, &traits)?;
    let given = config.value("final_logit_softcapping").is_some();
    spec.logit_softcap = given.then(|| config.positive("final_logit_softcapping", 1.0)).transpose()?;
    sandwich(cx, &mut spec)?;
    finish(&mut spec);
    Ok(spec)
}

fn of_gemma(cx: &Context<'_>, activation: &'static str) -> Result<Traits, SpecError> {
    let config = cx.config;
    let why = "attention that looks ahead is none of a decoder";
    refuse(config, "use_bidirectional_attention", true, why)?;
    let bias = config.bool_or("attention_bias", false)?;
    Ok(Traits {
        head_dim: Some(256),
        qkv_bias: bias,
        o_bias: bias,
        activation: (activation, Activation::GeluTanh),
        max_positions: 8192,
        tied: true,
        ..Traits::of_llama(config.layers("num_hidden_layers")?)
    })
}

/// A cap that is absent where the field is null.
fn cap(config: Config<'_>, field: &str, usual: f64) -> Result<Option<f64>, SpecError> {
    if config.has(field) && config.value(field).is_none() {
        return Ok(None);
    }
    config.positive(field, usual).map(Some)
}

fn windows(cx: &Context<'_>, is_sliding: impl Fn(usize) -> bool) -> Result<Vec<Option<usize>>, SpecError> {
    let (config, field) = (cx.config, "sliding_window");
    let absent = (!config.has(field)).then_some(WINDOW);
    let window = config.opt_usize(field)?.or(absent);
    let layers = config.layers("num_hidden_layers")?;
    let windows = llama_like::windows(cx, layers, window.or(Some(0)), is_sliding)?;
    if window.is_none() && windows.iter().any(Option::is_some) {
        return Err(config.wrong(field, &Value::Null, "a number, as some layers slide"));
    }
    Ok(windows)
}

/// Layers with a window have a base of their own and no scaling. Newer files have an object for either kind; in older
/// ones `rope_scaling` is that of layers without a window.
fn rope_by_window(site: &RopeSite<'_>) -> Result<RopeSpec, SpecError> {
    let parameters = site.config.object("rope_parameters", "rope_parameters.")?;
    let of = |kind: &str, path| parameters.map(|p: Config<'_>| p.object(kind, path)).transpose();
    let (theta, parameters) = if site.window.is_some() {
        let parameters = of("sliding_attention", "rope_parameters.sliding_attention.")?;
        (("rope_local_base_freq", 10_000.0), parameters.flatten())
    } else {
        let older = site.config.object("rope_scaling", "rope_scaling.")?;
        let parameters = of("full_attention", "rope_parameters.full_attention.")?;
        (("rope_theta", 1_000_000.0), older.or(parameters.flatten()))
    };
    let fields = RopeFields { theta, ..RopeFields::usual(theta.1) };
    RopeSpec::from_parts(site.config, parameters, &fields, site.head_dim, site.max_positions)
}

/// Puts a norm before and behind either part, and scales scores by a number of the configuration.
fn sandwich(cx: &Context<'_>, spec: &mut DecoderSpec) -> Result<(), SpecError> {
    let scale = cx.config.positive("query_pre_attn_scalar", 256.0)?.powf(-0.5);
    for layer in &mut spec.layers {
        layer.attention.scale = scale;
        let name = |module: &str| format!("{}layers.{}.{module}", cx.prefix, layer.index);
        let norms = &mut layer.norms;
        // Here the norm of that name stands behind attention, not before the feed-forward part.
        norms.attention_post = norms.mlp_pre.take();
        let norm = |module| norms.attention_post.clone().map(|norm| NormSpec { name: name(module), ..norm });
        norms.mlp_pre = norm("pre_feedforward_layernorm");
        norms.mlp_post = norm("post_feedforward_layernorm");
    }
    Ok(())
}

/// The factor `√d_model` on embeddings and the ones in the norms.
///
/// The reference rounds the factor to the type that the model runs in: in bf16 √3072 is 55.5. Here the model runs in f32.
fn finish(spec: &mut DecoderSpec) {
    spec.embedding.scale = Some((spec.d_model as f64).sqrt());
    let layers = spec.layers.iter_mut().flat_map(|layer| {
        let norms = &mut layer.norms;
        let around =
            [&mut norms.attention_pre, &mut norms.attention_post, &mut norms.mlp_pre, &mut norms.mlp_post];
        let heads = layer.attention.qk_norm.iter_mut().flat_map(|norms| [&mut norms.q, &mut norms.k]);
        around.into_iter().flatten().chain(heads)
    });
    layers.chain(spec.final_norm.as_mut()).for_each(|norm| norm.plus_one = true);
}
