//! What a process has in memory, and what for.

use crate::system::{SystemRoot, kibibytes};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the kernel says of a process's memory, in bytes.
///
/// The kernel counts pages per thread and sums them up now and then, so that two of these figures may differ by some hundred KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProcessMemory {
    /// Resident at the moment (`VmRSS`).
    pub resident_bytes: u64,
    /// The most that was ever resident (`VmHWM`).
    pub peak_bytes: u64,
    /// Resident and not of a file: heap, stacks (`RssAnon`).
    pub anonymous_bytes: u64,
    /// Resident pages of mapped files: program, libraries, weights (`RssFile`).
    pub file_bytes: u64,
    /// Resident pages of memory that is shared by name rather than through a file (`RssShmem`).
    pub shared_memory_bytes: u64,
    /// Resident pages that other processes have mapped as well; `None` where the kernel does not say.
    pub shared_bytes: Option<u64>,
    /// Its share of the resident pages, each divided by the number of processes that have it (`Pss`); `None` where not said.
    pub proportional_bytes: Option<u64>,
    /// Swapped out (`VmSwap`). If it is not 0, a peak of resident pages says too little.
    pub swapped_bytes: u64,
    /// Files that are mapped, and how much of them is resident, the largest first.
    pub mapped_files: Vec<MappedFile>,
}

/// A file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MappedFile {
    /// Its path, as the kernel shows it.
    pub path: PathBuf,
    /// Bytes of it that are resident in this process.
    pub resident_bytes: u64,
}

impl ProcessMemory {
    /// Reads the figures of this process; `None` where the system does not tell them.
    ///
    /// ```
    /// use tenuis_measure::{ProcessMemory, SystemRoot};
    /// if let Some(memory) = ProcessMemory::of_self(&SystemRoot::default()) {
    ///     assert!(memory.peak_bytes > 0);
    /// }
    /// ```
    pub fn of_self(root: &SystemRoot) -> Option<Self> {
        Self::read(root, Path::new("proc/self"))
    }

    /// Reads the figures of another process; `None` where the system does not tell them or the process is gone.
    pub fn of_process(root: &SystemRoot, process: u32) -> Option<Self> {
        Self::read(root, &Path::new("proc").join(process.to_string()))
    }

    fn read(root: &SystemRoot, directory: &Path) -> Option<Self> {
        let status = root.text(directory.join("status"))?;
        let rollup = root.text(directory.join("smaps_rollup"));
        let shared =
            |text: &String| kibibytes(text, "Shared_Clean")?.checked_add(kibibytes(text, "Shared_Dirty")?);
        Some(Self {
            resident_bytes: kibibytes(&status, "VmRSS")?,
            peak_bytes: kibibytes(&status, "VmHWM")?,
            anonymous_bytes: kibibytes(&status, "RssAnon")?,
            file_bytes: kibibytes(&status, "RssFile")?,
            shared_memory_bytes: kibibytes(&status, "RssShmem")?,
            shared_bytes: rollup.as_ref().and_then(shared),
            proportional_bytes: rollup.as_ref().and_then(|text| kibibytes(text, "Pss")),
            swapped_bytes: kibibytes(&status, "VmSwap").unwrap_or_default(),
            mapped_files: mapped_files(&root.text(directory.join("smaps")).unwrap_or_default()),
        })
    }

    /// Sums what is resident of mapped files that `is_meant` picks, such as those in the directory of a checkpoint.
    pub fn resident_of(&self, is_meant: impl Fn(&Path) -> bool) -> u64 {
        let meant = self.mapped_files.iter().filter(|file| is_meant(&file.path));
        meant.map(|file| file.resident_bytes).fold(0, u64::saturating_add)
    }
}

/// The files of `smaps`. A mapping begins with a line `from-to rights offset device inode path`, and lines `Key: value` follow it.
fn mapped_files(smaps: &str) -> Vec<MappedFile> {
    let mut files: Vec<MappedFile> = Vec::new();
    let mut current: Option<&str> = None;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if first.ends_with(':') {
            let (Some(path), Some(resident_bytes)) = (current, kibibytes(line, "Rss")) else { continue };
            match files.iter_mut().find(|file| file.path == Path::new(path)) {
                Some(file) => file.resident_bytes = file.resident_bytes.saturating_add(resident_bytes),
                None => files.push(MappedFile { path: path.into(), resident_bytes }),
            }
        } else {
            // Only files have a path that begins at the root; `[heap]` and nameless mappings are anonymous.
            current = line.find('/').map(|at| &line[at..]);
        }
    }
    files.sort_by(|a, b| b.resident_bytes.cmp(&a.resident_bytes).then_with(|| a.path.cmp(&b.path)));
    files
}

