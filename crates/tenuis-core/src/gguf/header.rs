//! Reading a file's header, strictly: what is claimed is checked against the file before it is believed.

use super::types::foreign_name;
use super::value::LIST;
use super::{ALIGNMENT, ALIGNMENT_KEY, GgmlType, GgufError, GgufValue, MAGIC, Metadata, padding};
use std::collections::BTreeSet;
use std::ops::Range;

/// The fewest bytes that an entry of the metadata, of a list and of the tensors can have.
const LEAST: [u64; 3] = [13, 1, 24];
/// The most dimensions that the format has.
const MAX_RANK: u32 = 4;

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name in the file.
    pub name: String,
    /// Its element type.
    pub kind: GgmlType,
    /// Its shape, outermost dimension first: the reverse of what the file has.
    pub shape: Vec<usize>,
    /// The bytes of the file that hold its data.
    pub range: Range<usize>,
}

/// A file's header.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// Keys and values.
    pub metadata: Metadata,
    /// The tensors in the order of the file.
    pub tensors: Vec<GgufTensor>,
    /// The bytes before the data.
    pub header_bytes: usize,
}

/// Reads and checks the header of a whole file.
///
/// Refused: keys, tensors or texts that occur twice or are not UTF-8; lists in lists; types without a [`GgmlType`]; tensors
/// that do not follow each other, aligned, to the end of the file.
///
/// # Errors
/// A [`GgufError`] for whatever the format does not allow.
pub fn parse(file: &[u8]) -> Result<Gguf, GgufError> {
    let mut reader = Reader { file, at: 0 };
    let magic = reader.take(4, "the magic").unwrap_or(file);
    if magic != MAGIC {
        return Err(GgufError::Magic { found: magic.to_vec() });
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version { found: version });
    }
    let n_tensors = reader.count("tensors", LEAST[2])?;
    let n_keys = reader.count("keys", LEAST[0])?;
    let mut metadata = Metadata::default();
    let mut seen = BTreeSet::new();
    for _ in 0..n_keys {
        let key = reader.text("a key")?;
        let number = reader.u32("a value's type")?;
        let value = reader.value(&key, number)?;
        if !seen.insert(key.clone()) {
            return Err(GgufError::Duplicate { what: "key", name: key });
        }
        metadata.push(key, value);
    }
    let alignment =
        metadata.optional(ALIGNMENT_KEY, "a whole number", GgufValue::as_u64)?.unwrap_or(ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        let problem = format!("{alignment} is no power of two up to a megabyte");
        return Err(GgufError::Key { key: ALIGNMENT_KEY.to_owned(), problem });
    }
    let mut stated = Vec::new();
    seen.clear();
    for _ in 0..n_tensors {
        let tensor = reader.tensor()?;
        if !seen.insert(tensor.0.name.clone()) {
            return Err(GgufError::Duplicate { what: "tensor", name: tensor.0.name });
        }
        stated.push(tensor);
    }
    let header = reader.at as u64;
    let start = header + padding(header, alignment);
    let tensors = place(stated, start, alignment, file.len() as u64)?;
    Ok(Gguf { metadata, tensors, header_bytes: start.min(file.len() as u64) as usize })
}

