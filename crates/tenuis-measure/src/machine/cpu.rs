//! The processor: cores, instruction sets, caches, and what sets its frequency.

use crate::system::SystemRoot;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// Instruction sets that decide how fast a quantised matrix is multiplied: as Linux spells them, and as compilers do. A processor may
/// have many others.
const FEATURES: [(&str, &str); 24] = [
    ("avx", "avx"),
    ("avx2", "avx2"),
    ("fma", "fma"),
    ("f16c", "f16c"),
    ("avx_vnni", "avxvnni"),
    ("avx512f", "avx512f"),
    ("avx512bw", "avx512bw"),
    ("avx512vl", "avx512vl"),
    ("avx512_vnni", "avx512vnni"),
    ("avx512_bf16", "avx512bf16"),
    ("avx512_fp16", "avx512fp16"),
    ("amx_tile", "amx-tile"),
    ("amx_int8", "amx-int8"),
    ("amx_bf16", "amx-bf16"),
    ("asimd", "neon"),
    ("asimdhp", "fp16"),
    ("asimddp", "dotprod"),
    ("i8mm", "i8mm"),
    ("bf16", "bf16"),
    ("sve", "sve"),
    ("svei8mm", "sve-i8mm"),
    ("sve2", "sve2"),
    ("sme", "sme"),
    ("sme2", "sme2"),
];

/// A processor, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cpu {
    /// Its name; of an Arm core, which has none, the numbers of implementer and part.
    pub name: Option<String>,
    /// Its architecture, as `x86_64`.
    pub architecture: String,
    /// Logical cores of the machine.
    pub logical_cores: usize,
    /// Physical cores; fewer than logical ones where two share an execution unit.
    pub physical_cores: Option<usize>,
    /// Logical cores that this process may run on, by affinity and, where the standard library knows it, quota.
    pub usable_cores: usize,
    /// Instruction sets that matter for matrices, by their names in compilers; `None` where the kernel lists none.
    pub features: Option<Vec<String>>,
    /// Caches that the first core sees, the nearest first; empty where not told.
    pub caches: Vec<Cache>,
    /// What sets the frequency, as `performance` or `powersave`.
    pub governor: Option<String>,
    /// Whether it may exceed its nominal frequency for a while.
    pub turbo: Option<bool>,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CacheKind {
    /// Data.
    Data,
    /// Instructions.
    Instruction,
    /// Both.
    Unified,
}

/// A cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cache {
    /// Its level, from 1.
    pub level: u32,
    /// What it holds.
    pub kind: CacheKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Logical cores that share it.
    pub shared_by: Option<usize>,
}

impl Cpu {
    /// Reads what the kernel tells.
    pub fn read(root: &SystemRoot) -> Self {
        let info = root.text("proc/cpuinfo").unwrap_or_default();
        let usable_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let listed = info.lines().filter(|line| key(line) == Some("processor")).count();
        let logical_cores = match root.processors().len().max(listed) {
            0 => usable_cores,
            cores => cores,
        };
        Self {
            name: name(&info),
            architecture: std::env::consts::ARCH.to_owned(),
            logical_cores,
            physical_cores: physical_cores(root),
            usable_cores,
            features: features(&info),
            caches: caches(root),
            governor: root.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            turbo: turbo(root),
        }
    }

    /// Gives the size of the last cache before memory, in bytes.
    pub fn last_level_cache_bytes(&self) -> Option<u64> {
        self.caches.iter().max_by_key(|cache| cache.level).map(|cache| cache.bytes)
    }
}

/// Whether this is a virtual machine, as far as the kernel tells.
pub(crate) fn is_virtual(root: &SystemRoot) -> Option<bool> {
    if root.has("sys/hypervisor/type") {
        return Some(true);
    }
    let info = root.text("proc/cpuinfo")?;
    // Only x86 has a flag for it, and a kernel that shows flags at all shows this one.
    let flags = value(&info, "flags")?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn key(line: &str) -> Option<&str> {
    line.split_once(':').map(|(key, _)| key.trim())
}

fn value<'a>(info: &'a str, wanted: &str) -> Option<&'a str> {
    let line = info.lines().find(|line| key(line) == Some(wanted))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn name(info: &str) -> Option<String> {
    let named = value(info, "model name").filter(|name| !name.is_empty()).map(str::to_owned);
    named.or_else(|| {
        let (implementer, part) = (value(info, "CPU implementer")?, value(info, "CPU part")?);
        Some(format!("Arm, implementer {implementer}, part {part}"))
    })
}

fn features(info: &str) -> Option<Vec<String>> {
    let listed = value(info, "flags").or_else(|| value(info, "Features"))?;
    let listed: BTreeSet<&str> = listed.split_whitespace().collect();
    let known = FEATURES.iter().filter(|(kernel, _)| listed.contains(kernel));
    Some(known.map(|(_, name)| (*name).to_owned()).collect())
}

/// Pairs of package and core that differ.
fn physical_cores(root: &SystemRoot) -> Option<usize> {
    let cores: Option<BTreeSet<(String, String)>> = root
        .processors()
        .iter()
        .map(|processor| {
            let topology = processor.join("topology");
            Some((root.text(topology.join("physical_package_id"))?, root.text(topology.join("core_id"))?))
        })
        .collect();
    cores.map(|cores| cores.len()).filter(|&cores| cores > 0)
}

