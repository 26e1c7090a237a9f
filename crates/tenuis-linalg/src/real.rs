//! The two floating-point types that algorithms are generic over.

use std::fmt::{Debug, LowerExp};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// f32 or f64, with the few operations that inner loops need.
///
/// Every method is meant to vanish when a loop over slices is vectorised.
pub trait Real:
    sealed::Sealed
    + faer::traits::RealField
    + Copy
    + Debug
    + Default
    + LowerExp
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Div<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Sub<Output = Self>
    + SubAssign
    + Sum
    + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// Widens, exactly.
    fn of_f32(value: f32) -> Self;
    /// Rounds to nearest.
    fn of_f64(value: f64) -> Self;
    /// Rounds to nearest.
    fn as_f32(self) -> f32;
    /// Widens, exactly.
    fn as_f64(self) -> f64;
    /// Rounds to the nearest integer, halves to even, as PyTorch and numpy do.
    #[must_use]
    fn round_even(self) -> Self;
    /// The absolute value.
    #[must_use]
    fn magnitude(self) -> Self;
    /// The smaller; a NaN loses.
    #[must_use]
    fn smaller(self, other: Self) -> Self;
    /// The larger; a NaN loses.
    #[must_use]
    fn larger(self, other: Self) -> Self;
    /// `self · a + b`, rounded once. Slow where the CPU has no such instruction.
    #[must_use]
    fn fused(self, a: Self, b: Self) -> Self;
    /// Whether neither infinite nor NaN.
    fn finite(self) -> bool;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn of_f32(value: f32) -> Self {
                value as Self
            }
            #[inline(always)]
            fn of_f64(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn as_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn as_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn round_even(self) -> Self {
                self.round_ties_even()
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn smaller(self, other: Self) -> Self {
                self.min(other)
            }
            #[inline(always)]
            fn larger(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn fused(self, a: Self, b: Self) -> Self {
                self.mul_add(a, b)
            }
            #[inline(always)]
            fn finite(self) -> bool {
                self.is_finite()
            }
        }
    };
}

real!(f32);
real!(f64);
