//! `tenuis plugins`.

use super::print;
use crate::args::{PluginDirArgs, PluginsAction, PluginsArgs};
use crate::exit::{Code, Failure};
use crate::plugin_dirs;
use comfy_table::{Table, presets};
use tenuis_orchestrator::plugin::Technique;

pub(crate) fn run(args: &PluginsArgs) -> Result<(), Failure> {
    match &args.action {
        PluginsAction::List { plugins } => list(plugins),
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
