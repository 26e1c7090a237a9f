//! What of a file lies in memory already, and how to change that.

use crate::error::MeasureError;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// How much of a file lies in the page cache of the system.
///
/// A model that was read a minute ago loads from memory, at ten times the speed of a disk. A load time means nothing without this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileCache {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes in the page cache, whole pages but the last; `None` where the system does not tell: not Linux, or a file that
    /// belongs to somebody else and that we may not write (since Linux 5.2 the kernel calls every page of such a file cached;
    /// Gruss and others 2019, arXiv 1901.01161).
    pub cached_bytes: Option<u64>,
}

impl FileCache {
    /// Asks the system (`mincore` on a mapping; no page is read by it).
    ///
    /// ```
    /// use tenuis_measure::FileCache;
    /// let cache = FileCache::of("Cargo.toml")?;
    /// assert!(cache.share().is_none_or(|share| (0.0..=1.0).contains(&share)));
    /// # Ok::<(), tenuis_measure::MeasureError>(())
    /// ```
    ///
    /// # Errors
    /// [`MeasureError::File`] where the file cannot be opened or mapped.
    pub fn of(path: impl AsRef<Path>) -> Result<Self, MeasureError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(MeasureError::file("opening", path))?;
        Self::of_open(path, &file)
    }

    fn of_open(path: &Path, file: &File) -> Result<Self, MeasureError> {
        let bytes = file.metadata().map_err(MeasureError::file("reading the size of", path))?.len();
        let cached_bytes =
            system::cached_bytes(path, file, bytes).map_err(MeasureError::file("mapping", path))?;
        Ok(Self { path: path.to_owned(), bytes, cached_bytes })
    }

    /// Asks the system to forget a file (`posix_fadvise` with `DONTNEED`), and says what is left of it.
    ///
    /// What was written and is not on disk yet is written first, as only clean pages are dropped. Pages that any process has mapped
    /// stay, and so do those of a file system in memory (`tmpfs`): look at what is returned. On a virtual machine the host may have
    /// the file in a cache of its own, of which nothing is known here.
    ///
    /// # Errors
    /// [`MeasureError::File`] where the file cannot be opened, synced or mapped, or the system refuses.
    pub fn drop_pages(path: impl AsRef<Path>) -> Result<Self, MeasureError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(MeasureError::file("opening", path))?;
        file.sync_data().map_err(MeasureError::file("syncing", path))?;
        system::forget(&file).map_err(MeasureError::file("dropping the cached pages of", path))?;
        Self::of_open(path, &file)
    }

    /// Reads a file from end to end so that it is cached, and says how much of it is.
    ///
    /// # Errors
    /// [`MeasureError::File`] where the file cannot be read.
    pub fn fill(path: impl AsRef<Path>) -> Result<Self, MeasureError> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(MeasureError::file("opening", path))?;
        std::io::copy(&mut file, &mut std::io::sink()).map_err(MeasureError::file("reading", path))?;
        Self::of_open(path, &file)
    }

    /// Gives the share of the file that is cached, 0 to 1; `None` where it is not told or the file is empty.
    pub fn share(&self) -> Option<f64> {
        self.cached_bytes.filter(|_| self.bytes > 0).map(|cached| cached as f64 / self.bytes as f64)
    }
}

#[cfg(target_os = "linux")]
mod system {
    #![expect(unsafe_code, reason = "the kernel tells about pages through addresses and C functions only")]

    use std::ffi::CString;
    use std::fs::File;
    use std::io::Error;
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// A mapping of a whole file that nobody may read through.
    struct Mapping {
        address: *mut libc::c_void,
        length: usize,
    }

