//! A mapped weight file.

use super::error::CheckpointError;
use super::header::{Header, HeaderError, parse_header};
use super::root::Root;
use memmap2::Mmap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Pages are given back in multiples of this, which every page size in use divides.
const GRANULE: usize = 64 << 10;

/// A file that stays mapped as long as any tensor of it lives.
#[derive(Debug)]
pub(super) struct Shard {
    file: File,
    map: Mmap,
    path: PathBuf,
}

impl AsRef<[u8]> for Shard {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Shard {
    /// Maps an entry of the directory and checks its header.
    pub(super) fn open(root: &Root, name: &str) -> Result<(Self, Header), CheckpointError> {
        let shard = Self::map(root, name)?;
        let broken = |source| CheckpointError::Header { file: shard.path.clone(), source: Box::new(source) };
        let header = parse_header(&shard.map).map_err(broken)?;
        Ok((shard, header))
    }

    /// Maps an entry of the directory.
    pub(super) fn map(root: &Root, name: &str) -> Result<Self, CheckpointError> {
        let path = root.path(name);
        let real = root.resolve(name)?;
        let file = File::open(real).map_err(CheckpointError::io("open", &path))?;
        let length = file.metadata().map_err(CheckpointError::io("read", &path))?.len();
        if length == 0 {
            let source = Box::new(HeaderError::TooShort { length: 0 });
            return Err(CheckpointError::Header { file: path, source });
        }
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
        // SAFETY: the map is read-only. Another process that writes to the file changes the bytes under us, which
        // every checkpoint reader that maps accepts; bytes are only ever read as plain numbers, never as references
        // or lengths after the header was copied out, and a shortened file is caught by `check_length`.
        let map = unsafe { Mmap::map(&file) }.map_err(CheckpointError::io("map", &path))?;
        Ok(Self { file, map, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Fails if the file is no longer as long as the map, so that reading it would raise SIGBUS.
    pub(super) fn check_length(&self) -> Result<(), CheckpointError> {
        let now = self.file.metadata().map_err(CheckpointError::io("read", &self.path))?.len();
        let opened = self.map.len() as u64;
        if now == opened {
            return Ok(());
        }
        Err(CheckpointError::Changed { file: self.path.clone(), opened, now })
    }

    /// Gives the whole pages within `range` back to the operating system; reading them maps them again.
    #[cfg(unix)]
    pub(super) fn release(&self, range: Range<usize>) {
        let start = range.start.next_multiple_of(GRANULE);
        let end = if range.end == self.map.len() { range.end } else { range.end / GRANULE * GRANULE };
        if start >= end {
            return;
        }
        #[expect(
            unsafe_code,
            reason = "dropping pages is unsafe for anonymous or private maps, which this is not"
        )]
        // SAFETY: the map is shared, read-only and backed by a file, so that dropped pages come back with the same
        // content on the next access; slices into it stay valid.
        let released = unsafe {
            self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
        };
        // Only advice: a kernel that does not follow it leaves the pages where they are.
        drop(released);
    }

    /// Does nothing where pages cannot be given back.
    #[cfg(not(unix))]
    pub(super) fn release(&self, _range: Range<usize>) {}
}
