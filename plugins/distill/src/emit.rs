//! What training made, handed to the host.

use crate::checkpoint::{failure, linears, module_of};
use std::collections::{BTreeMap, BTreeSet};
use tenuis_core::{DType, convert};
use tenuis_distill::Network;
use tenuis_plugin::{CheckpointView, ModelEmitter, TechniqueError};
use tenuis_spec::LinearSpec;

/// How the student is written.
pub(crate) struct Emission<'a> {
    pub(crate) network: &'a Network,
    /// The checkpoint that the stage was given.
    pub(crate) given: &'a CheckpointView<'a>,
    /// The tensors that changed, or nothing where all are new.
    pub(crate) changed: Option<BTreeSet<String>>,
    /// The type of a dense tensor, by its name.
    pub(crate) dtypes: BTreeMap<String, DType>,
}

impl Emission<'_> {
    pub(crate) fn send(&self, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        if self.changed.is_none() {
            self.clear(out)?;
        }
        let linears: BTreeMap<String, LinearSpec> =
            linears(self.network.spec()).map(|linear| (linear.name.clone(), linear)).collect();
        for tensor in self.network.spec().tensors() {
            let untouched = self.changed.as_ref().is_some_and(|changed| !changed.contains(&tensor.name));
            if untouched {
                continue;
            }
            let module = tensor.module.as_ref().map(|(module, _)| module.as_str());
            let linear = module.and_then(|module| linears.get(module));
            if let Some(linear) = linear
                && let Some(product) = self.network.low_rank(&linear.name).map_err(|e| failure(&e))?
            {
                out.emit_weight(&linear.name, &product)?;
                continue;
            }
            if let Some(linear) = linear
                && let Some(weight) = self.network.quantized(&linear.name).map_err(|e| failure(&e))?
            {
                out.emit_weight(&linear.name, &weight)?;
                continue;
            }
            let values = self.network.params.values(&tensor.name).map_err(|e| failure(&e))?;
            let dtype = self.dtypes.get(&tensor.name).copied().unwrap_or(DType::F32);
            out.emit_tensor(&tensor.name, dtype, &tensor.shape, &convert::from_f32(dtype, &values)?)?;
        }
        Ok(())
    }

    /// Removes what a new network has no place for.
    fn clear(&self, out: &mut ModelEmitter<'_>) -> Result<(), TechniqueError> {
        let new: BTreeSet<String> =
            self.network.spec().tensors().into_iter().map(|tensor| tensor.name).collect();
        let mut components = BTreeSet::new();
        for (module, weight) in self.given.weights() {
            let dense = weight.descriptor()["kind"] == "dense";
            if !dense {
                // Its components go together, and make room for a dense one.
                out.remove(module)?;
                components.insert(module);
            } else if !new.contains(&format!("{module}.weight")) {
                out.remove(module)?;
                components.insert(module);
            }
        }
        for (name, _) in self.given.tensors() {
            let of_module = name.rsplit_once('.').is_some_and(|(module, suffix)| {
                suffix != "bias" && (components.contains(module) || self.given.has_weight(module))
            });
            if !of_module && !new.contains(name) && belongs(name, &new) {
                out.remove(name)?;
            }
        }
        Ok(())
    }
}

/// Whether a tensor that the new network does not have is one of a layer: buffers of the whole network stay.
fn belongs(name: &str, new: &BTreeSet<String>) -> bool {
    let kind = |name: &str| -> String {
        name.split('.')
            .map(|part| if part.parse::<usize>().is_ok() { "#" } else { part })
            .collect::<Vec<_>>()
            .join(".")
    };
    name.split('.').any(|part| part.parse::<usize>().is_ok())
        && new.iter().any(|other| kind(other) == kind(name))
}

/// The types that the tensors of a checkpoint are stored in, compressed ones in that of their norms.
pub(crate) fn dtypes(
    view: &CheckpointView<'_>,
    names: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, DType> {
    let float =
        |name: &str| view.tensor(name).ok().map(tenuis_plugin::TensorView::dtype).filter(|d| d.is_float());
    let norm = view.tensors().find(|(_, t)| t.shape().len() == 1 && t.dtype().is_float());
    let common = norm.map_or(DType::F32, |(_, t)| t.dtype());
    names
        .map(|(name, source)| {
            let stored = float(&source).filter(|_| view.has_tensor(&source));
            let dtype = stored.or_else(|| float(&format!("{}.weight", module_of(&source)))).unwrap_or(common);
            (name, dtype)
        })
        .collect()
}