    impl Mapping {
        fn of(file: &File, length: usize) -> Result<Self, Error> {
            // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists; the descriptor is open.
            let address = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    length,
                    libc::PROT_NONE,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                )
            };
            if address == libc::MAP_FAILED {
                Err(Error::last_os_error())
            } else {
                Ok(Self { address, length })
            }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: address and length are those of a mapping that this value made and owns, and no reference into it exists.
            // A failure would leave it mapped, which harms nobody.
            unsafe { libc::munmap(self.address, self.length) };
        }
    }

    /// Bytes of `file` in the page cache; `None` where the kernel would not tell the truth.
    pub(super) fn cached_bytes(path: &Path, file: &File, bytes: u64) -> Result<Option<u64>, Error> {
        if !is_told_the_truth(path, file)? {
            return Ok(None);
        }
        let Some(length) = usize::try_from(bytes).ok().filter(|&length| length > 0) else {
            return Ok((bytes == 0).then_some(0));
        };
        // SAFETY: asks for a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let Some(page) = usize::try_from(page).ok().filter(|&page| page > 0) else { return Ok(None) };
        let mapping = Mapping::of(file, length)?;
        let mut pages = vec![0_u8; length.div_ceil(page)];
        // SAFETY: the range is exactly a live mapping, page-aligned as the kernel chose it, and `pages` has a byte for each page of it.
        let result = unsafe { libc::mincore(mapping.address, length, pages.as_mut_ptr()) };
        if result != 0 {
            return Err(Error::last_os_error());
        }
        Ok(Some(sum_of_cached(&pages, page, length)))
    }

    /// Bytes of pages whose lowest bit is set; the others have no meaning. The last page may be longer than what is left of the file.
    fn sum_of_cached(pages: &[u8], page: usize, length: usize) -> u64 {
        let cached = pages.iter().enumerate().filter(|&(_, &state)| state & 1 == 1);
        cached.map(|(index, _)| page.min(length - index * page) as u64).sum()
    }

    /// Whether we own the file or may write it; others are told that everything is cached.
    fn is_told_the_truth(path: &Path, file: &File) -> Result<bool, Error> {
        // SAFETY: takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        if user == 0 || file.metadata()?.uid() == user {
            return Ok(true);
        }
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the path is a string that ends with a zero and lives until the call returns.
        Ok(unsafe { libc::access(path.as_ptr(), libc::W_OK) } == 0)
    }

    /// Drops the clean pages of a whole file.
    pub(super) fn forget(file: &File) -> Result<(), Error> {
        // SAFETY: the descriptor is open; the call takes no address. A length of 0 means to the end.
        let code = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if code == 0 { Ok(()) } else { Err(Error::from_raw_os_error(code)) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_last_page_counts_as_far_as_the_file_goes() {
            // Pages of 10 bytes, a file of 25; of a state only the lowest bit counts.
            assert_eq!(sum_of_cached(&[1, 2, 3], 10, 25), 15);
            assert_eq!(sum_of_cached(&[0, 1, 0], 10, 25), 10);
            assert_eq!(sum_of_cached(&[1, 1], 10, 20), 20);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io::{Error, ErrorKind};
    use std::path::Path;

    pub(super) fn cached_bytes(_: &Path, _: &File, _: u64) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    pub(super) fn forget(_: &File) -> Result<(), Error> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "this system offers no way to do it; use Linux for cold starts",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size that is no multiple of a page of 4, 16 or 64 KiB.
    const BYTES: u64 = 1_000_003;

    fn file() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; BYTES as usize]).unwrap();
        file
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_was_just_read_is_cached() {
        let file = file();
        let cache = FileCache::fill(file.path()).unwrap();
        assert_eq!(cache.bytes, BYTES);
        // All of it, unless the system is so short of memory that it took pages back at once.
        assert!(cache.cached_bytes.is_some_and(|bytes| bytes > 0 && bytes <= BYTES), "{cache:?}");
        assert!(cache.share().is_some_and(|share| share > 0.0 && share <= 1.0), "{cache:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn dropping_pages_leaves_the_file_and_no_more_pages_than_before() {
        let file = file();
        let before = FileCache::of(file.path()).unwrap();
        let after = FileCache::drop_pages(file.path()).unwrap();
        // A file system in memory keeps its pages.
        assert!(after.cached_bytes.unwrap() <= before.cached_bytes.unwrap(), "{before:?} {after:?}");
        assert_eq!(std::fs::read(file.path()).unwrap(), vec![7; BYTES as usize]);
    }

    #[test]
    fn an_empty_file_has_no_share() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = FileCache::of(file.path()).unwrap();
        assert_eq!((cache.bytes, cache.share()), (0, None));
        assert!(cache.cached_bytes.is_none_or(|bytes| bytes == 0));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = FileCache::of("there/is/none").unwrap_err();
        assert!(error.to_string().starts_with("opening there/is/none: "), "{error}");
        assert!(matches!(FileCache::drop_pages("there/is/none"), Err(MeasureError::File { .. })));
    }
}
