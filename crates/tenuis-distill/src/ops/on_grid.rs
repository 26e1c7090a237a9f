//! A weight on the grid of a weight that is compressed already.

use super::{read, tensor};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::sync::Arc;
use tenuis_core::{GroupedInt, Layout as Stored, Representation, WeightError};

/// Scales and zero points of a compressed weight, which stay as they are while its codes are learned.
#[derive(Debug)]
pub(crate) struct Grid {
    template: GroupedInt,
    /// Of every column.
    group: Vec<usize>,
    /// `[out, groups]` each.
    scales: Vec<f32>,
    zeros: Vec<f32>,
    top: f32,
}

impl Grid {
    pub(crate) fn of(template: &GroupedInt) -> std::result::Result<Self, WeightError> {
        let ([out, input], groups) = (template.shape(), template.groups());
        let columns = template.spec().group_size.columns(input);
        let group = match template.group_index() {
            Some(index) => index.iter().map(|&g| g as usize).collect(),
            None => (0..input).map(|column| column / columns).collect(),
        };
        let mut scales = vec![0.0; out * groups];
        let mut zeros = vec![f32::from(template.spec().bits.mid_code()); out * groups];
        for row in 0..out {
            let place = row * groups..(row + 1) * groups;
            template.scales_row(row, &mut scales[place.clone()])?;
            if let Some(codes) = template.zeros_row(row) {
                zeros[place].iter_mut().zip(codes).for_each(|(zero, &code)| *zero = f32::from(code));
            }
        }
        let top = ((1u32 << template.spec().bits.get()) - 1) as f32;
        Ok(Self { template: template.clone(), group, scales, zeros, top })
    }

    /// `[out, in]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.template.shape()
    }

    /// The code of a value before it is clamped, and scale and zero point.
    fn place(&self, row: usize, column: usize, value: f32) -> (f32, f32, f32) {
        let at = row * self.template.groups() + self.group[column];
        let (scale, zero) = (self.scales[at], self.zeros[at]);
        let code = if scale == 0.0 { zero } else { (value / scale).round_ties_even() + zero };
        (code, scale, zero)
    }

    /// Calls `each(row, column, index)` for the values as they are stored, with the results of a row-major pass.
    fn map(
        &self,
        values: &[f32],
        stored: Stored,
        each: impl Fn(usize, usize, f32) -> f32 + Sync,
    ) -> Vec<f32> {
        let [out, input] = self.shape();
        let width = if stored == Stored::OutIn { input } else { out };
        let mut result = vec![0.0; values.len()];
        result.par_chunks_mut(width).zip(values.par_chunks(width)).enumerate().for_each(
            |(a, (result, values))| {
                for (b, (result, &value)) in result.iter_mut().zip(values).enumerate() {
                    let (row, column) = if stored == Stored::OutIn { (a, b) } else { (b, a) };
                    *result = each(row, column, value);
                }
            },
        );
        result
    }

    /// The codes of a weight `[out, in]` or `[in, out]` as stored.
    pub(crate) fn encode(
        &self,
        values: &[f32],
        stored: Stored,
    ) -> std::result::Result<GroupedInt, WeightError> {
        let [out, input] = self.shape();
        let mut codes = vec![0u8; out * input];
        for (row, codes) in codes.chunks_exact_mut(input).enumerate() {
            for (column, code) in codes.iter_mut().enumerate() {
                let at = if stored == Stored::OutIn { row * input + column } else { column * out + row };
                *code = self.place(row, column, values[at]).0.clamp(0.0, self.top) as u8;
            }
        }
        let zeros: Option<Vec<u8>> =
            (!self.template.spec().symmetric).then(|| self.zeros.iter().map(|&zero| zero as u8).collect());
        let index: Option<Vec<u32>> =
            self.template.group_index().map(|g| g.iter().map(|&g| g as u32).collect());
        let (spec, shape) = (self.template.spec(), self.shape());
        GroupedInt::from_codes(spec, shape, &codes, &self.scales, zeros.as_deref(), index.as_deref())
    }
}

/// Rounds a weight to a grid that stays as it is: `s · (clamp(round(w/s) + z, 0, 2^bits − 1) − z)`. The gradient passes
/// straight through (Bengio et al. 2013, 1308.3432) where nothing is clipped, and is zero where something is.
///
/// # Shapes
/// `weight`: `[out, in]` or `[in, out]` f32 as stored.
pub(crate) fn on_grid(weight: &Tensor, stored: Stored, grid: &Arc<Grid>) -> Result<Tensor> {
    weight.contiguous()?.apply_op1(OnGrid { stored, grid: Arc::clone(grid) })
}

