//! How much a unit matters.

use super::config::UnitCriterion;
use super::error::StructuredError;

/// The L2 norm of all weights that move with each unit, summed over the matrices that share a dimension.
///
/// ```
/// use tenuis_prune::structured::UnitNorms;
/// let mut norms = UnitNorms::new(2);
/// norms.add_rows(&[3.0, 0.0, 0.0, 1.0], 2, 0, 1)?; // unit u owns row u
/// norms.add_columns(&[4.0, 0.0], 2, 0, 1)?; // and column u
/// assert_eq!(norms.finish(), [5.0, 1.0]);
/// # Ok::<(), tenuis_prune::structured::StructuredError>(())
/// ```
#[derive(Clone, Debug)]
pub struct UnitNorms {
    squares: Vec<f64>,
}

impl UnitNorms {
    /// Begins with no weights.
    pub fn new(units: usize) -> Self {
        Self { squares: vec![0.0; units] }
    }

    /// Adds a matrix `[rows, columns]`, row-major, of which unit `u` owns the rows `first + u·width` to
    /// `first + (u+1)·width − 1`. A bias is a matrix of one column.
    ///
    /// # Errors
    /// [`StructuredError::Length`] where the matrix has fewer rows.
    pub fn add_rows(
        &mut self,
        matrix: &[f32],
        columns: usize,
        first: usize,
        width: usize,
    ) -> Result<(), StructuredError> {
        let (start, length) = (first * columns, width * columns);
        let expected = start + self.squares.len() * length;
        let owned = matrix.get(start..expected).ok_or(StructuredError::Length {
            what: "a matrix of coupled rows",
            expected,
            found: matrix.len(),
        })?;
        for (sum, rows) in self.squares.iter_mut().zip(owned.chunks_exact(length.max(1))) {
            *sum += rows.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
        }
        Ok(())
    }

    /// Adds a matrix `[rows, columns]`, row-major, of which unit `u` owns the columns `first + u·width` to
    /// `first + (u+1)·width − 1`.
    ///
    /// # Errors
    /// [`StructuredError::Length`] where the matrix has fewer columns.
    pub fn add_columns(
        &mut self,
        matrix: &[f32],
        columns: usize,
        first: usize,
        width: usize,
    ) -> Result<(), StructuredError> {
        let expected = first + self.squares.len() * width;
        let squares = column_squares(matrix, columns);
        let owned = squares.get(first..expected).ok_or(StructuredError::Length {
            what: "a row of coupled columns",
            expected,
            found: columns,
        })?;
        for (sum, squares) in self.squares.iter_mut().zip(owned.chunks_exact(width.max(1))) {
            *sum += squares.iter().sum::<f64>();
        }
        Ok(())
    }

    /// The norms.
    pub fn finish(self) -> Vec<f64> {
        self.squares.into_iter().map(f64::sqrt).collect()
    }
}

/// `‖W_:j‖²` for every column of a row-major matrix.
pub fn column_squares(matrix: &[f32], columns: usize) -> Vec<f64> {
    let mut squares = vec![0.0; columns];
    for row in matrix.chunks_exact(columns.max(1)) {
        for (sum, &w) in squares.iter_mut().zip(row) {
            *sum += f64::from(w) * f64::from(w);
        }
    }
    squares
}

/// Sums over calibration rows, per input channel.
#[derive(Clone, Copy, Debug)]
pub struct ChannelMoments<'a> {
    /// Σx².
    pub sum_squares: &'a [f32],
    /// Σx.
    pub sum: &'a [f32],
    /// The rows.
    pub rows: u64,
}

/// Scores units by the activations of their channels: unit `u` owns the inputs `u·width` to `(u+1)·width − 1` of the Linear
/// that reads them, whose columns have the squared norms `columns`.
///
/// With means over the calibration rows, the score of a unit `U` is
///
/// | criterion | score |
/// |---|---|
/// | `activation` | `√(Σ_{j∈U} E[x_j²])` |
/// | `wanda_sp` | `√(Σ_{j∈U} E[x_j²] · ‖W_:j‖²)` |
/// | `flap` | `Σ_{j∈U} (E[x_j²] − E[x_j]²) · ‖W_:j‖²` |
///
/// # Errors
/// [`StructuredError::NoRows`], [`StructuredError::Length`] where the slices do not fit each other, and
/// [`StructuredError::Option`] for a criterion that looks at weights alone.
pub fn channel_scores(
    criterion: UnitCriterion,
    moments: ChannelMoments<'_>,
    columns: &[f64],
    width: usize,
) -> Result<Vec<f64>, StructuredError> {
    let expected = columns.len();
    for (what, found) in [("Σx²", moments.sum_squares.len()), ("Σx", moments.sum.len())] {
        if found != expected {
            return Err(StructuredError::Length { what, expected, found });
        }
    }
    if moments.rows == 0 {
        return Err(StructuredError::NoRows);
    }
    let rows = moments.rows as f64;
    let channels = moments.sum_squares.iter().zip(moments.sum).zip(columns);
    let channels: Vec<f64> = channels
        .map(|((&squares, &sum), &column)| {
            let (square, mean) = (f64::from(squares) / rows, f64::from(sum) / rows);
            match criterion {
                UnitCriterion::Activation => square,
                UnitCriterion::Flap => (square - mean * mean).max(0.0) * column,
                _ => square * column,
            }
        })
        .collect();
    let sums = channels.chunks_exact(width.max(1)).map(|unit| unit.iter().sum::<f64>());
    match criterion {
        UnitCriterion::Magnitude => Err(StructuredError::Option {
            option: "criterion",
            value: "magnitude".to_owned(),
            allowed: "one that looks at activations",
        }),
        UnitCriterion::Flap => Ok(sums.collect()),
        UnitCriterion::Activation | UnitCriterion::WandaSp => Ok(sums.map(f64::sqrt).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_equal_their_definitions() {
        // Two rows: x = (1, 2, 3, 0) and (3, 2, -3, 0).
        let moments =
            ChannelMoments { sum_squares: &[10.0, 8.0, 18.0, 0.0], sum: &[4.0, 4.0, 0.0, 0.0], rows: 2 };
        let columns = [1.0, 4.0, 2.0, 9.0];
        let of = |criterion| channel_scores(criterion, moments, &columns, 2).unwrap();
        assert_eq!(of(UnitCriterion::Activation), [3.0, 3.0]);
        assert_eq!(of(UnitCriterion::WandaSp), [21f64.sqrt(), 18f64.sqrt()]);
        // The second channel is constant, so it has no variance.
        assert_eq!(of(UnitCriterion::Flap), [1.0, 18.0]);
        let none = ChannelMoments { rows: 0, ..moments };
        let error = channel_scores(UnitCriterion::Flap, none, &columns, 2);
        assert_eq!(error, Err(StructuredError::NoRows));
        assert!(channel_scores(UnitCriterion::Flap, moments, &columns[..3], 1).is_err());
    }

    #[test]
    fn rows_and_columns_of_several_matrices_add_up() {
        let mut norms = UnitNorms::new(2);
        // The second half of a fused matrix, two rows for each unit.
        norms.add_rows(&[9.0, 9.0, 1.0, 1.0, 1.0, 1.0], 1, 2, 2).unwrap();
        norms.add_columns(&[1.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0], 4, 0, 2).unwrap();
        assert_eq!(norms.clone().finish(), [2.0, 6f64.sqrt()]);
        assert!(norms.add_rows(&[0.0; 3], 1, 0, 2).is_err());
        assert!(norms.add_columns(&[0.0; 6], 3, 0, 2).is_err());
    }
}
