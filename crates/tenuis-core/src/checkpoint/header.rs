//! The safetensors header, read strictly.
//!
//! The reference implementation accepts duplicate names (the last wins), leading spaces and unknown fields. Each of
//! them lets two readers see two different models in one file, so all are refused here.

use super::unique::UniqueMap;
use crate::dtype::StoredType;
use crate::tensor::element_count;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use thiserror::Error;

/// The longest header that is read, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The most dimensions a tensor may have.
pub const MAX_RANK: usize = 32;

/// Bytes of the header's length before the header.
const PREFIX: usize = 8;

/// What can be wrong with a safetensors file. Every message ends with the mend.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file cannot even hold the header's length.
    #[error("{length} bytes are too few for a safetensors file; download or write it again")]
    TooShort {
        /// The file's length.
        length: usize,
    },
    /// The claimed header length is beyond what any reader accepts.
    #[error(
        "the header claims {claimed} bytes, more than the {MAX_HEADER_BYTES} allowed; \
         this is no safetensors file or it is damaged, download or write it again"
    )]
    TooLong {
        /// The claimed length.
        claimed: u64,
    },
    /// The claimed header length is beyond the end of the file.
    #[error(
        "the header claims {claimed} bytes but only {available} follow; the file is truncated, download it again"
    )]
    BeyondFile {
        /// The claimed length.
        claimed: u64,
        /// The bytes after the length.
        available: usize,
    },
    /// The header does not begin with an opening brace.
    #[error(
        "the header begins with byte {found:#04x} instead of '{{'; write the file with a conforming writer"
    )]
    Start {
        /// The first byte.
        found: u8,
    },
    /// The header is not the JSON that the format asks for.
    #[error("the header is malformed: {problem}; write the file with a conforming writer")]
    Malformed {
        /// What is wrong and where.
        problem: String,
    },
    /// A name occurs twice.
    #[error("tensor {tensor:?} is listed twice in the header; remove one and write the file again")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// The product of a shape overflows.
    #[error(
        "tensor {tensor:?}: the product of shape {shape:?} overflows; the file is damaged, download it again"
    )]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Offsets disagree with type and shape.
    #[error(
        "tensor {tensor:?}: {dtype} {shape:?} needs {expected} bytes, its offsets span {found}; write the file again"
    )]
    Length {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: StoredType,
        /// Its shape.
        shape: Vec<usize>,
        /// The bytes that type and shape call for.
        expected: u64,
        /// The bytes between the offsets.
        found: u64,
    },
    /// The end offset lies before the begin offset.
    #[error("tensor {tensor:?}: offsets [{begin}, {end}] run backwards; write the file again")]
    Backwards {
        /// The tensor.
        tensor: String,
        /// The first offset.
        begin: u64,
        /// The second offset.
        end: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "tensor {tensor:?} begins at byte {begin}, inside {other:?}; tensors may not overlap, write the file again"
    )]
    Overlap {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The tensor before it.
        other: String,
    },
    /// Bytes before a tensor belong to none.
    #[error(
        "tensor {tensor:?} begins at byte {begin}, leaving a hole after byte {end}; write the file again"
    )]
    Hole {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The end of what comes before.
        end: u64,
    },
    /// A tensor reaches beyond the file.
    #[error(
        "tensor {tensor:?} ends at byte {end} but the file holds only {available} bytes of data; \
         it is truncated, download it again"
    )]
    Truncated {
        /// The tensor.
        tensor: String,
        /// Its end.
        end: u64,
        /// The bytes of data that there are.
        available: u64,
    },
    /// Bytes after the last tensor belong to none.
    #[error("{bytes} bytes follow the last tensor; download or write the file again")]
    Trailing {
        /// How many.
        bytes: u64,
    },
}

/// One tensor of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderEntry {
    /// The name. It may look like a path and is never used as one.
    pub name: String,
    /// The element type.
    pub dtype: StoredType,
    /// The shape.
    pub shape: Vec<usize>,
    /// The bytes of the file that hold the data.
    pub range: Range<usize>,
}

/// A header that was checked against its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors in the order of their data.
    pub entries: Vec<HeaderEntry>,
    /// The free-form strings of `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The bytes of the file before the data: the length and the padded header.
    pub bytes: usize,
}

/// Reads and checks the header of a whole safetensors file.
///
/// Time and memory are bounded by the file's own length and [`MAX_HEADER_BYTES`], whatever the header claims.
///
/// ```
/// use tenuis_core::checkpoint::{HeaderError, parse_header};
/// let header = br#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
/// let mut file = (header.len() as u64).to_le_bytes().to_vec();
/// file.extend(header);
/// file.extend([7, 8]);
/// assert_eq!(parse_header(&file)?.entries[0].shape, [2]);
/// file.push(9);
/// assert_eq!(parse_header(&file), Err(HeaderError::Trailing { bytes: 1 }));
/// # Ok::<(), HeaderError>(())
/// ```
///
/// # Errors
/// A [`HeaderError`] for whatever the format does not allow.
pub fn parse_header(file: &[u8]) -> Result<Header, HeaderError> {
    let Some((prefix, rest)) = file.split_first_chunk::<PREFIX>() else {
        return Err(HeaderError::TooShort { length: file.len() });
    };
    let claimed = u64::from_le_bytes(*prefix);
    if claimed > MAX_HEADER_BYTES {
        return Err(HeaderError::TooLong { claimed });
    }
    let length = claimed as usize;
    let json = rest.get(..length).ok_or(HeaderError::BeyondFile { claimed, available: rest.len() })?;
    match json.first() {
        Some(b'{') => {}
        Some(&found) => return Err(HeaderError::Start { found }),
        None => return Err(HeaderError::Malformed { problem: "it is empty".to_owned() }),
    }
    let raw: RawHeader =
        serde_json::from_slice(json).map_err(|e| HeaderError::Malformed { problem: e.to_string() })?;
    let bytes = PREFIX + length;
    let entries = lay_out(raw.tensors, bytes, (file.len() - bytes) as u64)?;
    Ok(Header { entries, metadata: raw.metadata, bytes })
}

