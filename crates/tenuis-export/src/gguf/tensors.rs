//! Which tensors a file has, of which type each is and where its data come from.

use super::PLAIN;
use super::metadata::Network;
use crate::dense::holds;
use crate::layers::{done, weight};
use crate::report::{ExportedLayer, Fidelity};
use crate::{ExportError, ExportOptions, Source};
use tenuis_core::gguf::blocks::BlockEncoder;
use tenuis_core::gguf::names::HeadRows;
use tenuis_core::gguf::{GgmlType, config};
use tenuis_core::weight::{Dense, Q4_1};
use tenuis_core::{DType, GroupedInt, Layout, Weight};
use tenuis_spec::{LayerSpec, LinearSpec, MlpSpec, QkvSpec};

/// A tensor that will be written.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) kind: GgmlType,
    pub(super) shape: Vec<usize>,
    pub(super) content: Content,
}

/// Where the data of a tensor come from.
pub(super) enum Content {
    /// A matrix of the network.
    Matrix {
        module: String,
        shape: [usize; 2],
        layout: Layout,
        /// The order of its rows.
        rows: Option<HeadRows>,
    },
    /// A norm or a bias, which is f32 in the file.
    Vector { name: String, rows: Option<HeadRows> },
    /// Numbers that no tensor has.
    Values(Vec<f32>),
}

struct Plan<'a> {
    source: &'a Source<'a>,
    options: &'a ExportOptions,
    tensors: Vec<Planned>,
    layers: Vec<ExportedLayer>,
}

/// The tensors of a file in their order, and what becomes of every Linear.
pub(super) fn plan(
    source: &Source<'_>,
    network: &Network,
    options: &ExportOptions,
) -> Result<(Vec<Planned>, Vec<ExportedLayer>), ExportError> {
    let spec = source.spec;
    let mut plan = Plan { source, options, tensors: Vec::new(), layers: Vec::new() };
    let embedding = &spec.embedding.name;
    plan.matrix("token_embd", embedding, [spec.vocab, spec.d_model], PLAIN, None)?;
    // The report is about Linears.
    plan.layers.clear();
    if let Some(factors) = &network.rope_factors {
        let (name, content) = (config::ROPE_FACTORS.to_owned(), Content::Values(factors.clone()));
        plan.tensors.push(Planned { name, kind: GgmlType::F32, shape: vec![factors.len()], content });
    }
    for layer in &spec.layers {
        plan.layer(layer, network.rows)?;
    }
    if let Some(norm) = &spec.final_norm {
        plan.vector("output_norm.weight", format!("{}.weight", norm.name), norm.dim, None);
    }
    if !spec.tied {
        plan.linear("output", &spec.lm_head, None)?;
    }
    Ok((plan.tensors, plan.layers))
}

impl Plan<'_> {
    fn layer(&mut self, layer: &LayerSpec, rows: Option<HeadRows>) -> Result<(), ExportError> {
        // The network was checked to have these parts.
        let (QkvSpec::Separate { q, k, v }, MlpSpec::Gated { gate, up, down, .. }) =
            (&layer.attention.qkv, &layer.mlp)
        else {
            return Ok(());
        };
        let name = |part: &str| format!("blk.{}.{part}", layer.index);
        for (part, norm) in [("attn_norm", &layer.norms.attention_pre), ("ffn_norm", &layer.norms.mlp_pre)] {
            if let Some(norm) = norm {
                self.vector(
                    &name(&format!("{part}.weight")),
                    format!("{}.weight", norm.name),
                    norm.dim,
                    None,
                );
            }
        }
        for (part, linear, rows) in [
            ("attn_q", q, rows),
            ("attn_k", k, rows),
            ("attn_v", v, None),
            ("attn_output", &layer.attention.o, None),
            ("ffn_gate", gate, None),
            ("ffn_up", up, None),
            ("ffn_down", down, None),
        ] {
            self.linear(&name(part), linear, rows)?;
        }
        Ok(())
    }

    fn linear(&mut self, name: &str, linear: &LinearSpec, rows: Option<HeadRows>) -> Result<(), ExportError> {
        self.matrix(name, &linear.name, linear.shape, linear.layout, rows)?;
        if let Some(bias) = linear.bias_name() {
            self.vector(&format!("{name}.bias"), bias, linear.shape[0], rows);
        }
        Ok(())
    }

    fn vector(&mut self, name: &str, from: String, length: usize, rows: Option<HeadRows>) {
        let content = Content::Vector { name: from, rows };
        self.tensors.push(Planned {
            name: name.to_owned(),
            kind: GgmlType::F32,
            shape: vec![length],
            content,
        });
    }

    fn matrix(
        &mut self,
        name: &str,
        module: &str,
        shape: [usize; 2],
        layout: Layout,
        rows: Option<HeadRows>,
    ) -> Result<(), ExportError> {
        let weight = weight(self.source, module, shape, layout)?;
        let (kind, fidelity, why_dense) = self.form(&weight);
        self.layers.push(ExportedLayer {
            name: module.to_owned(),
            from: weight.kind().to_owned(),
            to: kind.name().to_owned(),
            fidelity,
            why_dense,
        });
        done(self.source, module, weight);
        let content = Content::Matrix { module: module.to_owned(), shape, layout, rows };
        self.tensors.push(Planned { name: format!("{name}.weight"), kind, shape: shape.to_vec(), content });
        Ok(())
    }

    /// The type of a matrix in the file, how near it is, and why it is dense where it was not.
    fn form(&self, weight: &Weight) -> (GgmlType, Fidelity, Option<String>) {
        let floats = match self.options.dtype {
            Some(DType::F32) => GgmlType::F32,
            Some(DType::BF16) => GgmlType::BF16,
            _ => GgmlType::F16,
        };
        if let Some(grouped) = weight.downcast::<GroupedInt>() {
            return match BlockEncoder::new(grouped) {
                Ok(encoder) if encoder.is_rounded() => (encoder.kind(), Fidelity::RoundedScales, None),
                Ok(encoder) => (encoder.kind(), Fidelity::Exact, None),
                Err(misfit) => (floats, Fidelity::Rounded, Some(misfit.to_string())),
            };
        }
        if weight.downcast::<Q4_1>().is_some() {
            return (GgmlType::Q4_1, Fidelity::Exact, None);
        }
        match weight.downcast::<Dense>() {
            Some(dense) if holds(dtype(floats), dense.dtype()) => (floats, Fidelity::Exact, None),
            Some(_) => (floats, Fidelity::Rounded, None),
            None => {
                let misfit = tenuis_core::storage::Misfit::Kind { kind: weight.kind().to_owned() };
                (floats, Fidelity::Rounded, Some(misfit.to_string()))
            }
        }
    }
}

/// The float type of a type without blocks.
pub(super) const fn dtype(kind: GgmlType) -> DType {
    match kind {
        GgmlType::F32 => DType::F32,
        GgmlType::BF16 => DType::BF16,
        _ => DType::F16,
    }
}
