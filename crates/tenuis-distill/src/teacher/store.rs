//! The file that keeps a teacher's likeliest tokens.

use crate::error::TrainError;
use crate::ops::divergence::TopRows;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file in the directory of the cache.
const FILE: &str = "teacher-top-k.bin";
/// What it begins with; the last character is the version of the format.
const MAGIC: &[u8; 8] = b"TNSTOPK1";
/// Magic, k, vocabulary, sequence length, count, temperature, source hash; the rest is zero.
pub(super) const HEADER_BYTES: usize = 128;
/// The hash before every record.
const CHECK_BYTES: usize = 16;

/// What the records of a file are of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) k: usize,
    pub(super) vocab: usize,
    pub(super) seq_len: usize,
    pub(super) count: usize,
    pub(super) temperature: f64,
    /// A hash of teacher and text.
    pub(super) source: [u8; 32],
}

impl Kind {
    pub(super) const fn record_bytes(&self) -> usize {
        CHECK_BYTES + self.seq_len * (8 * self.k + 4)
    }

    pub(super) const fn file_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.count as u64 * self.record_bytes() as u64
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let parts: [&[u8]; 7] = [
            MAGIC,
            &(self.k as u32).to_le_bytes(),
            &(self.vocab as u32).to_le_bytes(),
            &(self.seq_len as u64).to_le_bytes(),
            &(self.count as u64).to_le_bytes(),
            &self.temperature.to_bits().to_le_bytes(),
            &self.source,
        ];
        let mut at = 0;
        for part in parts {
            header[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        header
    }
}

/// Records of a fixed size, one per sequence: a hash, then tokens `[seq, k]` u32, log-probabilities `[seq, k]` f32 and the
/// logarithm of the rest `[seq]` f32, little-endian.
///
/// A record counts where its hash, keyed with the header, agrees: one that was never written, was torn by a kill or comes
/// from another file does not, and is written again. Nothing needs to be flushed in any order.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
    kind: Kind,
    key: [u8; 32],
}