/// Sorts tensors by offset and checks that they tile the data exactly.
fn lay_out(
    mut tensors: Vec<(String, RawEntry)>,
    data_start: usize,
    available: u64,
) -> Result<Vec<HeaderEntry>, HeaderError> {
    tensors.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(HeaderError::Duplicate { tensor: pair[0].0.clone() });
    }
    tensors.sort_by_key(|(_, entry)| entry.offsets);
    let mut entries: Vec<HeaderEntry> = Vec::with_capacity(tensors.len());
    let mut position = 0u64;
    for (name, RawEntry { dtype, shape, offsets: (begin, end) }) in tensors {
        if end < begin {
            return Err(HeaderError::Backwards { tensor: name, begin, end });
        }
        let overflow = || HeaderError::Overflow { tensor: name.clone(), shape: shape.clone() };
        let elements = element_count(&shape).map_err(|_| overflow())? as u64;
        if let Some(bits) = element_bits(&dtype) {
            let expected = elements.checked_mul(bits).ok_or_else(overflow)?.div_ceil(8);
            if expected != end - begin {
                return Err(HeaderError::Length { tensor: name, dtype, shape, expected, found: end - begin });
            }
        }
        if begin < position {
            let other = entries.last().map(|e| e.name.clone()).unwrap_or_default();
            return Err(HeaderError::Overlap { tensor: name, begin, other });
        }
        if begin > position {
            return Err(HeaderError::Hole { tensor: name, begin, end: position });
        }
        if end > available {
            return Err(HeaderError::Truncated { tensor: name, end, available });
        }
        position = end;
        entries.push(HeaderEntry {
            name,
            dtype,
            shape,
            range: data_start + begin as usize..data_start + end as usize,
        });
    }
    if position < available {
        return Err(HeaderError::Trailing { bytes: available - position });
    }
    Ok(entries)
}

/// The width of an element, also of types that the format defines and Tenuis only copies.
fn element_bits(dtype: &StoredType) -> Option<u64> {
    match dtype {
        StoredType::Known(known) => Some(known.size() as u64 * 8),
        StoredType::Unknown(name) => match &**name {
            "U64" | "C64" => Some(64),
            "U32" => Some(32),
            "U16" => Some(16),
            "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => Some(8),
            "F6_E2M3" | "F6_E3M2" => Some(6),
            "F4" => Some(4),
            _ => None,
        },
    }
}

struct RawHeader {
    tensors: Vec<(String, RawEntry)>,
    metadata: BTreeMap<String, String>,
}

struct RawEntry {
    dtype: StoredType,
    shape: Vec<usize>,
    offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = Vec::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        let strings: UniqueMap<String> = map.next_value()?;
                        if metadata.replace(strings.0).is_some() {
                            return Err(A::Error::duplicate_field("__metadata__"));
                        }
                        continue;
                    }
                    match map.next_value() {
                        Ok(entry) => tensors.push((name, entry)),
                        Err(e) => return Err(A::Error::custom(format_args!("tensor {name:?}: {e}"))),
                    }
                }
                Ok(RawHeader { tensors, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for RawEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Only objects: a derived implementation would accept arrays too.
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEntry, A::Error> {
                const FIELDS: &[&str] = &["dtype", "shape", "data_offsets"];
                let (mut dtype, mut shape, mut offsets) = (None, None, None);
                while let Some(field) = map.next_key::<String>()? {
                    let again = match field.as_str() {
                        "dtype" => dtype.replace(map.next_value::<String>()?).is_some(),
                        "shape" => shape.replace(map.next_value::<Shape>()?.0).is_some(),
                        "data_offsets" => offsets.replace(map.next_value::<(u64, u64)>()?).is_some(),
                        unknown => return Err(A::Error::unknown_field(unknown, FIELDS)),
                    };
                    if again {
                        return Err(A::Error::custom(format_args!("field {field:?} occurs twice")));
                    }
                }
                let dtype = dtype.ok_or_else(|| A::Error::missing_field("dtype"))?;
                Ok(RawEntry {
                    dtype: StoredType::from_safetensors_name(&dtype),
                    shape: shape.ok_or_else(|| A::Error::missing_field("shape"))?,
                    offsets: offsets.ok_or_else(|| A::Error::missing_field("data_offsets"))?,
                })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A shape of at most [`MAX_RANK`] dimensions, so that a header cannot make one tensor fill the memory.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_RANK} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(dimension) = sequence.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.push(dimension);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Dimensions)
    }
}