/// What a caller knows of the memory of a process at its peak, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MemoryClaims {
    /// Of a process of the same program that does nothing: code, libraries, runtime.
    pub program_bytes: u64,
    /// Resident pages of mapped checkpoints, as [`ProcessMemory::resident_of`] gives them.
    pub mapped_file_bytes: u64,
    /// Weights that were copied or unpacked into memory of their own.
    pub weight_bytes: u64,
    /// Keys and values of all positions.
    pub kv_cache_bytes: u64,
    /// Intermediate results, if the caller counts them. If not, they are whatever is left.
    pub activation_bytes: Option<u64>,
}

/// What the peak of a process was made of, in bytes.
///
/// `program + mapped file + weights + KV cache + activations + unexplained = peak + over-claimed`; of the last two at most one is
/// not 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemorySplit {
    /// The most that was resident.
    pub peak_bytes: u64,
    /// Code, libraries and runtime.
    pub program_bytes: u64,
    /// Mapped checkpoints. The kernel takes these pages back when memory is short: they are needed for speed, not to run at all.
    pub mapped_file_bytes: u64,
    /// Weights in memory of their own.
    pub weight_bytes: u64,
    /// Keys and values.
    pub kv_cache_bytes: u64,
    /// Intermediate results; where the caller did not count them, everything that is left, with what the allocator keeps.
    pub activation_bytes: u64,
    /// What nobody claimed. 0 where activations were not counted, as they are the rest then.
    pub unexplained_bytes: u64,
    /// Claims beyond the peak.
    pub over_claimed_bytes: u64,
    /// What there is to say about it, in sentences.
    pub notes: Vec<String>,
}

