//! Writing a file: the header at once, then the tensors as they come.

use super::value::write_text;
use super::{ALIGNMENT, GgmlType, MAGIC, Metadata, VERSION, padding};
use std::io::{self, Write};

/// A tensor that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planned {
    bytes: u64,
}

/// Streams a file: header first, then each tensor in the order in which it was announced.
///
/// ```
/// use tenuis_core::gguf::{GgmlType, GgufValue, GgufWriter, Metadata, parse};
/// let mut metadata = Metadata::default();
/// metadata.push("general.architecture", "llama".into());
/// let tensors = [("a", GgmlType::F32, &[1usize, 2][..])];
/// let mut file = Vec::new();
/// let mut writer = GgufWriter::new(&mut file, &metadata, tensors)?;
/// writer.write(bytemuck::cast_slice(&[1.0f32, 2.0]))?;
/// writer.finish()?;
/// let read = parse(&file).unwrap();
/// assert_eq!(read.metadata.find("general.architecture").and_then(GgufValue::as_text), Some("llama"));
/// assert_eq!(read.tensors[0].shape, [1, 2]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct GgufWriter<W> {
    out: W,
    planned: Vec<Planned>,
    /// The tensor that is being written, and its bytes so far.
    current: usize,
    written: u64,
}

impl<W: Write> GgufWriter<W> {
    /// Writes the header.
    ///
    /// # Shapes
    /// Outermost dimension first; the file has the reverse.
    ///
    /// # Errors
    /// [`io::Error`] of the output, and [`io::ErrorKind::InvalidInput`] for a shape that its type cannot have.
    pub fn new<'a>(
        mut out: W,
        metadata: &Metadata,
        tensors: impl IntoIterator<Item = (&'a str, GgmlType, &'a [usize])>,
    ) -> io::Result<Self> {
        let (mut infos, mut planned, mut offset) = (Vec::new(), Vec::new(), 0u64);
        for (name, kind, shape) in tensors {
            let bytes = tensor_bytes(kind, shape).ok_or(io::ErrorKind::InvalidInput)?;
            write_text(name, &mut infos);
            infos.extend((shape.len() as u32).to_le_bytes());
            for &dimension in shape.iter().rev() {
                infos.extend((dimension as u64).to_le_bytes());
            }
            infos.extend(kind.number().to_le_bytes());
            infos.extend(offset.to_le_bytes());
            offset += bytes + padding(bytes, ALIGNMENT);
            planned.push(Planned { bytes });
        }
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((planned.len() as u64).to_le_bytes());
        header.extend((metadata.0.len() as u64).to_le_bytes());
        for (key, value) in &metadata.0 {
            write_text(key, &mut header);
            header.extend(value.type_number().to_le_bytes());
            value.write(&mut header);
        }
        header.extend(infos);
        header.resize(header.len() + padding(header.len() as u64, ALIGNMENT) as usize, 0);
        out.write_all(&header)?;
        Ok(Self { out, planned, current: 0, written: 0 })
    }

    /// Appends bytes of the current tensor, which is the next one once this one is complete.
    ///
    /// # Errors
    /// [`io::Error`] of the output, and [`io::ErrorKind::InvalidInput`] for more bytes than the tensor has.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let planned = self.planned.get(self.current).ok_or(io::ErrorKind::InvalidInput)?.bytes;
        self.written += bytes.len() as u64;
        if self.written > planned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.out.write_all(bytes)?;
        if self.written == planned {
            let padding = padding(planned, ALIGNMENT) as usize;
            self.out.write_all(&[0; ALIGNMENT as usize][..padding])?;
            (self.current, self.written) = (self.current + 1, 0);
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`io::Error`] of the output, and [`io::ErrorKind::UnexpectedEof`] where a tensor is incomplete.
    pub fn finish(mut self) -> io::Result<W> {
        if self.current != self.planned.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The bytes of a tensor of this type and shape, where it can have that.
fn tensor_bytes(kind: GgmlType, shape: &[usize]) -> Option<u64> {
    let (columns, rows) = shape.split_last()?;
    let row = kind.row_bytes(*columns)?;
    rows.iter().try_fold(row, |bytes, &d| bytes.checked_mul(d)).map(|bytes| bytes as u64)
}
