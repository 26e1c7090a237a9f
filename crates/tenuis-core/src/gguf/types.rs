//! The element types of GGUF.

use std::fmt;

/// A type of stored elements. Those with blocks hold 32 consecutive elements of a row in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GgmlType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// bfloat16.
    BF16,
    /// 4 bits, `w = (q − 8)·d`: f16 `d`, 16 bytes.
    Q4_0,
    /// 4 bits, `w = q·d + m`: f16 `d`, f16 `m`, 16 bytes.
    Q4_1,
    /// 8 bits, `w = q·d`: f16 `d`, 32 signed bytes.
    Q8_0,
}

impl GgmlType {
    /// Every type that is read and written.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::BF16, Self::Q4_0, Self::Q4_1, Self::Q8_0];

    /// The number in a file.
    pub const fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q8_0 => 8,
            Self::BF16 => 30,
        }
    }

    /// The type of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.number() == number)
    }

    /// The name that ggml gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
        }
    }

    /// Elements of a block; 1 where there are none.
    pub const fn block_elements(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => super::blocks::ELEMENTS,
        }
    }

    /// Bytes of a block.
    ///
    /// ```
    /// use tenuis_core::gguf::GgmlType;
    /// assert_eq!(GgmlType::Q4_0.block_bytes(), 18);
    /// assert_eq!(GgmlType::Q8_0.row_bytes(64), Some(68));
    /// ```
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
        }
    }

    /// Bytes of a row of `columns` elements; none where they are no whole number of blocks.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        let blocks = columns / self.block_elements();
        columns
            .is_multiple_of(self.block_elements())
            .then(|| blocks.checked_mul(self.block_bytes()))
            .flatten()
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name of a type that is not read, for messages.
pub(super) fn foreign_name(number: u32) -> String {
    let name = match number {
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16..=23 | 29 => "IQ",
        _ => return number.to_string(),
    };
    name.to_owned()
}
