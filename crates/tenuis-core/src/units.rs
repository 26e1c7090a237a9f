//! Newtypes for quantities whose unit or direction is easily confused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The width of an integer code in bits: 2, 3, 4, 5, 6 or 8.
///
/// ```
/// use tenuis_core::Bits;
/// let bits = Bits::new(4).unwrap();
/// assert_eq!(bits.levels(), 16);
/// assert!(Bits::new(7).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bits(u8);

impl Bits {
    /// The widths that have a codec.
    pub const ALLOWED: [u8; 6] = [2, 3, 4, 5, 6, 8];

    /// Four bits, the usual width of compressed weights.
    pub const FOUR: Self = Self(4);

    /// Eight bits, the width that loses next to nothing.
    pub const EIGHT: Self = Self(8);

    /// Returns the width, or `None` where no codec exists for it.
    pub fn new(bits: u8) -> Option<Self> {
        Self::ALLOWED.contains(&bits).then_some(Self(bits))
    }

    /// The width as a number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number of distinct codes, `2^bits`.
    pub const fn levels(self) -> u32 {
        1 << self.0
    }

    /// The largest unsigned code, `2^bits − 1`.
    pub const fn max_code(self) -> u8 {
        ((1u16 << self.0) - 1) as u8
    }

    /// The zero point of the symmetric grid in unsigned codes, `2^(bits−1)`.
    pub const fn mid_code(self) -> u8 {
        1 << (self.0 - 1)
    }

    /// 32-bit words that `n` codes occupy as a contiguous bit stream, `⌈n·bits/32⌉`.
    pub const fn words(self, n: usize) -> usize {
        (n * self.0 as usize).div_ceil(32)
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;
    fn try_from(value: u8) -> Result<Self, String> {
        Self::new(value).ok_or_else(|| format!("bits is {value}, but must be one of 2, 3, 4, 5, 6, 8"))
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> u8 {
        bits.0
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A compression ratio: *original ÷ compressed*, so that larger is smaller on disk.
///
/// ```
/// use tenuis_core::Ratio;
/// let ratio = Ratio::of(4000, 1000);
/// assert_eq!(ratio.get(), 4.0);
/// assert_eq!(ratio.fraction(), 0.25);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ratio(f64);

impl Ratio {
    /// The ratio of an original size to a compressed one.
    pub fn of(original: u64, compressed: u64) -> Self {
        Self(original as f64 / compressed.max(1) as f64)
    }

    /// Original ÷ compressed.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The inverse, compressed ÷ original.
    pub fn fraction(self) -> f64 {
        1.0 / self.0
    }
}

/// The share of weights that are exactly zero, in `0..=1`.
///
/// ```
/// use tenuis_core::Sparsity;
/// assert_eq!(Sparsity::of(3, 4).unwrap().get(), 0.75);
/// assert!(Sparsity::new(1.5).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sparsity(f64);

impl Sparsity {
    /// Returns the share, or `None` outside `0..=1`.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share of `zeros` among `total` weights; `None` where `total` is smaller than `zeros` or zero.
    pub fn of(zeros: u64, total: u64) -> Option<Self> {
        (total > 0).then(|| zeros as f64 / total as f64).and_then(Self::new)
    }

    /// The share of zeros.
    pub const fn get(self) -> f64 {
        self.0
    }
}
