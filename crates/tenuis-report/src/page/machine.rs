//! The machine and whether it was quiet.

use crate::data::{Environment, Report};
use crate::format::{bytes, figure};
use serde_json::Value;

/// Why speeds are to be taken with care; none where the machine was quiet, or nobody looked.
pub(super) fn noisy(report: &Report) -> Option<&[String]> {
    report.machine.as_ref()?.noise.as_ref()?.noisy.as_deref()
}

/// What is known of the machine besides its name: a term and its explanation.
pub(super) fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let Some(machine) = report.machine.as_ref() else { return Vec::new() };
    let mut rows = machine.environment.as_ref().map_or_else(Vec::new, environment);
    if let Some(noise) = &machine.noise {
        let verdict = noise
            .noisy
            .as_ref()
            .map_or("quiet".to_owned(), |reasons| format!("noisy: {}", reasons.join("; ")));
        let unseen = if noise.unseen.is_empty() {
            String::new()
        } else {
            format!(". Not seen: {}", noise.unseen.join("; "))
        };
        rows.push(("Quiet?", format!("{verdict}{unseen}")));
    }
    rows
}

fn environment(environment: &Environment) -> Vec<(&'static str, String)> {
    let machine = &environment.machine;
    let at = |path: &str| machine.pointer(path);
    let number = |path: &str| at(path).and_then(Value::as_f64);
    let text = |path: &str| at(path).and_then(Value::as_str).map(str::to_owned);
    let mut rows = Vec::new();
    let mut add = |term, parts: Vec<Option<String>>| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            rows.push((term, parts.join(", ")));
        }
    };
    let caches = at("/cpu/caches").and_then(Value::as_array).and_then(|caches| {
        let level = |cache: &&Value| cache.get("level").and_then(Value::as_u64);
        caches.iter().max_by_key(level)?.get("bytes")?.as_f64()
    });
    add(
        "Processor",
        vec![
            number("/cpu/physical_cores").map(|n| format!("{n} physical cores")),
            number("/cpu/logical_cores").map(|n| format!("{n} logical")),
            number("/cpu/usable_cores").map(|n| format!("{n} usable")),
            caches.map(|size| format!("last cache {}", bytes(size))),
            text("/cpu/governor").map(|governor| format!("governor {governor}")),
            at("/cpu/turbo")
                .and_then(Value::as_bool)
                .map(|on| format!("turbo {}", if on { "on" } else { "off" })),
        ],
    );
    add(
        "Memory",
        vec![
            number("/memory_bytes").map(bytes),
            number("/limits/memory_bytes").map(|limit| format!("limited to {}", bytes(limit))),
            number("/limits/cpu_cores").map(|cores| format!("{} cores allowed", figure(cores))),
        ],
    );
    add(
        "System",
        vec![
            text("/operating_system"),
            text("/kernel").map(|kernel| format!("kernel {kernel}")),
            at("/virtual_machine")
                .and_then(Value::as_bool)
                .filter(|is| *is)
                .map(|_| "a virtual machine".to_owned()),
            text("/container").map(|container| format!("in {container}")),
        ],
    );
    let load = |name: &str| environment.load.get(name).and_then(Value::as_f64);
    add("Load before", vec![load("one_minute").map(|load| format!("{} over the last minute", figure(load)))]);
    add(
        "Versions",
        environment
            .versions
            .iter()
            .map(|(name, version)| {
                Some(if version.starts_with(name.as_str()) {
                    version.clone()
                } else {
                    format!("{name} {version}")
                })
            })
            .collect(),
    );
    rows
}