fn caches(root: &SystemRoot) -> Vec<Cache> {
    let directory = Path::new("sys/devices/system/cpu/cpu0/cache");
    let indices = root.names(directory).into_iter().filter(|name| name.starts_with("index"));
    let mut caches: Vec<Cache> = indices
        .filter_map(|index| {
            let at = directory.join(index);
            Some(Cache {
                level: root.number(at.join("level"))?,
                kind: match root.text(at.join("type"))?.as_str() {
                    "Data" => CacheKind::Data,
                    "Instruction" => CacheKind::Instruction,
                    _ => CacheKind::Unified,
                },
                bytes: size(&root.text(at.join("size"))?)?,
                shared_by: root.text(at.join("shared_cpu_list")).and_then(|list| count(&list)),
            })
        })
        .collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

/// Bytes of a size such as `32K` or `1M`.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |number| (number, 1 << 20)),
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

/// Processors in a list such as `0-3,8`.
fn count(list: &str) -> Option<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').map(range).sum()
}

fn turbo(root: &SystemRoot) -> Option<bool> {
    let directory = Path::new("sys/devices/system/cpu");
    let forbidden: Option<u8> = root.number(directory.join("intel_pstate/no_turbo"));
    forbidden.map(|no| no == 0).or_else(|| root.number(directory.join("cpufreq/boost")).map(|on: u8| on == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::tree;

    const X86: &str = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 fma avx512_vnni hypervisor\n\n\
                       processor\t: 1\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 fma avx512_vnni hypervisor\n";
    const ARM: &str =
        "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";

    #[test]
    fn x86_and_arm_spell_their_features_alike() {
        let (_directory, root) = tree(&[("proc/cpuinfo", X86)]);
        let cpu = Cpu::read(&root);
        assert_eq!(cpu.name.as_deref(), Some("AMD EPYC"));
        assert_eq!(cpu.features.unwrap(), ["avx2", "fma", "avx512vnni"]);
        assert_eq!((cpu.logical_cores, cpu.physical_cores), (2, None));
        assert_eq!(is_virtual(&root), Some(true));

        let (_directory, root) = tree(&[("proc/cpuinfo", ARM)]);
        let cpu = Cpu::read(&root);
        assert_eq!(cpu.name.as_deref(), Some("Arm, implementer 0x41, part 0xd40"));
        assert_eq!(cpu.features.unwrap(), ["neon", "dotprod", "i8mm", "sve"]);
        assert_eq!(is_virtual(&root), None, "Arm has no flag for it");
        let (_directory, root) = tree(&[("sys/hypervisor/type", "xen"), ("proc/cpuinfo", ARM)]);
        assert_eq!(is_virtual(&root), Some(true));
        let (_directory, root) = tree(&[("proc/cpuinfo", "flags: fpu\n")]);
        assert_eq!(is_virtual(&root), Some(false));
    }

    #[test]
    fn threads_of_one_core_are_one_core() {
        let at = |cpu: usize, file: &str| format!("sys/devices/system/cpu/cpu{cpu}/topology/{file}");
        let mut files = Vec::new();
        for (cpu, (package, core)) in [("0", "0"), ("0", "1"), ("1", "0"), ("0", "0")].into_iter().enumerate()
        {
            files.push((at(cpu, "physical_package_id"), package));
            files.push((at(cpu, "core_id"), core));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_directory, root) = tree(&files);
        let cpu = Cpu::read(&root);
        assert_eq!((cpu.logical_cores, cpu.physical_cores), (4, Some(3)));
    }

    #[test]
    fn caches_governor_and_turbo_are_read() {
        let cache =
            |index: usize, file: &str| format!("sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
        let rows =
            [("3", "Unified", "32M", "0-3,8"), ("1", "Data", "32K", "0"), ("1", "Instruction", "0K", "0")];
        let mut files = vec![
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor".to_owned(), "powersave\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo".to_owned(), "1\n"),
        ];
        for (index, (level, kind, size, shared)) in rows.into_iter().enumerate() {
            files.push((cache(index, "level"), level));
            files.push((cache(index, "type"), kind));
            files.push((cache(index, "size"), size));
            files.push((cache(index, "shared_cpu_list"), shared));
        }
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_directory, root) = tree(&files);
        let cpu = Cpu::read(&root);
        assert_eq!((cpu.governor.as_deref(), cpu.turbo), (Some("powersave"), Some(false)));
        let data = Cache { level: 1, kind: CacheKind::Data, bytes: 32 << 10, shared_by: Some(1) };
        let last = Cache { level: 3, kind: CacheKind::Unified, bytes: 32 << 20, shared_by: Some(5) };
        assert_eq!(cpu.caches, [data, last], "one of 0 bytes is not told");
        assert_eq!(cpu.last_level_cache_bytes(), Some(32 << 20));
        let (_directory, root) = tree(&[("sys/devices/system/cpu/cpufreq/boost", "1\n")]);
        assert_eq!(Cpu::read(&root).turbo, Some(true));
    }

    #[test]
    fn broken_lists_are_not_counted() {
        assert_eq!(
            (count("0-3,8"), count("5"), count("3-1"), count("x"), count("")),
            (Some(5), Some(1), None, None, None)
        );
        assert_eq!(
            (size("4K"), size("2M"), size("7"), size("K"), size("1G")),
            (Some(4096), Some(2 << 20), Some(7), None, None)
        );
    }
}
