//! Memory that host and worker share: files without a name.
//!
//! The host reads and writes it by calls and never maps it: whatever a worker does to such a file while the host looks, it
//! cannot end the host by a bus error, nor change bytes that were checked already. Only the worker maps it.

#![expect(unsafe_code, reason = "maps files that another process may change")]

use memmap2::{Mmap, MmapRaw};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Offset of the cancel flag, which the host sets.
const CANCELLED: u64 = 0;
/// Offset of the counter of signs of life, on a cache line of its own.
const LIFE: u64 = 64;
/// Bytes of the page.
const CONTROL: u64 = 4096;

/// Memory without a name of `len` bytes, all zero.
pub(crate) fn anonymous(len: u64) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let file = File::from(rustix::fs::memfd_create("tenuis-plugin", rustix::fs::MemfdFlags::CLOEXEC)?);
    #[cfg(not(target_os = "linux"))]
    let file = tempfile::tempfile()?;
    // A mapping must not be empty.
    file.set_len(len.max(1))?;
    Ok(file)
}

/// The host's end of the control page.
pub(crate) struct Control {
    file: File,
    told: bool,
}

impl Control {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { file: anonymous(CONTROL)?, told: false })
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Sets the cancel flag, where it is not so already.
    pub(crate) fn cancel(&mut self, cancelled: bool) {
        if self.told != cancelled
            && self.file.write_all_at(&u32::from(cancelled).to_ne_bytes(), CANCELLED).is_ok()
        {
            self.told = cancelled;
        }
    }

    /// The counter of signs of life; `None` where the worker has spoilt the page.
    pub(crate) fn life(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, LIFE).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }
}

/// The worker's end of it.
pub(crate) struct Watched(MmapRaw);

impl Watched {
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let page = MmapRaw::map_raw(file)?;
        if page.len() < CONTROL as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self(page))
    }

    /// Whether the host wants the job to stop; asking is a sign of life.
    pub(crate) fn cancelled(&self) -> bool {
        self.live();
        // SAFETY: within the page, aligned, and only ever accessed as an atomic in this process.
        let flag = unsafe { AtomicU32::from_ptr(self.0.as_mut_ptr().add(CANCELLED as usize).cast()) };
        flag.load(Ordering::Relaxed) != 0
    }

    /// Gives a sign of life.
    pub(crate) fn live(&self) {
        // SAFETY: as above.
        let counter = unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().add(LIFE as usize).cast()) };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Maps what the plugin reads; writing to it is an access violation.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the host, which alone has the file too, writes nothing to it once it is sent.
    unsafe { Mmap::map(file) }
}
