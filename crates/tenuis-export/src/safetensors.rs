//! Formats in Hugging Face layout: config.json, safetensors, side files.

use crate::dense::{cast, holds, matrix};
use crate::layers::{done, linear, linears};
use crate::report::{ExportReport, ExportedLayer, Fidelity};
use crate::scheme::{Candidate, Scheme, smallest};
use crate::{ExportError, ExportOptions, Format, Source};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tenuis_core::checkpoint::Sealed;
use tenuis_core::storage::gptq::{self, GptqDeclaration, GptqScheme};
use tenuis_core::storage::{Misfit, awq};
use tenuis_core::weight::Dense;
use tenuis_core::{
    Bits, CheckpointWriter, Component, DType, GroupedInt, Weight, WriterOptions, quantization_config_for,
};
use tenuis_spec::LinearSpec;

/// The kinds that compressed-tensors has a form for.
const COMPRESSED_TENSORS_KINDS: [&str; 2] = ["grouped_int", "int8_dynamic"];

/// What is known of the output while it is being written.
struct Output<'a> {
    source: &'a Source<'a>,
    format: Format,
    scheme: Option<Scheme>,
    options: &'a ExportOptions,
    writer: CheckpointWriter,
    layers: Vec<ExportedLayer>,
    /// Descriptors of weights that are packed as components.
    descriptors: BTreeMap<String, Value>,
    /// Linears that are dense.
    dense: Vec<String>,
    symmetric: bool,
    act_order: bool,
    rounded_rest: bool,
    dtypes: BTreeSet<&'static str>,
}

pub(crate) fn write(
    source: &Source<'_>,
    format: Format,
    target: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Sealed, ExportReport), ExportError> {
    let linears = linears(source);
    let writer_options =
        WriterOptions::default().max_shard_bytes(options.max_shard_bytes).overwrite(options.overwrite);
    let writer = CheckpointWriter::create(target, &[source.checkpoint.location()], writer_options)?;
    let mut output = Output {
        source,
        format,
        scheme: scheme(source, format, &linears)?,
        options,
        writer,
        layers: Vec::new(),
        descriptors: BTreeMap::new(),
        dense: Vec::new(),
        symmetric: true,
        act_order: false,
        rounded_rest: false,
        dtypes: BTreeSet::new(),
    };
    let mut written: BTreeSet<String> = BTreeSet::new();
    for linear in &linears {
        written.extend(source.stored.tensor_names(source.checkpoint, &linear.name));
    }
    // Where several modules share tensors, as a tied head does, nothing but the embedding is stored.
    let rest: Vec<&str> = source.checkpoint.names().filter(|name| !written.contains(*name)).collect();
    let total = (linears.len() + rest.len()) as u64;
    for (number, linear) in (1u64..).zip(&linears) {
        output.put_linear(linear)?;
        progress(number, total);
    }
    for (number, name) in (linears.len() as u64 + 1..).zip(rest) {
        output.put_rest(name)?;
        progress(number, total);
    }
    output.seal(&linears)
}

/// The scheme of a format that has one for the whole file.
fn scheme(
    source: &Source<'_>,
    format: Format,
    linears: &[LinearSpec],
) -> Result<Option<Scheme>, ExportError> {
    let bits: &[u8] = match format {
        Format::Gptq(_) => &gptq::BITS,
        Format::Awq => &[4],
        Format::Gguf | Format::Dense | Format::CompressedTensors => return Ok(None),
    };
    let mut candidates = Vec::new();
    for spec in linears {
        let weight = linear(source, spec)?;
        if let Some(grouped) = weight.downcast::<GroupedInt>() {
            candidates.push(Candidate { spec: grouped.spec(), shape: spec.shape });
        }
        done(source, &spec.name, weight);
    }
    Ok(smallest(&candidates, bits))
}

