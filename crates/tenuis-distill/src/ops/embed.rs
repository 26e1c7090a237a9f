//! Rows of a table, chosen by number.

use super::{Lent, for_rows, read, tensor};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Gathers rows of `table`.
///
/// # Shapes
/// `table`: `[rows, width]` f32, result: `[numbers, width]` f32.
pub(crate) fn embed(table: &Tensor, numbers: Arc<[u32]>) -> Result<Tensor> {
    table.apply_op1(Embed(numbers))
}

struct Embed(Arc<[u32]>);

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "tenuis-embed"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        if let Some(bad) = self.0.iter().find(|&&n| n as usize >= rows) {
            candle_core::bail!("token {bad} of a vocabulary of {rows}");
        }
        let table = read(table, layout, self.name())?;
        let mut out = vec![0.0; self.0.len() * width];
        for_rows(&mut out, width, |first, out| {
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let number = self.0[first + row] as usize;
                out.copy_from_slice(&table[number * width..(number + 1) * width]);
            }
        });
        Ok((CpuStorage::F32(out), Shape::from((self.0.len(), width))))
    }

    fn bwd(&self, table: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = table.dims2()?;
        let lent = Lent::new(grad)?;
        let locked = lent.lock();
        let grad = locked.values()?;
        let mut sum = vec![0.0f32; rows * width];
        // Each task owns a range of the table and looks through all numbers: no two write the same row, and every
        // row is summed in the order of the text.
        let share = rows.div_ceil(16).max(1);
        sum.par_chunks_mut(share * width).enumerate().for_each(|(task, sum)| {
            let first = task * share;
            for (&number, grad) in self.0.iter().zip(grad.chunks_exact(width)) {
                let at = (number as usize).wrapping_sub(first);
                if let Some(sum) = sum.get_mut(at.wrapping_mul(width)..).filter(|_| at < share) {
                    sum[..width].iter_mut().zip(grad).for_each(|(s, g)| *s += g);
                }
            }
        });
        Ok(Some(tensor(sum, table.shape(), DType::F32)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradients, input};

    #[test]
    fn gradients_agree_with_differences() {
        gradients(&[input(&[37, 3], 0)], |v| embed(&v[0], [0u32, 36, 5, 36, 20].into()));
    }

    #[test]
    fn a_number_beyond_the_table_is_an_error() {
        assert!(embed(&input(&[4, 3], 0), [4u32].into()).is_err());
    }
}
