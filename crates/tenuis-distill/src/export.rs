//! Between checkpoints and networks.

use crate::error::TrainError;
use crate::network::Network;
use crate::params::{Params, stored_values};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tenuis_core::{CheckpointWriter, DType, Layout as Stored, Tensor, WriterOptions, Written};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// How each matrix of a spec is stored.
pub(crate) fn layouts(spec: &DecoderSpec) -> BTreeMap<String, Stored> {
    let head = (!spec.tied).then(|| spec.lm_head.clone());
    spec.linears().chain(head).map(|linear| (linear.name, linear.layout)).collect()
}

impl Network {
    /// Takes the weights of a model, compressed ones decoded, into f32.
    ///
    /// # Errors
    /// [`TrainError::Model`], [`TrainError::Checkpoint`], [`TrainError::Weight`].
    pub fn from_model(model: &Model) -> Result<Self, TrainError> {
        let spec = model.spec().clone();
        let layouts = layouts(&spec);
        let params = Params::read(&spec, |tensor| {
            let Some((module, shape)) = &tensor.module else {
                let stored = model.checkpoint().tensor(&tensor.name)?;
                let values = stored.to_f32().map_err(|source| tenuis_model::ModelError::Tensor {
                    name: tensor.name.clone(),
                    source,
                })?;
                return Ok(values.into_owned());
            };
            let layout = layouts.get(module).copied().unwrap_or(Stored::OutIn);
            stored_values(module, &model.matrix(module, *shape, layout)?, layout)
        })?;
        Ok(Self::new(spec, params))
    }

    /// Writes a dense checkpoint. `files` lie beside the weights (tokenizer, generation settings).
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`].
    pub fn write(
        &self,
        target: &Path,
        config: &Value,
        dtype: DType,
        files: &[(&str, &[u8])],
        options: WriterOptions,
        provenance: Value,
    ) -> Result<Written, TrainError> {
        let mut writer = CheckpointWriter::create(target, &[], options)?;
        for tensor in self.spec().tensors() {
            let values = self.params.values(&tensor.name)?;
            let stored = Tensor::from_f32(dtype, tensor.shape, &values)
                .map_err(|source| tenuis_model::ModelError::Tensor { name: tensor.name.clone(), source })?;
            writer.put(&tensor.name, &stored)?;
        }
        for (name, bytes) in files {
            writer.put_file(name, bytes)?;
        }
        Ok(writer.finish(config, provenance)?)
    }
}