struct OnGrid {
    stored: Stored,
    grid: Arc<Grid>,
}

impl CustomOp1 for OnGrid {
    fn name(&self) -> &'static str {
        "tenuis-on-grid"
    }

    fn cpu_fwd(&self, weight: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = read(weight, layout, self.name())?;
        let grid = &self.grid;
        let rounded = grid.map(&values, self.stored, |row, column, value| {
            let (code, scale, zero) = grid.place(row, column, value);
            scale * (code.clamp(0.0, grid.top) - zero)
        });
        Ok((CpuStorage::F32(rounded), layout.shape().clone()))
    }

    fn bwd(&self, weight: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (values, mut passed) = (super::to_vec(weight)?, super::to_vec(grad)?);
        let grid = &self.grid;
        let inside = grid.map(&values, self.stored, |row, column, value| {
            let code = grid.place(row, column, value).0;
            f32::from(u8::from((0.0..=grid.top).contains(&code)))
        });
        passed.par_iter_mut().zip(&inside).for_each(|(grad, inside)| *grad *= inside);
        Ok(Some(tensor(passed, weight.shape(), DType::F32)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::input;
    use candle_core::Var;
    use tenuis_linalg::GramView;
    use tenuis_quant::{GptqConfig, RtnConfig, gptq, rtn};

    fn turned(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
        (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect()
    }

    /// A weight that is compressed already is where the grid would put it, and is encoded as it was.
    #[test]
    fn a_compressed_weight_stays_what_it_is() {
        let values = crate::ops::to_vec(&input(&[8, 32], 0)).unwrap();
        let mut rtn_config = RtnConfig::default();
        rtn_config.symmetric = false;
        let mut gptq_config = GptqConfig::default();
        gptq_config.act_order = true;
        gptq_config.group_size = tenuis_quant::GroupSizing::Columns(8);
        let hessian: Vec<f32> =
            (0..32 * 32).map(|i| if i % 33 == 0 { 1.0 + (i % 7) as f32 } else { 0.1 }).collect();
        let weights = [
            rtn(&values, [8, 32], &rtn_config).unwrap().weight,
            gptq(&values, [8, 32], GramView::new(32, &hessian).unwrap(), 64, &gptq_config).unwrap().weight,
        ];
        for weight in weights {
            let grid = Grid::of(&weight).unwrap();
            let dense = (&weight as &dyn Representation).to_dense().unwrap();
            for (stored, dense) in [(Stored::OutIn, dense.clone()), (Stored::InOut, turned(&dense, [8, 32]))]
            {
                let shape = if stored == Stored::OutIn { (8, 32) } else { (32, 8) };
                let tensor = Tensor::from_vec(dense.clone(), shape, &candle_core::Device::Cpu).unwrap();
                let again = on_grid(&tensor, stored, &Arc::new(Grid::of(&weight).unwrap())).unwrap();
                assert_eq!(crate::ops::to_vec(&again).unwrap(), dense);
                let encoded = grid.encode(&dense, stored).unwrap();
                for (old, new) in weight.components().iter().zip(encoded.components()) {
                    assert_eq!(old.tensor.data()[..], new.tensor.data()[..], "{}", old.suffix);
                }
            }
        }
    }

    #[test]
    fn the_gradient_stops_where_values_are_clipped() {
        let values = crate::ops::to_vec(&input(&[8, 32], 0)).unwrap();
        let weight = rtn(&values, [8, 32], &RtnConfig::default()).unwrap().weight;
        let mut far = values.clone();
        far[5] = 1e3;
        let var = Var::from_vec(far, (8, 32), &candle_core::Device::Cpu).unwrap();
        let grid = Arc::new(Grid::of(&weight).unwrap());
        let y = on_grid(var.as_tensor(), Stored::OutIn, &grid).unwrap();
        let store = y.sum_all().unwrap().backward().unwrap();
        let grad = crate::ops::to_vec(store.get(&var).unwrap()).unwrap();
        assert_eq!(grad[5], 0.0);
        assert!(grad.iter().filter(|&&g| g == 1.0).count() >= 8 * 32 - 8);
        // What is exported is what the forward pass computed.
        let exported = grid.encode(&crate::ops::to_vec(var.as_tensor()).unwrap(), Stored::OutIn).unwrap();
        assert_eq!((&exported as &dyn Representation).to_dense().unwrap(), crate::ops::to_vec(&y).unwrap());
    }
}
