//! A weight as it will be after rounding, with the gradient of the weight as it is.

use super::{read, tensor};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use tenuis_core::{GroupedInt, Layout as Stored, Representation};
use tenuis_quant::{QuantError, RtnConfig, rtn};

/// Rounds a weight to the integers that export will store, and passes the gradient straight through
/// (Bengio et al. 2013, 1308.3432; Jacob et al. 2018, 1712.05877).
///
/// The grid is fitted to every group anew each time, by the very function that writes the final weight, so that what is
/// trained is what is stored, bit for bit. A grid from minimum to maximum clips nothing, hence no gradient is masked; one
/// that was shrunk to the least error clips a few weights, which keep their gradient too, so that they can come back.
///
/// # Shapes
/// `weight`: `[out, in]` or `[in, out]` f32 as stored; groups run along `in`.
pub(crate) fn fake_quant(weight: &Tensor, stored: Stored, config: &RtnConfig) -> Result<Tensor> {
    weight.contiguous()?.apply_op1(FakeQuant { stored, config: config.clone() })
}

struct FakeQuant {
    stored: Stored,
    config: RtnConfig,
}

impl CustomOp1 for FakeQuant {
    fn name(&self) -> &'static str {
        "tenuis-fake-quant"
    }

    fn cpu_fwd(&self, weight: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let values = read(weight, layout, self.name())?;
        let wrap = |e: &dyn std::fmt::Display| candle_core::Error::Msg(e.to_string()).bt();
        let rounded = rounded(&values, [rows, columns], self.stored, &self.config).map_err(|e| wrap(&e))?;
        let mut dense = dense(&rounded).map_err(|e| wrap(&e))?;
        if self.stored == Stored::InOut {
            dense = transposed(&dense, rounded.shape());
        }
        Ok((CpuStorage::F32(dense), layout.shape().clone()))
    }

    fn bwd(&self, weight: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(tensor(super::to_vec(grad)?, weight.shape(), DType::F32)?))
    }
}

/// The integers that a weight `[rows, columns]`, as stored, is rounded to.
pub(crate) fn rounded(
    values: &[f32],
    [rows, columns]: [usize; 2],
    stored: Stored,
    config: &RtnConfig,
) -> std::result::Result<GroupedInt, QuantError> {
    let quantized = match stored {
        Stored::OutIn => rtn(values, [rows, columns], config)?,
        Stored::InOut => rtn(&transposed(values, [rows, columns]), [columns, rows], config)?,
    };
    Ok(quantized.weight)
}

fn dense(weight: &GroupedInt) -> std::result::Result<Vec<f32>, tenuis_core::WeightError> {
    let [out, input] = weight.shape();
    let mut values = vec![0.0; out * input];
    weight.decode_rows(0..out, &mut values)?;
    Ok(values)
}

/// Turns rows into columns.
pub(crate) fn transposed(x: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    tenuis_linalg::transpose::<8, 16, _, _>(x, columns, &mut out, rows, [rows, columns], |v| v);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::input;
    use candle_core::Var;

    #[test]
    fn rounds_forward_and_passes_the_gradient() {
        for stored in [Stored::OutIn, Stored::InOut] {
            let weight = Var::from_tensor(&input(&[8, 32], 0)).unwrap();
            let config = RtnConfig::default();
            let y = fake_quant(weight.as_tensor(), stored, &config).unwrap();
            let logical = if stored == Stored::OutIn { y.clone() } else { y.t().unwrap() };
            let source = weight.as_tensor();
            let source = if stored == Stored::OutIn { source.clone() } else { source.t().unwrap() };
            let shape = source.dims2().map(|(a, b)| [a, b]).unwrap();
            let source = crate::ops::to_vec(&source).unwrap();
            let exported = dense(&rtn(&source, shape, &config).unwrap().weight).unwrap();
            assert_eq!(crate::ops::to_vec(&logical).unwrap(), exported);
            assert_ne!(source, exported);
            let grad = y.sum_all().unwrap().backward().unwrap();
            let grad: Vec<f32> = grad.get(&weight).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            assert!(grad.iter().all(|&g| g == 1.0));
        }
    }
}