impl Store {
    /// Opens the file of a directory, or begins it anew where it is of another kind.
    pub(super) fn open(dir: &Path, kind: Kind) -> Result<Self, TrainError> {
        fs::create_dir_all(dir).map_err(TrainError::io("create", dir))?;
        let path = dir.join(FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(TrainError::io("open", &path))?;
        let header = kind.header();
        let mut found = Vec::new();
        Read::by_ref(&mut file)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut found)
            .map_err(TrainError::io("read", &path))?;
        let begin = |file: &mut File| {
            if found != header {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&header)?;
            }
            // Holes until they are written; a record in one does not agree with its hash.
            file.set_len(kind.file_bytes())
        };
        begin(&mut file).map_err(TrainError::io("write", &path))?;
        Ok(Self { file, path, kind, key: *blake3::hash(&header).as_bytes() })
    }

    fn place(&self, number: usize) -> SeekFrom {
        SeekFrom::Start((HEADER_BYTES + number * self.kind.record_bytes()) as u64)
    }

    fn check(&self, number: usize, payload: &[u8]) -> [u8; CHECK_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(number as u64).to_le_bytes());
        hasher.update(payload);
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_BYTES]);
        check
    }

    /// The record of a sequence, where a whole one is there.
    pub(super) fn read(&mut self, number: usize) -> Result<Option<TopRows>, TrainError> {
        let mut bytes = vec![0; self.kind.record_bytes()];
        let place = self.place(number);
        let read = self.file.seek(place).and_then(|_| self.file.read_exact(&mut bytes));
        match read {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(TrainError::io("read", &self.path))?,
        }
        let (check, payload) = bytes.split_at(CHECK_BYTES);
        if check != self.check(number, payload) {
            return Ok(None);
        }
        let words = payload.as_chunks::<4>().0;
        let (tokens, rest) = words.split_at(self.kind.seq_len * self.kind.k);
        let (log_probs, log_rest) = rest.split_at(self.kind.seq_len * self.kind.k);
        let floats = |words: &[[u8; 4]]| words.iter().map(|w| f32::from_le_bytes(*w)).collect();
        Ok(Some(TopRows {
            k: self.kind.k,
            tokens: tokens.iter().map(|w| u32::from_le_bytes(*w)).collect(),
            log_probs: floats(log_probs),
            log_rest: floats(log_rest),
        }))
    }

    /// Writes the record of a sequence.
    pub(super) fn write(&mut self, number: usize, rows: &TopRows) -> Result<(), TrainError> {
        let mut bytes = vec![0; CHECK_BYTES];
        bytes.reserve(self.kind.record_bytes());
        bytes.extend(rows.tokens.iter().flat_map(|t| t.to_le_bytes()));
        bytes.extend(rows.log_probs.iter().chain(&rows.log_rest).flat_map(|v| v.to_le_bytes()));
        let check = self.check(number, &bytes[CHECK_BYTES..]);
        bytes[..CHECK_BYTES].copy_from_slice(&check);
        let place = self.place(number);
        let written = self.file.seek(place).and_then(|_| self.file.write_all(&bytes));
        written.map_err(TrainError::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { k: 2, vocab: 9, seq_len: 3, count: 4, temperature: 2.0, source: [7; 32] };

    fn rows(seed: u32) -> TopRows {
        TopRows {
            k: 2,
            tokens: (0..6).map(|i| (i + seed) % 9).collect(),
            log_probs: (0..6).map(|i| -0.1 * (i + seed) as f32).collect(),
            log_rest: vec![-1.5, f32::NEG_INFINITY, -2.5],
        }
    }

    #[test]
    fn records_come_back_and_the_file_has_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), KIND).unwrap();
        store.write(2, &rows(1)).unwrap();
        drop(store);
        let mut store = Store::open(dir.path(), KIND).unwrap();
        assert_eq!(store.read(2).unwrap(), Some(rows(1)));
        assert_eq!(store.read(0).unwrap(), None);
        let bytes = fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert_eq!(bytes, KIND.file_bytes());
        assert_eq!(bytes, 128 + 4 * (16 + 3 * (8 * 2 + 4)));
    }

    #[test]
    fn what_is_torn_or_foreign_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut store = Store::open(dir.path(), KIND).unwrap();
        (0..4).for_each(|n| store.write(n, &rows(n as u32)).unwrap());
        let whole = fs::read(&path).unwrap();
        // One bit anywhere in a record.
        for at in [HEADER_BYTES, HEADER_BYTES + CHECK_BYTES, HEADER_BYTES + KIND.record_bytes() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let mut store = Store::open(dir.path(), KIND).unwrap();
            assert_eq!(store.read(0).unwrap(), None, "{at}");
            assert_eq!(store.read(1).unwrap(), Some(rows(1)));
        }
        // A file that ends within a record, and one within the header.
        for (end, kept) in [(HEADER_BYTES + KIND.record_bytes() + 5, Some(rows(0))), (HEADER_BYTES - 1, None)]
        {
            fs::write(&path, &whole[..end]).unwrap();
            let mut store = Store::open(dir.path(), KIND).unwrap();
            assert_eq!(store.read(0).unwrap(), kept);
            assert_eq!(store.read(1).unwrap(), None);
        }
        // Whole files of another temperature, text or teacher.
        for other in
            [Kind { temperature: 1.0, ..KIND }, Kind { source: [8; 32], ..KIND }, Kind { vocab: 8, ..KIND }]
        {
            fs::write(&path, &whole).unwrap();
            let mut store = Store::open(dir.path(), other).unwrap();
            assert!((0..4).all(|n| store.read(n).unwrap().is_none()));
            // Nor does a record that was carried over count under the new header.
            let mut bytes = fs::read(&path).unwrap();
            bytes[HEADER_BYTES..].copy_from_slice(&whole[HEADER_BYTES..]);
            fs::write(&path, bytes).unwrap();
            let mut store = Store::open(dir.path(), other).unwrap();
            assert!((0..4).all(|n| store.read(n).unwrap().is_none()));
        }
    }
}
