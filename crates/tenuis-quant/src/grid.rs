//! The integer grid of a group: how its scale and zero point are chosen.
//!
//! Follows the `Quantizer` of the GPTQ reference (Frantar et al. 2022, arXiv 2210.17323), with two differences. The
//! scale is rounded to the type it will be stored in *before* anything else is derived from it, so that the codes are
//! the best for the weight that will be read back. And a symmetric group without negative weights keeps the range
//! `[−m, m]`: the reference takes `[0, m]` there while it leaves the zero point in the middle, which clips everything
//! above `m/2`.

mod clip;

use crate::config::{MseSearch, ScaleDtype};
use tenuis_core::{Bits, DType, convert::round_f32};
use tenuis_linalg::Real;

/// How grids are fitted; the same for every group of a weight.
#[derive(Clone, Copy, Debug)]
pub struct GridFit<T> {
    max_code: T,
    mid_code: T,
    symmetric: bool,
    scale_dtype: DType,
    mse: Option<MseSearch>,
}

/// `w ≈ scale · (clamp(round(w / scale) + zero, 0, max_code) − zero)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Grid<T> {
    /// The distance between neighbouring values.
    pub scale: T,
    /// The code of zero.
    pub zero: T,
}

#[expect(clippy::inline_always, reason = "inner loops, compiled once for each instruction set")]
impl<T: Real> Grid<T> {
    /// The code of the nearest value, halves to even, as a float.
    #[inline(always)]
    pub fn code(self, value: T, max_code: T) -> T {
        ((value / self.scale).round_even() + self.zero).larger(T::ZERO).smaller(max_code)
    }

    /// The value of a code.
    #[inline(always)]
    pub fn value(self, code: T) -> T {
        self.scale * (code - self.zero)
    }

    fn to_f32(self) -> Grid<f32> {
        Grid { scale: self.scale.as_f32(), zero: self.zero.as_f32() }
    }
}

impl<T: Real> GridFit<T> {
    /// Grids of so many bits whose scales are stored in a type, with a search for the clipping where one is given.
    pub fn new(bits: Bits, symmetric: bool, scale_dtype: ScaleDtype, mse: Option<MseSearch>) -> Self {
        Self {
            max_code: T::of_f32(f32::from(bits.max_code())),
            mid_code: T::of_f32(f32::from(bits.mid_code())),
            symmetric,
            scale_dtype: scale_dtype.into(),
            mse,
        }
    }

    /// The largest code.
    pub const fn max_code(&self) -> T {
        self.max_code
    }

    /// Whether [`GridFit::search`] finds another grid than [`GridFit::span`].
    pub const fn searches(&self) -> bool {
        self.mse.is_some()
    }

    /// The grid that spans a range of values, extended to hold zero.
    pub fn span(&self, min: T, max: T) -> Grid<T> {
        let (min, max) = self.widen(min, max);
        self.over(min, max)
    }

    /// The grid of a group: spans its range, or the clipped range with the least error.
    pub fn search(&self, values: &[f32]) -> Grid<T> {
        let (min, max) = values.iter().fold((0.0f32, 0.0f32), |(min, max), &v| (min.min(v), max.max(v)));
        let (min, max) = self.widen(T::of_f32(min), T::of_f32(max));
        let mut best = self.over(min, max);
        let Some(search) = self.mse else { return best };
        // Errors in units of the widest step: no power of a tiny weight can vanish.
        let measure = clip::Measure {
            unit: best.scale.as_f32(),
            max_code: self.max_code.as_f32(),
            norm: search.norm as f32,
        };
        let mut least = measure.error_below(f32::INFINITY, best.to_f32(), values).unwrap_or(f32::INFINITY);
        for step in 1..search.candidates() {
            let keep = T::of_f64(1.0 - f64::from(step) / f64::from(search.grid));
            let grid = self.over(keep * min, keep * max);
            if let Some(error) = measure.error_below(least, grid.to_f32(), values) {
                (best, least) = (grid, error);
            }
        }
        best
    }

    fn widen(&self, min: T, max: T) -> (T, T) {
        let (min, max) = (min.smaller(T::ZERO), max.larger(T::ZERO));
        let (min, max) = if self.symmetric {
            let reach = max.larger(-min);
            (-reach, reach)
        } else {
            (min, max)
        };
        // A group of zeros: any scale represents it.
        if min == T::ZERO && max == T::ZERO { (-T::ONE, T::ONE) } else { (min, max) }
    }

    fn over(&self, min: T, max: T) -> Grid<T> {
        let range = max - min;
        // Weights beyond half the largest float: divide first.
        let step =
            if range.finite() { range / self.max_code } else { max / self.max_code - min / self.max_code };
        let scale = self.storable(step);
        let zero = if self.symmetric {
            self.mid_code
        } else {
            (-min / scale).round_even().larger(T::ZERO).smaller(self.max_code)
        };
        Grid { scale, zero }
    }

