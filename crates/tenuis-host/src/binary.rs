//! A look at a library's header and symbols before any of its code can run.

use crate::error::LoadError;
use object::read::macho::FatArch;
use object::{Architecture, BinaryFormat, FileKind, Object};
use std::path::Path;
use tenuis_abi::{ENTRY_PREFIX, ENTRY_SYMBOL, TN_ABI_MAJOR};

/// The format of dynamic libraries on the running system.
const FORMAT: BinaryFormat = if cfg!(target_os = "windows") {
    BinaryFormat::Pe
} else if cfg!(target_vendor = "apple") {
    BinaryFormat::MachO
} else {
    BinaryFormat::Elf
};

/// The running processor, or `None` for one whose name `object` and Rust do not share; the system's loader decides then.
const fn processor() -> Option<Architecture> {
    Some(if cfg!(target_arch = "x86_64") {
        Architecture::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Architecture::Aarch64
    } else if cfg!(target_arch = "x86") {
        Architecture::I386
    } else if cfg!(target_arch = "arm") {
        Architecture::Arm
    } else if cfg!(target_arch = "riscv64") {
        Architecture::Riscv64
    } else if cfg!(target_arch = "loongarch64") {
        Architecture::LoongArch64
    } else {
        return None;
    })
}

/// Checks that the bytes are a library for this machine and export the entry point of our major version.
pub(crate) fn inspect(library: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let not_a_library = |problem: String| LoadError::NotALibrary { library: library.to_owned(), problem };
    let kind = FileKind::parse(bytes).map_err(|e| not_a_library(e.to_string()))?;
    let slice = match kind {
        FileKind::MachOFat32 => fat_slice(
            object::read::macho::MachOFatFile32::parse(bytes)
                .map_err(|e| not_a_library(e.to_string()))?
                .arches(),
            bytes,
        ),
        FileKind::MachOFat64 => fat_slice(
            object::read::macho::MachOFatFile64::parse(bytes)
                .map_err(|e| not_a_library(e.to_string()))?
                .arches(),
            bytes,
        ),
        _ => Some(bytes),
    };
    let wrong_machine = |found: String| LoadError::Architecture {
        library: library.to_owned(),
        found,
        expected: describe(processor().unwrap_or(Architecture::Unknown), FORMAT),
    };
    let slice = slice.ok_or_else(|| wrong_machine("other processors (universal Mach-O)".to_owned()))?;
    let file = object::File::parse(slice).map_err(|e| not_a_library(e.to_string()))?;
    if file.format() != FORMAT || processor().is_some_and(|ours| ours != file.architecture()) {
        return Err(wrong_machine(describe(file.architecture(), file.format())));
    }
    let exports = file.exports().map_err(|e| not_a_library(e.to_string()))?;
    let mut other_major = None;
    for export in exports {
        let export = export.map_err(|e| not_a_library(e.to_string()))?;
        let name = export.name();
        let Some(name) = name.name() else { continue };
        // Mach-O puts an underscore before C names.
        let name = String::from_utf8_lossy(name.strip_prefix(b"_").unwrap_or(name));
        if name == ENTRY_SYMBOL {
            return Ok(());
        }
        other_major =
            other_major.or_else(|| name.strip_prefix(ENTRY_PREFIX).and_then(|v| v.parse::<u32>().ok()));
    }
    Err(match other_major {
        Some(found) => LoadError::AbiMajor { path: library.to_owned(), found, expected: TN_ABI_MAJOR },
        None => LoadError::NoSymbol { library: library.to_owned(), symbol: ENTRY_SYMBOL },
    })
}

/// The part of a universal library that is for the running processor.
fn fat_slice<'a>(arches: &[impl FatArch], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let ours = arches.iter().find(|arch| Some(arch.architecture()) == processor())?;
    ours.data(bytes).ok()
}

fn describe(architecture: Architecture, format: BinaryFormat) -> String {
    let system = match format {
        BinaryFormat::Elf => "Linux or another ELF system",
        BinaryFormat::MachO => "macOS",
        BinaryFormat::Pe | BinaryFormat::Coff => "Windows",
        _ => "an unknown system",
    };
    format!("{} on {system}", format!("{architecture:?}").to_lowercase())
}
