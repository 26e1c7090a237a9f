//! Transposition in tiles, for matrices whose rows lie a power of two apart.

/// Writes the transpose of `src` `[rows, columns]` to `dst` `[columns, rows]`, converting each element.
///
/// `R × C` is the tile that is held in registers and the first-level cache. The side whose stride is large should
/// be 8: lines a multiple of 4 KiB apart compete for the eight ways of one cache set. Bound by one load and one store
/// per element, not by cache misses.
///
/// ```
/// let mut dst = [0.0; 6];
/// tenuis_linalg::transpose::<8, 16, _, _>(&[1, 2, 3, 4, 5, 6], 3, &mut dst, 2, [2, 3], |v| f64::from(v));
/// assert_eq!(dst, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// ```
///
/// # Panics
/// If a row of either lies outside its slice.
pub fn transpose<const R: usize, const C: usize, S: Copy, T: Copy + Default>(
    src: &[S],
    src_stride: usize,
    dst: &mut [T],
    dst_stride: usize,
    [rows, columns]: [usize; 2],
    convert: impl Fn(S) -> T,
) {
    for row in (0..rows).step_by(R) {
        for column in (0..columns).step_by(C) {
            if row + R <= rows && column + C <= columns {
                let mut tile = [[T::default(); R]; C];
                for i in 0..R {
                    let values: &[S] = &src[(row + i) * src_stride + column..][..C];
                    for (lane, &value) in tile.iter_mut().zip(values) {
                        lane[i] = convert(value);
                    }
                }
                for (j, lane) in tile.iter().enumerate() {
                    dst[(column + j) * dst_stride + row..][..R].copy_from_slice(lane);
                }
            } else {
                for i in row..rows.min(row + R) {
                    for j in column..columns.min(column + C) {
                        dst[j * dst_stride + i] = convert(src[i * src_stride + j]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Sizes beside the tile, strides beyond the size; what lies between rows is left alone.
        #[test]
        fn equals_the_definition(rows in 0usize..40, columns in 0usize..40, gap in 0usize..3, room in 0usize..3) {
            let (src_stride, dst_stride) = (columns + gap, rows + room);
            let src: Vec<u32> = (0..(rows * src_stride) as u32).collect();
            let mut dst = vec![u64::MAX; columns * dst_stride];
            transpose::<8, 16, _, _>(&src, src_stride, &mut dst, dst_stride, [rows, columns], u64::from);
            for (at, &value) in dst.iter().enumerate() {
                let (j, i) = (at / dst_stride, at % dst_stride);
                let expected = if i < rows { (i * src_stride + j) as u64 } else { u64::MAX };
                prop_assert_eq!(value, expected);
            }
        }
    }
}
