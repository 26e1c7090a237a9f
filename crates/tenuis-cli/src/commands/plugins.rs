//! `tenuis plugins`.

use super::print;
use crate::args::{PluginDirArgs, PluginsAction, PluginsArgs};
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use comfy_table::{Table, presets};
use std::path::Path;
use tenuis_orchestrator::plugin::{PluginLock, Technique};

pub(crate) fn run(args: &PluginsArgs) -> Result<(), Failure> {
    match &args.action {
        PluginsAction::List { plugins } => list(plugins),
        PluginsAction::Lock { dir } => lock(dir),
        PluginsAction::Schema { technique, plugins } => schema(plugins, technique),
    }
}

fn list(dirs: &PluginDirArgs) -> Result<(), Failure> {
    let (registry, _) = plugin_dirs::load(dirs)?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
        "plugin",
        "version",
        "techniques",
        "runs in",
        "library",
    ]);
    for plugin in registry.plugins() {
        let techniques = match plugin.error() {
            Some(error) => format!("not loaded: {error}"),
            None => plugin.techniques().iter().map(Technique::id).collect::<Vec<_>>().join(", "),
        };
        table.add_row([
            plugin.name().to_owned(),
            plugin.version().unwrap_or("–").to_owned(),
            techniques,
            if plugin.is_isolated() { "a process of its own" } else { "this process" }.to_owned(),
            plugin.library().display().to_string(),
        ]);
    }
    let searched: Vec<String> =
        plugin_dirs::directories(dirs).iter().map(|d| d.display().to_string()).collect();
    let searched = if searched.is_empty() { "no directory exists".to_owned() } else { searched.join(", ") };
    if registry.plugins().is_empty() {
        return print(&format!("no plugins found (searched: {searched})\n"));
    }
    print(&format!("{table}\nsearched: {searched}\n"))
}

/// Pins what is there.
fn lock(dir: &Path) -> Result<(), Failure> {
    let lock = PluginLock::pinning(dir)?;
    lock.write()?;
    let names: Vec<&str> = lock.names().collect();
    let pinned = if names.is_empty() { "no plugin".to_owned() } else { names.join(", ") };
    print(&format!("{}: pins {pinned}\n", lock.path().display()))
}

fn schema(dirs: &PluginDirArgs, id: &str) -> Result<(), Failure> {
    let (registry, _) = plugin_dirs::load(dirs)?;
    let technique = registry.technique(id).ok_or_else(|| {
        let known: Vec<&str> = registry.techniques().map(Technique::id).collect();
        Failure::new(Code::Plugin, format!("no plugin offers technique {id:?}; found: {}", known.join(", ")))
    })?;
    let text =
        serde_json::to_string_pretty(technique.schema()).map_err(|e| Failure::new(Code::Internal, e))?;
    print(&format!("{text}\n"))
}
