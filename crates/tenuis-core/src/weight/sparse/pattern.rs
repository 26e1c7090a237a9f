//! How the index says which entries are kept.

use serde::{Deserialize, Serialize};

/// How the index of a sparse weight says which entries are kept. Both take a bit for every entry of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SparsePattern {
    /// One bit an entry; any entries may be kept.
    #[serde(rename = "bitmask")]
    Bitmask,
    /// Two columns of two bits for every four entries of a row; exactly two of them are kept, so that every row is
    /// equally long and no row has to be looked for.
    #[serde(rename = "2:4")]
    TwoOfFour,
}

impl SparsePattern {
    /// Which of eight columns an index byte keeps, the first column in the lowest bit; `columns` are left in the row.
    ///
    /// ```
    /// use tenuis_core::SparsePattern;
    /// // Columns 0 and 3 of the first four, 1 and 2 of the second.
    /// assert_eq!(SparsePattern::TwoOfFour.kept_of(0b10_01_11_00, 8), 0b0110_1001);
    /// assert_eq!(SparsePattern::TwoOfFour.kept_of(0b00_00_11_00, 4), 0b0000_1001);
    /// ```
    #[inline]
    pub const fn kept_of(self, index: u8, columns: usize) -> u8 {
        match self {
            Self::Bitmask => index,
            Self::TwoOfFour => {
                let kept = TWO_OF_FOUR[index as usize];
                if columns < 8 { kept & 0x0f } else { kept }
            }
        }
    }
}

/// The kept columns of every index byte of 2:4.
static TWO_OF_FOUR: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = two_of(index & 15) | two_of(index >> 4) << 4;
        index += 1;
    }
    table
};

/// The two columns that a nibble names, as bits.
const fn two_of(nibble: usize) -> u8 {
    1 << (nibble & 3) | 1 << (nibble >> 2 & 3)
}
