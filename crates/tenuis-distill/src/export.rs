//! Between checkpoints and networks.

use crate::error::TrainError;
use crate::network::Network;
use crate::params::{Params, stored_values};
use crate::rounding::Rounding;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tenuis_core::{CheckpointWriter, DType, GroupedInt, Layout as Stored, Tensor, WriterOptions, Written};
use tenuis_model::Model;
use tenuis_spec::DecoderSpec;

/// How each matrix of a spec is stored that is not `[out, in]`, as embeddings and most heads are.
fn layouts(spec: &DecoderSpec) -> BTreeMap<String, Stored> {
    let head = (!spec.tied).then(|| spec.lm_head.clone());
    spec.linears().chain(head).map(|linear| (linear.name, linear.layout)).collect()
}

impl Network {
    /// Takes the weights of a model, compressed ones decoded, into f32. All are frozen.
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

    /// The integers that a [rounded](Network::round) module's weight has in the forward pass: what quantisation-aware
    /// training learned, to be stored as it is. Nothing for a module that is not rounded.
    ///
    /// # Shapes
    /// `[out_features, in_features]`, whatever the layout of the dense weight.
    ///
    /// # Errors
    /// [`TrainError::Quantise`] where the weight cannot be rounded so, [`TrainError::Shape`] for a module that the network
    /// does not have.
    pub fn quantized(&self, module: &str) -> Result<Option<GroupedInt>, TrainError> {
        self.rounded.get(module).map(|rounding| self.quantize(module, rounding)).transpose()
    }

    fn quantize(&self, module: &str, rounding: &Rounding) -> Result<GroupedInt, TrainError> {
        let stored = layouts(self.spec()).get(module).copied().unwrap_or(Stored::OutIn);
        rounding.encode(module, &self.adapted(module, stored)?, stored)
    }

    /// Finds a module that cannot be rounded before the first step does.
    pub(crate) fn check_rounded(&self) -> Result<(), TrainError> {
        self.rounded.iter().try_for_each(|(module, rounding)| self.quantize(module, rounding).map(|_| ()))
    }

    /// Writes a dense checkpoint: the trained f32 values, adapters added to their weights, in `dtype`. Weights that are
    /// rounded in the forward pass are written as they are before rounding; [`Network::quantized`] gives the integers.
    /// `files` lie beside the weights (tokenizer, generation settings).
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
        let layouts = layouts(self.spec());
        for tensor in self.spec().tensors() {
            let values = match tensor.module.as_ref().and_then(|(m, _)| layouts.get_key_value(m)) {
                Some((module, stored)) => crate::ops::to_vec(&self.adapted(module, *stored)?)?,
                None => self.params.values(&tensor.name)?,
            };
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