    /// The scale as stored. What would round to zero or infinity becomes the smallest or largest number there is:
    /// the codes then saturate or vanish, but the weight stays finite.
    ///
    /// In f64 an f32 scale is not rounded yet: weights are f32 themselves, so nothing is lost, and the largest weight
    /// of a symmetric group, which lies exactly between two codes, is not pushed to either side.
    fn storable(&self, scale: T) -> T {
        let (smallest, largest) = match self.scale_dtype {
            DType::F16 => (half::f16::from_bits(1).to_f32(), half::f16::MAX.to_f32()),
            DType::BF16 => (half::bf16::from_bits(1).to_f32(), half::bf16::MAX.to_f32()),
            _ => (f32::from_bits(1), f32::MAX),
        };
        let rounded = match self.scale_dtype {
            DType::F32 => scale,
            dtype => T::of_f32(round_f32(dtype, scale.as_f32())),
        };
        rounded.larger(T::of_f32(smallest)).smaller(T::of_f32(largest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(symmetric: bool, scale_dtype: ScaleDtype) -> GridFit<f32> {
        GridFit::new(Bits::FOUR, symmetric, scale_dtype, None)
    }

    #[test]
    fn symmetric_grid_spans_the_larger_side() {
        let grid = fit(true, ScaleDtype::F32).span(-3.0, 1.0);
        assert_eq!(grid, Grid { scale: 6.0 / 15.0, zero: 8.0 });
        // Without negative weights as well: see the module's comment on the reference.
        assert_eq!(fit(true, ScaleDtype::F32).span(0.5, 3.0), grid);
    }

    #[test]
    fn asymmetric_grid_holds_zero() {
        let grid = fit(false, ScaleDtype::F32).span(1.0, 3.0);
        assert_eq!(grid, Grid { scale: 3.0 / 15.0, zero: 0.0 });
        let grid = fit(false, ScaleDtype::F32).span(-3.0, -1.0);
        assert_eq!(grid, Grid { scale: 3.0 / 15.0, zero: 15.0 });
    }

    #[test]
    fn zeros_stay_zeros() {
        for symmetric in [true, false] {
            let fit = fit(symmetric, ScaleDtype::F16);
            let grid = fit.search(&[0.0; 8]);
            assert_eq!(grid.value(grid.code(0.0, fit.max_code())), 0.0);
        }
    }

    #[test]
    fn halves_round_to_even() {
        let grid = Grid { scale: 2.0f32, zero: 8.0 };
        assert_eq!([1.0, 3.0, -1.0, -3.0].map(|v| grid.code(v, 15.0)), [8.0, 10.0, 8.0, 6.0]);
    }

    /// The scale that is used is the scale that is stored.
    #[test]
    fn scales_are_rounded_first() {
        for dtype in [ScaleDtype::F16, ScaleDtype::Bf16] {
            let scale = fit(false, dtype).span(-0.123_456, 0.777_777).scale;
            assert_eq!(scale, round_f32(dtype.into(), scale));
            assert_ne!(scale, (0.123_456 + 0.777_777) / 15.0);
        }
    }

    #[test]
    fn scales_beyond_their_type_are_held_inside() {
        for (dtype, smallest, largest) in [
            (ScaleDtype::F16, 5.960_464_5e-8, 65504.0),
            (ScaleDtype::Bf16, 9.183_55e-41, 3.389_531_4e38),
            (ScaleDtype::F32, f32::from_bits(1), f32::MAX),
        ] {
            for symmetric in [true, false] {
                let fit = fit(symmetric, dtype);
                let tiny = fit.span(-f32::from_bits(1), f32::from_bits(1));
                assert_eq!(tiny.scale, smallest, "{dtype:?}");
                let huge = fit.span(-f32::MAX, f32::MAX);
                assert!(huge.scale <= largest && huge.scale > largest / 20.0, "{dtype:?} {}", huge.scale);
                for (grid, value) in [(tiny, f32::from_bits(1)), (huge, 1e38), (huge, -1e38)] {
                    let code = grid.code(value, 15.0);
                    assert!((0.0..=15.0).contains(&code) && grid.zero <= 15.0);
                }
            }
        }
    }

    #[test]
    fn search_clips_an_outlier() {
        let mut values: Vec<f32> = (0..1024).map(|i| (i as f32 / 1024.0 - 0.5) * 0.2).collect();
        values[7] = 0.5;
        let search = MseSearch { norm: 2.0, ..MseSearch::default() };
        let plain = fit(true, ScaleDtype::F16);
        let searching = GridFit::new(Bits::FOUR, true, ScaleDtype::F16, Some(search));
        let (wide, narrow) = (plain.search(&values), searching.search(&values));
        assert!(narrow.scale < wide.scale);
        let squares = |grid: Grid<f32>| -> f32 {
            values.iter().map(|&v| (grid.value(grid.code(v, 15.0)) - v).powi(2)).sum()
        };
        assert!(squares(narrow) < 0.8 * squares(wide));
    }
}
