//! A new checkpoint out of an old one and what a technique changed.

use super::super::config::{Kept, Outcome};
use crate::error::RunError;
use crate::round_trip::check_emitted;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tenuis_core::weight::Dense;
use tenuis_core::{
    Checkpoint, CheckpointWriter, CodecRegistry, Component, StoredWeights, Weight, WriterOptions,
};
use tenuis_eval::report::StageRecord;
use tenuis_host::{ModelCheckpoint, ModelOutput};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// What a new checkpoint is made from.
pub(super) struct NewCheckpoint<'a> {
    pub(super) model: &'a Model,
    pub(super) student: &'a ModelCheckpoint,
    /// What must not be written over.
    pub(super) inputs: [&'a Arc<Checkpoint>; 2],
}

impl NewCheckpoint<'_> {
    /// Writes the checkpoint of a stage.
    pub(super) fn write(
        &self,
        target: &Path,
        options: WriterOptions,
        codecs: &CodecRegistry,
        output: &ModelOutput,
        outcome: Outcome,
        provenance: impl FnOnce(&StageRecord) -> Value,
    ) -> Result<StageRecord, RunError> {
        let (mut writer, config) = self.fill(target, options, output)?;
        writer.copy_side_files(self.model.checkpoint())?;
        let record = outcome.into_record();
        let provenance = provenance(&record);
        let sealed = writer.seal(&config, provenance)?;
        check_emitted(sealed.dir(), codecs, &output.weights)?;
        sealed.commit()?;
        Ok(record)
    }

    /// Writes a checkpoint to be measured and thrown away.
    pub(super) fn write_candidate(&self, target: &Path, output: &ModelOutput) -> Result<(), RunError> {
        let options = WriterOptions::default().overwrite(true);
        let (writer, config) = self.fill(target, options, output)?;
        writer.finish(&config, json!({}))?;
        Ok(())
    }

    fn fill(
        &self,
        target: &Path,
        options: WriterOptions,
        output: &ModelOutput,
    ) -> Result<(CheckpointWriter, Value), RunError> {
        let checkpoint = self.model.checkpoint();
        let base = output.config.as_ref().unwrap_or_else(|| checkpoint.config());
        // The names that a family gives are not those of every checkpoint; the old one tells.
        let embedding = &self.model.spec().embedding.name;
        let mut spec = DecoderSpec::for_modules(base, |module| module == embedding)
            .map_err(|source| RunError::NewConfig { source })?;
        spec.tied = spec.tied && self.model.spec().tied;
        let inputs = self.inputs.map(|input| input.location());
        let mut writer =
            CheckpointWriter::create(target, &inputs, options.expected_bytes(checkpoint.tensor_bytes()))?;
        let mut replaced: BTreeSet<String> =
            output.weights.keys().flat_map(|module| self.model.component_names(module)).collect();
        // What a foreign convention stores becomes the components that the new checkpoint's own names.
        let stored = StoredWeights::from_checkpoint(checkpoint)?;
        let foreign = stored.descriptors().map(|(module, _)| module).filter(|_| !stored.has_components());
        let translated: Vec<(&str, &Weight)> = foreign
            .filter(|module| !output.weights.contains_key(*module))
            .filter_map(|module| self.student.weights.get(module).map(|weight| (module, weight)))
            .collect();
        replaced.extend(translated.iter().flat_map(|(module, _)| self.model.component_names(module)));
        for name in checkpoint.names() {
            let gone = output.removals.contains(name) || replaced.contains(name);
            if !gone && !output.tensors.contains_key(name) {
                writer.put(name, &checkpoint.tensor(name)?)?;
                checkpoint.release([name]);
            }
        }
        for (module, weight) in translated {
            let is_kept = |component: &Component| {
                let name = format!("{module}.{}", component.suffix);
                !output.removals.contains(&name) && !output.tensors.contains_key(&name)
            };
            if weight.components().iter().all(is_kept) {
                writer.put_weight(module, weight.as_ref())?;
            }
        }
        for (name, tensor) in &output.tensors {
            writer.put(name, tensor)?;
        }
        for (module, weight) in &output.weights {
            writer.put_weight(module, weight.as_ref())?;
        }
        let config = self.kept(&spec, output)?.config(base, &spec)?;
        Ok((writer, config))
    }

    /// In what form each tensor of the network now is.
    fn kept(&self, spec: &DecoderSpec, output: &ModelOutput) -> Result<Kept, RunError> {
        let mut kept = Kept::default();
        let linears: BTreeSet<String> =
            spec.linears().chain((!spec.tied).then(|| spec.lm_head.clone())).map(|l| l.name).collect();
        for tensor in spec.tensors() {
            let new = output.tensors.get(&tensor.name);
            let weight: Option<Weight> = match (&tensor.module, new) {
                (Some(_), Some(new)) => Some(Arc::new(
                    Dense::new(new.clone())
                        .map_err(|source| RunError::Weight { tensor: tensor.name.clone(), source })?,
                )),
                (Some((module, _)), None) => {
                    output.weights.get(module).or_else(|| self.student.weights.get(module)).cloned()
                }
                (None, _) => None,
            };
            match (&tensor.module, weight) {
                (Some((module, _)), Some(weight)) if linears.contains(module) => {
                    kept.keep(module, &weight);
                }
                (_, Some(weight)) => {
                    if let Some(dense) = weight.downcast::<Dense>() {
                        kept.keep_dense(dense.dtype());
                    }
                }
                (_, None) => {
                    let stored = new.or_else(|| self.student.tensors.get(&tensor.name));
                    if let Some(dtype) = stored.and_then(|tensor| tensor.dtype().known()) {
                        kept.keep_dense(dtype);
                    }
                }
            }
        }
        Ok(kept)
    }
}