impl Output<'_> {
    fn put_linear(&mut self, spec: &LinearSpec) -> Result<(), ExportError> {
        let weight = linear(self.source, spec)?;
        let from = weight.kind().to_owned();
        let why_dense = if from == "dense" || self.format == Format::Dense {
            None
        } else {
            match self.packed(&spec.name, &weight) {
                Ok((components, to, fidelity)) => {
                    for component in components {
                        self.writer.put(&format!("{}.{}", spec.name, component.suffix), &component.tensor)?;
                    }
                    let name = spec.name.clone();
                    self.layers.push(ExportedLayer { name, from, to, fidelity, why_dense: None });
                    done(self.source, &spec.name, weight);
                    return Ok(());
                }
                Err(misfit) => Some(misfit.to_string()),
            }
        };
        self.put_dense(spec, &weight, from, why_dense)?;
        done(self.source, &spec.name, weight);
        Ok(())
    }

    /// The tensors of a weight in the format, what they are and how near.
    fn packed(
        &mut self,
        module: &str,
        weight: &Weight,
    ) -> Result<(Vec<Component>, String, Fidelity), Misfit> {
        let kind = || Misfit::Kind { kind: weight.kind().to_owned() };
        if self.format == Format::CompressedTensors {
            if !COMPRESSED_TENSORS_KINDS.contains(&weight.kind()) {
                return Err(kind());
            }
            let to = weight.downcast::<GroupedInt>().map_or(8, |grouped| grouped.spec().bits.get());
            self.descriptors.insert(module.to_owned(), weight.descriptor());
            return Ok((weight.components(), format!("{to} bits"), Fidelity::Exact));
        }
        let grouped = weight.downcast::<GroupedInt>().ok_or_else(kind)?;
        let spec = grouped.spec();
        let to = format!("{} bits", spec.bits);
        // There is a scheme wherever a width fits the format.
        let scheme = self.scheme.ok_or(Misfit::Bits { found: spec.bits.get(), expected: 4 })?;
        let components = match self.format {
            Format::Gptq(version) => {
                let scheme = GptqScheme { bits: scheme.bits, group_size: scheme.group_size };
                gptq::components(grouped, scheme, version)?
            }
            _ => awq::components(grouped, scheme.group_size)?,
        };
        self.symmetric &= spec.symmetric;
        self.act_order |= spec.group_index;
        let exact = spec.scale_dtype == DType::F16;
        Ok((components, to, if exact { Fidelity::Exact } else { Fidelity::RoundedScales }))
    }

    fn put_dense(
        &mut self,
        spec: &LinearSpec,
        weight: &Weight,
        from: String,
        why_dense: Option<String>,
    ) -> Result<(), ExportError> {
        let stored = weight.downcast::<Dense>().map(Dense::dtype);
        let dtype = match (self.options.dtype, stored) {
            (Some(asked), _) => asked,
            (None, Some(stored)) if self.format != Format::Dense => stored,
            (None, _) => DType::F16,
        };
        let name = spec.weight_name();
        self.writer.put(&name, &matrix(&name, weight, dtype, spec.layout)?)?;
        let exact = stored.is_some_and(|stored| holds(dtype, stored));
        self.dtypes.insert(dtype.torch_name());
        self.dense.push(spec.name.clone());
        self.layers.push(ExportedLayer {
            name: spec.name.clone(),
            from,
            to: dtype.name().to_owned(),
            fidelity: if exact { Fidelity::Exact } else { Fidelity::Rounded },
            why_dense,
        });
        Ok(())
    }

    /// Embeddings, norms, biases and whatever else there is.
    fn put_rest(&mut self, name: &str) -> Result<(), ExportError> {
        let source = self.source;
        // A quantised embedding, as GGUF files have it; a bias is no part of its module's weight.
        if let Some((module, [rows, columns])) = name.rsplit_once('.').and_then(|(module, suffix)| {
            source.stored.descriptor(module).filter(|_| suffix != "bias")?;
            Some((module, source.stored.shape(source.checkpoint, module)?))
        }) {
            let weight = crate::layers::weight(source, module, [rows, columns], tenuis_core::Layout::OutIn)?;
            let dtype = self.options.dtype.unwrap_or(DType::F16);
            let dense_name = format!("{module}.weight");
            let names = source.stored.tensor_names(source.checkpoint, module);
            // Its first tensor stands for all of them.
            if names.first().is_some_and(|first| first == name) {
                self.writer
                    .put(&dense_name, &matrix(&dense_name, &weight, dtype, tenuis_core::Layout::OutIn)?)?;
                self.dtypes.insert(dtype.torch_name());
                self.rounded_rest = true;
            }
            return Ok(());
        }
        let tensor = source.checkpoint.tensor(name)?;
        let stored = tensor.dtype().known().filter(|d| d.is_float());
        let asked = self.options.dtype.or((self.format == Format::Dense).then_some(DType::F16));
        let tensor = match (asked, stored) {
            (Some(dtype), Some(stored)) => {
                self.rounded_rest |= !holds(dtype, stored);
                cast(name, &tensor, dtype)?
            }
            _ => tensor,
        };
        if let Some(dtype) = tensor.dtype().known().filter(|d| d.is_float()) {
            self.dtypes.insert(dtype.torch_name());
        }
        self.writer.put(name, &tensor)?;
        source.checkpoint.release([name]);
        Ok(())
    }

    fn seal(mut self, linears: &[LinearSpec]) -> Result<(Sealed, ExportReport), ExportError> {
        let mut config: Map<String, Value> =
            self.source.checkpoint.config().as_object().cloned().unwrap_or_default();
        config.remove("quantization_config");
        config.remove("compression_config");
        if let (1, Some(dtype)) = (self.dtypes.len(), self.dtypes.first()) {
            let known = ["dtype", "torch_dtype"].into_iter().find(|key| config.contains_key(*key));
            config.insert(known.unwrap_or("torch_dtype").to_owned(), json!(dtype));
        }
        if let Some(declared) = self.declaration(linears)? {
            config.insert("quantization_config".to_owned(), declared.clone());
            if let Format::Gptq(_) = self.format {
                let text = serde_json::to_vec_pretty(&declared).unwrap_or_default();
                self.writer.put_file(gptq::CONFIG_FILE, &text)?;
            }
        }
        self.writer.copy_side_files(self.source.checkpoint)?;
        let report =
            ExportReport { format: self.format.name(), layers: self.layers, rounded_rest: self.rounded_rest };
        let provenance = json!({
            "export": report,
            "source": self.source.checkpoint.manifest().map(|m| m.provenance.clone()),
        });
        Ok((self.writer.seal(&Value::Object(config), provenance)?, report))
    }

    /// The `quantization_config`, where anything is packed.
    fn declaration(&self, linears: &[LinearSpec]) -> Result<Option<Value>, ExportError> {
        let is_packed = |name: &str| !self.dense.iter().any(|d| d == name);
        let head = &self.source.spec.lm_head.name;
        let head_is_packed = !self.source.spec.tied && is_packed(head);
        if self.format == Format::Dense || linears.iter().all(|l| !is_packed(&l.name)) {
            return Ok(None);
        }
        let mut dense = self.dense.clone();
        Ok(match (self.format, self.scheme) {
            (Format::Gptq(version), Some(scheme)) => {
                // The head is dense unless the configuration says otherwise.
                dense.retain(|name| name != head);
                let scheme = GptqScheme { bits: scheme.bits, group_size: scheme.group_size };
                let declared = GptqDeclaration {
                    scheme,
                    version,
                    symmetric: self.symmetric,
                    act_order: self.act_order,
                    head: head_is_packed,
                    dense,
                };
                Some(declared.to_json())
            }
            (Format::Awq, Some(Scheme { bits: Bits::FOUR, group_size })) => {
                Some(awq::config(group_size, &self.ignored(dense)))
            }
            (Format::CompressedTensors, _) => {
                quantization_config_for(&self.descriptors, &self.ignored(dense))?
            }
            _ => None,
        })
    }

    /// Linears that others would look for in packed form and that are not: a tied head is one too.
    fn ignored(&self, mut dense: Vec<String>) -> Vec<String> {
        if self.source.spec.tied {
            dense.push(self.source.spec.lm_head.name.clone());
        }
        dense
    }
}
