//! The matrices of a network, and reading them.

use crate::{ExportError, Source};
use tenuis_core::{Layout, Weight};
use tenuis_spec::LinearSpec;

/// The Linears in the order of the forward pass, with the head where it is stored by itself.
pub(crate) fn linears(source: &Source<'_>) -> Vec<LinearSpec> {
    let mut linears: Vec<LinearSpec> = source.spec.linears().collect();
    if !source.spec.tied {
        linears.push(source.spec.lm_head.clone());
    }
    linears
}

/// A matrix as it is stored.
pub(crate) fn weight(
    source: &Source<'_>,
    module: &str,
    shape: [usize; 2],
    layout: Layout,
) -> Result<Weight, ExportError> {
    Ok(source.stored.weight(source.checkpoint, source.codecs, module, shape, layout)?)
}

/// A Linear's weight.
pub(crate) fn linear(source: &Source<'_>, linear: &LinearSpec) -> Result<Weight, ExportError> {
    weight(source, &linear.name, linear.shape, linear.layout)
}

/// Gives the pages of a weight back once it is done with.
pub(crate) fn done(source: &Source<'_>, module: &str, weight: Weight) {
    drop(weight);
    let names = source.stored.tensor_names(source.checkpoint, module);
    source.checkpoint.release(names.iter().map(String::as_str));
}