impl MemorySplit {
    /// Splits a peak by what the caller knows. Nothing is ever negative: claims beyond the peak are a figure of their own.
    ///
    /// ```
    /// use tenuis_measure::{MemoryClaims, MemorySplit};
    /// let mut claims = MemoryClaims::default();
    /// (claims.mapped_file_bytes, claims.kv_cache_bytes) = (600, 100);
    /// let split = MemorySplit::attribute(1000, &claims);
    /// assert_eq!((split.activation_bytes, split.unexplained_bytes), (300, 0));
    /// ```
    pub fn attribute(peak_bytes: u64, claims: &MemoryClaims) -> Self {
        let MemoryClaims { program_bytes, mapped_file_bytes, weight_bytes, kv_cache_bytes, .. } = *claims;
        let counted = [
            program_bytes,
            mapped_file_bytes,
            weight_bytes,
            kv_cache_bytes,
            claims.activation_bytes.unwrap_or_default(),
        ];
        // In 128 bits: five claims of the largest size overflow 64, and the sum must stay exact.
        let claimed: u128 = counted.into_iter().map(u128::from).sum();
        let narrow = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX);
        let rest = narrow(u128::from(peak_bytes).saturating_sub(claimed));
        let over_claimed_bytes = narrow(claimed.saturating_sub(u128::from(peak_bytes)));
        let (activation_bytes, unexplained_bytes) = match claims.activation_bytes {
            Some(bytes) => (bytes, rest),
            None => (rest, 0),
        };
        let mut notes = Vec::new();
        if claims.activation_bytes.is_none() && rest > 0 {
            notes.push(format!(
                "activations were not counted: the {rest} bytes are all that is left of the peak, with buffers and what the \
                 allocator keeps"
            ));
        }
        if unexplained_bytes > 0 {
            notes.push(format!(
                "{unexplained_bytes} bytes of the peak are unexplained: buffers, what the allocator keeps, stacks of threads"
            ));
        }
        if over_claimed_bytes > 0 {
            notes.push(format!(
                "{over_claimed_bytes} bytes were claimed beyond the peak: they were never touched, were swapped out, or did not \
                 exist at the same time"
            ));
        }
        Self {
            peak_bytes,
            program_bytes,
            mapped_file_bytes,
            weight_bytes,
            kv_cache_bytes,
            activation_bytes,
            unexplained_bytes,
            over_claimed_bytes,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::tree;
    use proptest::prelude::*;

    const STATUS: &str = "Name:\tx\nVmHWM:\t 3000 kB\nVmRSS:\t 2000 kB\nRssAnon:\t 500 kB\nRssFile:\t 1500 kB\n\
                          RssShmem:\t 8 kB\nVmSwap:\t 4 kB\n";
    const ROLLUP: &str = "5600-7fff ---p 00000000 00:00 0 [rollup]\nRss: 2000 kB\nPss: 900 kB\nPss_Dirty: 1 kB\n\
                          Shared_Clean: 1400 kB\nShared_Dirty: 6 kB\n";
    const SMAPS: &str = "\
7f00-7f10 r--p 00000000 fe:00 11 /data/my model.safetensors
Size:  64 kB
Rss:   40 kB
VmFlags: rd mr mw me
7f10-7f20 r--p 00010000 fe:00 11 /data/my model.safetensors
Rss:   10 kB
7f20-7f30 r-xp 00000000 fe:00 12 /usr/lib/libc.so
Rss:   30 kB
7f30-7f40 rw-p 00000000 00:00 0
Rss:  700 kB
7f40-7f50 rw-p 00000000 00:00 0 [heap]
Rss:  800 kB
";

    #[test]
    fn figures_are_those_of_the_kernel() {
        let files = [
            ("proc/self/status", STATUS),
            ("proc/self/smaps_rollup", ROLLUP),
            ("proc/self/smaps", SMAPS),
            ("proc/7/status", STATUS),
        ];
        let (_directory, root) = tree(&files);
        let memory = ProcessMemory::of_self(&root).unwrap();
        assert_eq!((memory.resident_bytes, memory.peak_bytes), (2000 << 10, 3000 << 10));
        assert_eq!((memory.anonymous_bytes, memory.file_bytes), (500 << 10, 1500 << 10));
        assert_eq!((memory.shared_bytes, memory.proportional_bytes), (Some(1406 << 10), Some(900 << 10)));
        assert_eq!((memory.swapped_bytes, memory.shared_memory_bytes), (4 << 10, 8 << 10));
        let model = MappedFile { path: "/data/my model.safetensors".into(), resident_bytes: 50 << 10 };
        assert_eq!(memory.mapped_files[0], model);
        assert_eq!(memory.mapped_files.len(), 2, "anonymous mappings are no files");
        assert_eq!(memory.resident_of(|path| path.starts_with("/data")), 50 << 10);

        let other = ProcessMemory::of_process(&root, 7).unwrap();
        assert_eq!((other.peak_bytes, other.shared_bytes), (3000 << 10, None), "no rollup is not 0");
        assert_eq!(ProcessMemory::of_process(&root, 8), None);
    }

    #[test]
    fn another_system_says_nothing_rather_than_zero() {
        let (_directory, root) = tree(&[("proc/self/status", "Name:\tx\n")]);
        assert_eq!(ProcessMemory::of_self(&root), None);
    }

    #[test]
    fn counted_activations_leave_something_unexplained() {
        let claims = MemoryClaims { weight_bytes: 50, activation_bytes: Some(20), ..MemoryClaims::default() };
        let split = MemorySplit::attribute(100, &claims);
        assert_eq!((split.activation_bytes, split.unexplained_bytes, split.over_claimed_bytes), (20, 30, 0));
        assert!(split.notes[0].contains("30 bytes of the peak are unexplained"), "{:?}", split.notes);
    }

    #[test]
    fn claims_beyond_the_peak_are_said_and_not_subtracted() {
        let claims = MemoryClaims { weight_bytes: 150, ..MemoryClaims::default() };
        let split = MemorySplit::attribute(100, &claims);
        assert_eq!((split.activation_bytes, split.unexplained_bytes, split.over_claimed_bytes), (0, 0, 50));
        assert!(split.notes[0].contains("beyond the peak"), "{:?}", split.notes);
        let all = MemoryClaims {
            program_bytes: u64::MAX,
            mapped_file_bytes: u64::MAX,
            weight_bytes: u64::MAX,
            ..MemoryClaims::default()
        };
        assert_eq!(MemorySplit::attribute(0, &all).over_claimed_bytes, u64::MAX, "saturates");
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_peak(peak in 0..1000_u64, parts in prop::array::uniform4(0..400_u64), counted: bool, acts in 0..400_u64) {
            let claims = MemoryClaims {
                program_bytes: parts[0],
                mapped_file_bytes: parts[1],
                weight_bytes: parts[2],
                kv_cache_bytes: parts[3],
                activation_bytes: counted.then_some(acts),
            };
            let s = MemorySplit::attribute(peak, &claims);
            let sum = s.program_bytes + s.mapped_file_bytes + s.weight_bytes + s.kv_cache_bytes + s.activation_bytes
                + s.unexplained_bytes;
            prop_assert_eq!(sum, s.peak_bytes + s.over_claimed_bytes);
            prop_assert!(s.unexplained_bytes == 0 || s.over_claimed_bytes == 0);
        }
    }
}