/// Checks that every tensor lies where the one before it ends, and that the file ends with the last.
fn place(
    stated: Vec<(GgufTensor, u64, u64)>,
    start: u64,
    alignment: u64,
    length: u64,
) -> Result<Vec<GgufTensor>, GgufError> {
    let (mut expected, mut end) = (0u64, 0u64);
    let mut tensors = Vec::with_capacity(stated.len());
    for (mut tensor, offset, bytes) in stated {
        if offset != expected {
            return Err(GgufError::Offset { tensor: tensor.name, expected, found: offset });
        }
        let overflow = || GgufError::Length { expected: u64::MAX, found: length };
        end = offset.checked_add(bytes).ok_or_else(overflow)?;
        expected = end.checked_add(padding(end, alignment)).ok_or_else(overflow)?;
        let last = start.checked_add(end).ok_or_else(overflow)?;
        if last > length {
            return Err(GgufError::Length { expected: last, found: length });
        }
        tensor.range = (start + offset) as usize..last as usize;
        tensors.push(tensor);
    }
    // Writers differ in whether they pad after the last tensor.
    if !tensors.is_empty() && length != start + end && length != start + expected {
        return Err(GgufError::Length { expected: start + end, found: length });
    }
    Ok(tensors)
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'a [u8], GgufError> {
        let truncated = GgufError::Truncated { what, at: self.at as u64 };
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.file.len()).ok_or(truncated)?;
        let taken = &self.file[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of entries that the rest of the file can hold.
    fn count(&mut self, what: &'static str, least: u64) -> Result<usize, GgufError> {
        let claimed = self.u64(what)?;
        if claimed > (self.file.len() - self.at) as u64 / least {
            return Err(GgufError::Count { what, claimed, length: self.file.len() as u64 });
        }
        Ok(claimed as usize)
    }

    fn text(&mut self, what: &'static str) -> Result<String, GgufError> {
        let at = self.at as u64;
        let length = self.u64(what)?;
        let length = usize::try_from(length).map_err(|_| GgufError::Truncated { what, at })?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| GgufError::Text { what, at })
    }

    fn value(&mut self, key: &str, number: u32) -> Result<GgufValue, GgufError> {
        if number != LIST {
            return self.scalar(key, number);
        }
        let item = self.u32("a list's type")?;
        let count = self.count("list items", LEAST[1])?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.scalar(key, item)?);
        }
        Ok(GgufValue::List(items))
    }

    fn scalar(&mut self, key: &str, number: u32) -> Result<GgufValue, GgufError> {
        const WHAT: &str = "a value";
        Ok(match number {
            0 => GgufValue::U8(self.array::<1>(WHAT)?[0]),
            1 => GgufValue::I8(i8::from_le_bytes(self.array(WHAT)?)),
            2 => GgufValue::U16(u16::from_le_bytes(self.array(WHAT)?)),
            3 => GgufValue::I16(i16::from_le_bytes(self.array(WHAT)?)),
            4 => GgufValue::U32(self.u32(WHAT)?),
            5 => GgufValue::I32(i32::from_le_bytes(self.array(WHAT)?)),
            6 => GgufValue::F32(f32::from_le_bytes(self.array(WHAT)?)),
            7 => GgufValue::Bool(self.array::<1>(WHAT)?[0] != 0),
            8 => GgufValue::Text(self.text("a text")?),
            10 => GgufValue::U64(self.u64(WHAT)?),
            11 => GgufValue::I64(i64::from_le_bytes(self.array(WHAT)?)),
            12 => GgufValue::F64(f64::from_le_bytes(self.array(WHAT)?)),
            found => return Err(GgufError::ValueType { key: key.to_owned(), found }),
        })
    }

    /// A tensor, its offset in the data and its bytes.
    fn tensor(&mut self) -> Result<(GgufTensor, u64, u64), GgufError> {
        const WHAT: &str = "a tensor's entry";
        let name = self.text("a tensor's name")?;
        let rank = self.u32(WHAT)?;
        if !(1..=MAX_RANK).contains(&rank) {
            let problem = "between one and four are allowed";
            return Err(GgufError::Shape { tensor: name, found: vec![u64::from(rank)], problem });
        }
        let dims = (0..rank).map(|_| self.u64(WHAT)).collect::<Result<Vec<u64>, _>>()?;
        let number = self.u32(WHAT)?;
        let offset = self.u64(WHAT)?;
        let Some(kind) = GgmlType::from_number(number) else {
            return Err(GgufError::TensorType { tensor: name, found: foreign_name(number) });
        };
        let broken = |problem| GgufError::Shape { tensor: name.clone(), found: dims.clone(), problem };
        let shape: Vec<usize> = dims.iter().rev().filter_map(|&d| usize::try_from(d).ok()).collect();
        if shape.len() != dims.len() || shape.contains(&0) {
            return Err(broken("each of which must be positive"));
        }
        let (columns, rows) = (shape[shape.len() - 1], &shape[..shape.len() - 1]);
        let row =
            kind.row_bytes(columns).ok_or_else(|| broken("whose rows are no whole number of blocks"))?;
        let bytes = rows.iter().try_fold(row, |bytes, &d| bytes.checked_mul(d));
        let bytes = bytes.ok_or_else(|| broken("whose product overflows"))? as u64;
        Ok((GgufTensor { name, kind, shape, range: 0..0 }, offset, bytes))
    }
}
