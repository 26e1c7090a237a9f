//! Decoding to floats, a few rows at a time.

use crate::ExportError;
use tenuis_core::weight::Dense;
use tenuis_core::{Bytes, DType, Layout, Representation, Tensor, Weight, convert};

/// Values that are decoded at a time.
const TILE: usize = 1 << 18;

/// Rounds values to a type and checks that none that is finite becomes infinite.
pub(crate) fn round(tensor: &str, dtype: DType, values: &[f32]) -> Result<Bytes, ExportError> {
    let is_lost = |v: &&f32| v.is_finite() && !convert::round_f32(dtype, **v).is_finite();
    if let Some(&value) = values.iter().find(is_lost) {
        return Err(ExportError::Range { tensor: tensor.to_owned(), value, dtype });
    }
    convert::from_f32(dtype, values)
        .map_err(|source| ExportError::Tensor { tensor: tensor.to_owned(), source })
}

/// Decodes rows in order, tile by tile.
pub(crate) fn tiles(
    name: &str,
    weight: &dyn Representation,
    mut take: impl FnMut(&[f32]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let [rows, columns] = weight.shape();
    let step = (TILE / columns.max(1)).clamp(1, rows.max(1));
    let mut tile = vec![0.0; step * columns];
    for start in (0..rows).step_by(step) {
        let end = (start + step).min(rows);
        let tile = &mut tile[..(end - start) * columns];
        weight
            .decode_rows(start..end, tile)
            .map_err(|source| ExportError::Weight { tensor: name.to_owned(), source })?;
        take(tile)?;
    }
    Ok(())
}

/// A weight as a dense matrix of a type, in the layout that the network stores it in.
pub(crate) fn matrix(
    name: &str,
    weight: &Weight,
    dtype: DType,
    layout: Layout,
) -> Result<Tensor, ExportError> {
    if let Some(dense) = weight.downcast::<Dense>().filter(|d| d.dtype() == dtype && d.layout() == layout) {
        return Ok(dense.tensor().clone());
    }
    let [rows, columns] = weight.shape();
    let failed = |source| ExportError::Tensor { tensor: name.to_owned(), source };
    let mut bytes = Vec::with_capacity(rows * columns * dtype.size());
    tiles(name, weight.as_ref(), |tile| {
        bytes.extend_from_slice(&round(name, dtype, tile)?);
        Ok(())
    })?;
    if layout == Layout::InOut {
        let size = dtype.size();
        let mut turned = vec![0; bytes.len()];
        for (index, value) in bytes.chunks_exact(size).enumerate() {
            let (row, column) = (index / columns, index % columns);
            let at = (column * rows + row) * size;
            turned[at..at + size].copy_from_slice(value);
        }
        return Tensor::new(dtype, vec![columns, rows], Bytes::from_vec(turned)).map_err(failed);
    }
    Tensor::new(dtype, vec![rows, columns], Bytes::from_vec(bytes)).map_err(failed)
}

/// A float tensor of any shape in another type; others stay.
pub(crate) fn cast(name: &str, tensor: &Tensor, dtype: DType) -> Result<Tensor, ExportError> {
    match tensor.dtype().known() {
        Some(stored) if stored.is_float() && stored != dtype => {
            let failed = |source| ExportError::Tensor { tensor: name.to_owned(), source };
            let values = tensor.to_f32().map_err(failed)?;
            Tensor::new(dtype, tensor.shape().to_vec(), round(name, dtype, &values)?).map_err(failed)
        }
        _ => Ok(tensor.clone()),
    }
}

/// Whether every value of `from` is one of `to`.
pub(crate) const fn holds(to: DType, from: DType) -> bool {
    matches!(
        (to, from),
        (DType::F32, DType::F32 | DType::F16 | DType::BF16)
            | (DType::F16, DType::F16)
            | (DType::BF16, DType::BF16)
            | (DType::F64, _)
    )
}
