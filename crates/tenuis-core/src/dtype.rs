//! Element types as checkpoints store them.

use std::fmt;

/// An element type that Tenuis can compute with or convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte per truth value, 0 or 1.
    Bool,
    /// 8-bit float, 4 exponent and 3 mantissa bits, no infinities ("fn").
    F8E4M3,
    /// 8-bit float, 5 exponent and 2 mantissa bits.
    F8E5M2,
}

impl DType {
    /// Every known type.
    pub const ALL: [Self; 12] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U8,
        Self::Bool,
        Self::F8E4M3,
        Self::F8E5M2,
    ];

    /// Bytes of one element.
    ///
    /// ```
    /// assert_eq!(tenuis_core::DType::BF16.size(), 2);
    /// ```
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool | Self::F8E4M3 | Self::F8E5M2 => 1,
        }
    }

    /// Whether the type holds floating-point numbers.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }

    /// The name in a safetensors header (`F32`, `BF16`, `F8_E4M3`, …).
    pub const fn safetensors_name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
        }
    }

    /// The type of a safetensors header's name, or `None` for one we do not know.
    pub fn from_safetensors_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.safetensors_name() == name)
    }

    /// The name in descriptors, recipes and reports (`f32`, `bf16`, `f8_e4m3`, …).
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
            Self::F8E4M3 => "f8_e4m3",
            Self::F8E5M2 => "f8_e5m2",
        }
    }

    /// The type of a descriptor's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// PyTorch's name (`float32`, `bfloat16`, …), as `config.json` spells it in `dtype` and `torch_dtype`.
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
            Self::F8E4M3 => "float8_e4m3fn",
            Self::F8E5M2 => "float8_e5m2",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An element type as a file names it: known, or carried through by its name and byte count alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoredType {
    /// A type that Tenuis knows.
    Known(DType),
    /// A safetensors type name that Tenuis does not know; its tensors can be copied, never read.
    Unknown(Box<str>),
}

impl StoredType {
    /// The type of a safetensors header's name.
    pub fn from_safetensors_name(name: &str) -> Self {
        DType::from_safetensors_name(name).map_or_else(|| Self::Unknown(name.into()), Self::Known)
    }

    /// The name in a safetensors header.
    pub fn safetensors_name(&self) -> &str {
        match self {
            Self::Known(d) => d.safetensors_name(),
            Self::Unknown(name) => name,
        }
    }

    /// The known type, if it is one.
    pub const fn known(&self) -> Option<DType> {
        match self {
            Self::Known(d) => Some(*d),
            Self::Unknown(_) => None,
        }
    }
}

impl From<DType> for StoredType {
    fn from(d: DType) -> Self {
        Self::Known(d)
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(d) => d.fmt(f),
            Self::Unknown(name) => f.pad(name),
        }
    }
}
