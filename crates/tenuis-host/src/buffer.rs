//! Buffers that a plugin writes into, filled beforehand with a pattern that shows what was not written.

use bytemuck::{Pod, Zeroable};
use tenuis_core::{Bytes, DType};

/// A cache line: the unit of allocation, so that buffers are aligned for any vector unit.
#[derive(Clone, Copy, Zeroable, Pod)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Granularity of detection: this many bytes that equal the pattern by chance have probability 2⁻⁶⁴.
const WORD: usize = 8;

/// A lent buffer, with one guard line behind its bytes.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
    dtype: DType,
    shape: Vec<usize>,
    seed: u64,
}

/// What is wrong with a buffer that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferFault {
    /// The bytes from here on were not written.
    Unwritten(usize),
    /// The guard was written.
    Overrun,
}

impl Buffer {
    /// A filled buffer of `len` bytes; `None` where there is not enough memory.
    pub(crate) fn new(dtype: DType, shape: Vec<usize>, len: usize, seed: u64) -> Option<Self> {
        let count = len.checked_add(127)? / 64;
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.extend((0..count).map(|i| Line(std::array::from_fn(|j| pattern(seed, i * 8 + j)))));
        Some(Self { lines, len, dtype, shape, seed })
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn dtype(&self) -> DType {
        self.dtype
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where the plugin writes.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// All of it, the guard too: what a copy in shared memory is made of.
    #[cfg(unix)]
    pub(crate) fn whole(&self) -> &[u8] {
        bytemuck::cast_slice(&self.lines)
    }

    /// The same, to take back what was written there.
    #[cfg(unix)]
    pub(crate) fn whole_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }

    /// Looks for words that still hold the pattern and for a broken guard.
    ///
    /// Less than [`WORD`] unwritten bytes in a row are found only where an aligned word lies in them; a buffer of
    /// fewer bytes than that cannot be judged.
    pub(crate) fn check(&self) -> Result<(), BufferFault> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.lines);
        let expected = |at: usize| pattern(self.seed, at / WORD).to_le_bytes()[at % WORD];
        if (self.len..bytes.len()).any(|at| bytes[at] != expected(at)) {
            return Err(BufferFault::Overrun);
        }
        let (words, tail) = bytes[..self.len].as_chunks::<WORD>();
        for (index, word) in words.iter().enumerate() {
            if *word == pattern(self.seed, index).to_le_bytes() {
                return Err(BufferFault::Unwritten(index * WORD));
            }
        }
        // The last bytes, together with the ones before them, make up a word again.
        let start = self.len.saturating_sub(WORD);
        if !tail.is_empty() && self.len >= WORD && (start..self.len).all(|at| bytes[at] == expected(at)) {
            return Err(BufferFault::Unwritten(start));
        }
        Ok(())
    }

    /// The written bytes, without a copy.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_vec(self.lines).slice(0..self.len)
    }
}

/// The `index`-th word of the pattern (splitmix64).
fn pattern(seed: u64, index: usize) -> u64 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(len: usize, range: std::ops::Range<usize>) -> Result<(), BufferFault> {
        let mut buffer = Buffer::new(DType::U8, vec![len], len, 42).unwrap();
        let bytes: &mut [Line] = &mut buffer.lines;
        bytemuck::cast_slice_mut::<u64, u8>(unlined(bytes))[range].fill(0);
        buffer.check()
    }

    fn unlined(lines: &mut [Line]) -> &mut [u64] {
        // The test has one line only, so its words are contiguous.
        &mut lines[0].0
    }

    #[test]
    fn unwritten_words_and_overruns_are_found() {
        assert_eq!(written(32, 0..32), Ok(()));
        assert_eq!(written(32, 0..24), Err(BufferFault::Unwritten(24)));
        assert_eq!(written(32, 8..32), Err(BufferFault::Unwritten(0)));
        assert_eq!(written(20, 0..20), Ok(()));
        assert_eq!(written(20, 0..12), Err(BufferFault::Unwritten(12)));
        assert_eq!(written(20, 0..21), Err(BufferFault::Overrun));
        assert_eq!(written(0, 0..0), Ok(()));
    }

    #[test]
    fn bytes_are_handed_on_without_the_guard() {
        let buffer = Buffer::new(DType::F16, vec![3], 6, 1).unwrap();
        assert_eq!((buffer.len(), buffer.into_bytes().len()), (6, 6));
    }
}
