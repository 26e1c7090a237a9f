//! How far the output of a Linear is off when its weight is another.

use crate::error::RunError;
use tenuis_core::Representation;
use tenuis_linalg::{Energy, LayerStats, Moments};

/// Rows of a weight that are decoded at a time.
const ROWS: usize = 256;

/// What is known of a Linear's input.
enum Input<'a> {
    /// `XᵀX`.
    Hessian(Energy),
    /// The sum of squares of every channel.
    Squares(&'a [f64]),
    Nothing,
}

/// Weighs errors of weights by the input that they meet: `‖X·Dᵀ‖²` for a difference `D` by the calibration's `XᵀX`; by its
/// channels' squares where no Hessian was gathered, and `‖D‖²` where nothing was.
pub(crate) struct OutputError<'a>(Input<'a>);

impl<'a> OutputError<'a> {
    pub(crate) fn by(stats: Option<&'a LayerStats>) -> Self {
        let squares = || stats.and_then(LayerStats::moments).map(Moments::sum_squares);
        Self(match (stats.and_then(LayerStats::gram), squares()) {
            (Some(gram), _) => Input::Hessian(Energy::new(gram.view())),
            (None, Some(squares)) => Input::Squares(squares),
            (None, None) => Input::Nothing,
        })
    }

    /// Of `D = W`.
    pub(crate) fn whole(&self, name: &str, weight: &dyn Representation) -> Result<f64, RunError> {
        self.sum(name, weight, |_, _| Ok(()))
    }

    /// Of `D = W − Ŵ·diag(s)⁻¹`, where a technique made `Ŵ` for the input multiplied by `s`.
    pub(crate) fn squared(
        &self,
        name: &str,
        weight: &dyn Representation,
        made: &dyn Representation,
        scale: Option<&[f32]>,
    ) -> Result<f64, RunError> {
        let columns = weight.shape()[1];
        let mut other = Vec::new();
        self.sum(name, weight, |rows, difference| {
            other.resize(difference.len(), 0.0);
            made.decode_rows(rows, &mut other)?;
            for (d, o) in difference.chunks_mut(columns.max(1)).zip(other.chunks(columns.max(1))) {
                for (i, (d, o)) in d.iter_mut().zip(o).enumerate() {
                    *d -= o / scale.map_or(1.0, |scale| scale[i]);
                }
            }
            Ok(())
        })
    }

    fn sum(
        &self,
        name: &str,
        weight: &dyn Representation,
        mut change: impl FnMut(std::ops::Range<usize>, &mut [f32]) -> Result<(), tenuis_core::WeightError>,
    ) -> Result<f64, RunError> {
        let [rows, columns] = weight.shape();
        let failed = |source| RunError::Weight { tensor: name.to_owned(), source };
        let mut tile = Vec::new();
        let mut sum = 0.0;
        for start in (0..rows).step_by(ROWS) {
            let range = start..(start + ROWS).min(rows);
            tile.clear();
            tile.resize(range.len() * columns, 0.0);
            weight.decode_rows(range.clone(), &mut tile).map_err(failed)?;
            change(range, &mut tile).map_err(failed)?;
            sum += self.energy(&tile, columns);
        }
        Ok(sum)
    }

    fn energy(&self, rows: &[f32], columns: usize) -> f64 {
        let squares = match &self.0 {
            Input::Hessian(energy) => return energy.of(rows),
            Input::Squares(squares) => Some(*squares),
            Input::Nothing => None,
        };
        let of_row = |row: &[f32]| -> f64 {
            let weighed = |(i, &d): (usize, &f32)| squares.map_or(1.0, |s| s[i]) * f64::from(d).powi(2);
            row.iter().enumerate().map(weighed).sum()
        };
        rows.chunks(columns.max(1)).map(of_row).sum()
    }
}
