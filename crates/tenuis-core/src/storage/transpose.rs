//! Turning matrices: other conventions store `[in, out]` what is `[out, in]` here.

use bytemuck::{NoUninit, Zeroable};

/// Rows and columns of the tiles that are turned at a time, so that both sides stay in the first cache.
const TILE: usize = 32;

/// The transpose of a row-major `[rows, columns]` matrix.
pub(super) fn transpose<T: NoUninit + Zeroable>(rows: usize, columns: usize, from: &[T]) -> Vec<T> {
    debug_assert_eq!(from.len(), rows * columns);
    let mut to = vec![T::zeroed(); from.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn twice_is_nothing(rows in 1usize..70, columns in 1usize..70) {
            let from: Vec<u32> = (0..(rows * columns) as u32).collect();
            let turned = transpose(rows, columns, &from);
            prop_assert_eq!(turned[(columns - 1) * rows], (columns - 1) as u32);
            prop_assert_eq!(transpose(columns, rows, &turned), from);
        }
    }
}
