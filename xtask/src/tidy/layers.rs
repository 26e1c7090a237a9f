//! Checks who depends on whom: a crate sees only lower layers, and candle stays where models run.

use super::Problem;
use crate::error::Error;
use crate::workspace::Workspace;
use cargo_metadata::{DependencyKind, Package};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;

/// The layer of each crate; a dependency must lie in a lower one. `ARCHITECTURE.md` shows the same table.
const LAYERS: [(&str, u8); 23] = [
    ("tenuis-core", 0),
    ("tenuis-abi", 0),
    ("tenuis-recipe", 0),
    ("tenuis-spec", 1),
    ("tenuis-linalg", 1),
    ("tenuis-measure", 1),
    ("tenuis-plugin", 2),
    ("tenuis-quant", 2),
    ("tenuis-export", 2),
    ("tenuis-lowrank", 2),
    ("tenuis-metrics", 2),
    ("tenuis-kernels", 2),
    ("tenuis-host", 2),
    ("tenuis-preflight", 2),
    ("tenuis-prune", 3),
    ("tenuis-report", 3),
    ("tenuis-tasks", 3),
    ("tenuis-plan", 3),
    ("tenuis-model", 3),
    ("tenuis-distill", 4),
    ("tenuis-eval", 4),
    ("tenuis-orchestrator", 5),
    ("tenuis-cli", 6),
];

/// Crates below this layer, and all that plugins may see, have no candle in their tree.
const CANDLE_LAYER: u8 = 3;

/// What a plugin may see of ours: the SDK, the data types, what describes networks and the algorithms.
const OPEN_TO_PLUGINS: [&str; 6] =
    ["tenuis-plugin", "tenuis-core", "tenuis-spec", "tenuis-quant", "tenuis-prune", "tenuis-lowrank"];

/// The plugin that trains: it alone sees the trainer and what describes networks, and hence has candle.
const TRAINER: (&str, [&str; 2]) = ("tenuis-plugin-distill", ["tenuis-distill", "tenuis-spec"]);

/// The only crates that parse a command line.
const PROGRAMS: [&str; 2] = ["tenuis-cli", "xtask"];

/// The only crate that may see the models of candle-transformers, as the oracle of its tests.
const TESTS: &str = "tenuis-tests";

/// How one crate needs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// In the library or program itself.
    Product,
    /// In tests, examples and benchmarks.
    Tests,
    /// In its build script.
    Build,
}

/// A crate of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// Its `Cargo.toml`, relative to the workspace.
    pub(crate) manifest: String,
    /// The text of that.
    pub(crate) text: String,
    /// Whether it says what it is.
    pub(crate) described: bool,
    /// What it declares.
    pub(crate) dependencies: Vec<(String, Need)>,
}

/// The crates of the workspace and the tree of everything below them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    /// The crates of the workspace.
    pub(crate) crates: Vec<Crate>,
    /// Package name to the names of what it needs, tests aside, as cargo resolved it.
    pub(crate) tree: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the graph from a workspace with its resolved dependencies.
    ///
    /// # Errors
    /// [`Error::File`] where a manifest cannot be read.
    pub(crate) fn of(workspace: &Workspace) -> Result<Self, Error> {
        let crates =
            workspace.members().map(|package| member(workspace, package)).collect::<Result<_, _>>()?;
        let names: BTreeMap<_, _> =
            workspace.metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
        let mut tree: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in workspace.metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let below = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            let below = below.filter_map(|dep| names.get(&dep.pkg)).map(|&name| name.to_owned());
            if let Some(&name) = names.get(&node.id) {
                tree.entry(name.to_owned()).or_default().extend(below);
            }
        }
        Ok(Self { crates, tree })
    }

    /// The shortest way from a crate down to a package whose name begins with `prefix`, both ends included.
    fn way_down(&self, from: &str, prefix: &str) -> Option<Vec<String>> {
        let mut queue = VecDeque::from([vec![from.to_owned()]]);
        let mut seen = BTreeSet::from([from.to_owned()]);
        while let Some(way) = queue.pop_front() {
            let below = way.last().and_then(|name| self.tree.get(name));
            for next in below.into_iter().flatten() {
                let mut longer = way.clone();
                longer.push(next.clone());
                if next.starts_with(prefix) {
                    return Some(longer);
                }
                if seen.insert(next.clone()) {
                    queue.push_back(longer);
                }
            }
        }
        None
    }
}

fn member(workspace: &Workspace, package: &Package) -> Result<Crate, Error> {
    let path = &package.manifest_path;
    let need = |kind| match kind {
        DependencyKind::Development => Need::Tests,
        DependencyKind::Build => Need::Build,
        _ => Need::Product,
    };
    Ok(Crate {
        name: package.name.to_string(),
        manifest: path.strip_prefix(workspace.root()).unwrap_or(path).to_string(),
        text: fs::read_to_string(path).map_err(Error::file("reading", path.as_path()))?,
        described: package.description.as_ref().is_some_and(|text| !text.trim().is_empty()),
        dependencies: package.dependencies.iter().map(|dep| (dep.name.clone(), need(dep.kind))).collect(),
    })
}

/// Finds every breach of the direction.
pub(crate) fn check(graph: &Graph) -> Vec<Problem> {
    let mut problems = Vec::new();
    for krate in &graph.crates {
        if !krate.described {
            let mend = "add one line that says what it is for";
            problems.push(problem(
                krate,
                "description",
                "description",
                "the crate has no description".into(),
                mend,
            ));
        }
        if krate.manifest.starts_with("crates/") && layer(&krate.name).is_none() {
            let message = format!("{} is in no layer", krate.name);
            let mend = "give it one in xtask/src/tidy/layers.rs and in ARCHITECTURE.md";
            problems.push(problem(krate, "name", "layer", message, mend));
        }
        let ours = |name: &str| graph.crates.iter().any(|other| other.name == name);
        for (name, need) in &krate.dependencies {
            if ours(name) {
                problems.extend(check_direction(krate, name, *need));
            }
            problems.extend(check_outside(krate, name, *need));
        }
        problems.extend(check_candle(graph, krate));
    }
    problems
}

fn check_direction(krate: &Crate, name: &str, need: Need) -> Option<Problem> {
    if is_plugin(krate) {
        let trains = krate.name == TRAINER.0 && TRAINER.1.contains(&name);
        let open = trains || OPEN_TO_PLUGINS.contains(&name) || need == Need::Tests;
        let message = format!("a plugin sees {name}");
        let mend = "plugins see the SDK, tenuis-core and algorithm crates, never the host or each other";
        return (!open).then(|| problem(krate, name, "plugin", message, mend));
    }
    if krate.name == "xtask" {
        let mend = "xtask builds our crates and links none, so that it starts at once";
        return Some(problem(krate, name, "layer", format!("xtask sees {name}"), mend));
    }
    let (Some(own), Some(other)) = (layer(&krate.name), layer(name)) else { return None };
    // Tests may hold two crates of one layer against each other.
    let allowed = other < own || (need == Need::Tests && other == own);
    let message = format!("{} (layer {own}) sees {name} (layer {other})", krate.name);
    let mend = "a crate sees only lower layers: move what is shared down";
    (!allowed).then(|| problem(krate, name, "layer", message, mend))
}

fn check_outside(krate: &Crate, name: &str, need: Need) -> Option<Problem> {
    if (name == "clap" || name.starts_with("clap_")) && !PROGRAMS.contains(&krate.name.as_str()) {
        let mend = "only tenuis-cli and xtask have a command line";
        return Some(problem(krate, name, "clap", format!("{} sees {name}", krate.name), mend));
    }
    let oracle_out_of_place = name == "candle-transformers" && (krate.name != TESTS || need != Need::Tests);
    let mend = "it is the oracle of the parity tests: a dev-dependency of tenuis-tests alone";
    oracle_out_of_place
        .then(|| problem(krate, name, "oracle", format!("{} sees candle-transformers", krate.name), mend))
}

fn check_candle(graph: &Graph, krate: &Crate) -> Option<Problem> {
    let free = (is_plugin(krate) && krate.name != TRAINER.0)
        || krate.name == "xtask"
        || OPEN_TO_PLUGINS.contains(&krate.name.as_str())
        || layer(&krate.name).is_some_and(|n| n < CANDLE_LAYER);
    let way = free.then(|| graph.way_down(&krate.name, "candle")).flatten()?;
    let first = way.get(1).map_or("name", String::as_str);
    let mend = "algorithms, plugins and what they need build without candle";
    Some(problem(krate, first, "candle", format!("candle is in the tree: {}", way.join(" -> ")), mend))
}

fn is_plugin(krate: &Crate) -> bool {
    krate.manifest.starts_with("plugins/")
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(krate, _)| *krate == name).map(|&(_, layer)| layer)
}

/// A problem at the line of a manifest that begins with `key`.
fn problem(krate: &Crate, key: &str, rule: &'static str, message: String, mend: &'static str) -> Problem {
    let begins = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    let line = krate.text.lines().position(begins).map_or(1, |index| index + 1);
    Problem { file: krate.manifest.clone(), line, rule, message, mend }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(name: &str, dir: &str, dependencies: &[(&str, Need)]) -> Crate {
        let lines: Vec<_> = dependencies.iter().map(|(name, _)| format!("{name}.workspace = true")).collect();
        Crate {
            name: name.into(),
            manifest: format!("{dir}/{name}/Cargo.toml"),
            text: format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{}\n", lines.join("\n")),
            described: true,
            dependencies: dependencies.iter().map(|&(name, need)| (name.to_owned(), need)).collect(),
        }
    }

    fn graph(crates: Vec<Crate>) -> Graph {
        let mut graph = Graph { crates, ..Graph::default() };
        for krate in &graph.crates {
            let below = krate.dependencies.iter().filter(|(_, need)| *need != Need::Tests);
            graph.tree.insert(krate.name.clone(), below.map(|(name, _)| name.clone()).collect());
        }
        graph
    }

    fn found(crates: Vec<Crate>) -> Vec<(usize, &'static str)> {
        check(&graph(crates)).into_iter().map(|p| (p.line, p.rule)).collect()
    }

    #[test]
    fn a_crate_sees_only_lower_layers() {
        let core = || krate("tenuis-core", "crates", &[]);
        let spec = |need| krate("tenuis-spec", "crates", &[("tenuis-linalg", need), ("tenuis-core", need)]);
        let linalg = || krate("tenuis-linalg", "crates", &[("tenuis-core", Need::Product)]);
        assert_eq!(found(vec![core(), linalg(), spec(Need::Tests)]), []);
        assert_eq!(found(vec![core(), linalg(), spec(Need::Product)]), [(5, "layer")]);
        let upward =
            krate("tenuis-linalg", "crates", &[("tenuis-spec", Need::Tests), ("tenuis-quant", Need::Build)]);
        let quant = krate("tenuis-quant", "crates", &[]);
        assert_eq!(found(vec![core(), upward, krate("tenuis-spec", "crates", &[]), quant]), [(6, "layer")]);
    }

    #[test]
    fn a_crate_without_a_layer_or_description_is_named() {
        let mut stranger = krate("tenuis-new", "crates", &[]);
        assert_eq!(found(vec![stranger.clone()]), [(2, "layer")]);
        stranger.manifest = "tests/Cargo.toml".into();
        stranger.described = false;
        assert_eq!(found(vec![stranger]), [(1, "description")]);
    }

    #[test]
    fn plugins_see_the_sdk_and_algorithms_only() {
        let crates = |name: &str, need| {
            let seen = [("tenuis-plugin", Need::Product), ("tenuis-quant", Need::Product), (name, need)];
            let mut all: Vec<_> = LAYERS.iter().map(|(name, _)| krate(name, "crates", &[])).collect();
            all.push(krate("tenuis-plugin-other", "plugins", &[]));
            all.push(krate("tenuis-plugin-quant", "plugins", &seen));
            all
        };
        assert_eq!(found(crates("tenuis-core", Need::Product)), []);
        for name in ["tenuis-host", "tenuis-model", "tenuis-orchestrator", "tenuis-plugin-other"] {
            assert_eq!(found(crates(name, Need::Product)), [(7, "plugin")], "{name}");
            assert_eq!(found(crates(name, Need::Tests)), [], "{name} in tests");
        }
    }

    #[test]
    fn one_plugin_trains() {
        let seen = |name: &str| {
            let krates = [
                krate("tenuis-distill", "crates", &[]),
                krate(name, "plugins", &[("tenuis-distill", Need::Product)]),
            ];
            found(krates.to_vec())
        };
        assert_eq!(seen(TRAINER.0), []);
        assert_eq!(seen("tenuis-plugin-quant"), [(5, "plugin")]);
    }

    #[test]
    fn candle_is_found_through_others_and_the_way_is_shown() {
        let mut graph = graph(vec![krate("tenuis-quant", "crates", &[("helpful", Need::Product)])]);
        graph.tree.insert("helpful".into(), BTreeSet::from(["candle-core".to_owned()]));
        let problems = check(&graph);
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].rule, problems[0].line), ("candle", 5));
        assert!(problems[0].message.contains("tenuis-quant -> helpful -> candle-core"), "{}", problems[0]);

        graph.crates = vec![krate("tenuis-model", "crates", &[("candle-core", Need::Product)])];
        assert_eq!(check(&graph), []);
    }

    #[test]
    fn the_oracle_stays_in_the_parity_tests() {
        let with =
            |name: &str, dir: &str, need| found(vec![krate(name, dir, &[("candle-transformers", need)])]);
        assert_eq!(with(TESTS, ".", Need::Tests), []);
        assert_eq!(with(TESTS, ".", Need::Product), [(5, "oracle")]);
        assert_eq!(with("tenuis-model", "crates", Need::Tests), [(5, "oracle")]);
    }

    #[test]
    fn only_programs_parse_a_command_line() {
        let clap = [("clap", Need::Product)];
        assert_eq!(found(vec![krate("tenuis-cli", "crates", &clap), krate("xtask", ".", &clap)]), []);
        assert_eq!(found(vec![krate("tenuis-eval", "crates", &clap)]), [(5, "clap")]);
    }

    #[test]
    fn xtask_links_none_of_our_crates() {
        let core = krate("tenuis-core", "crates", &[]);
        assert_eq!(found(vec![core, krate("xtask", ".", &[("tenuis-core", Need::Product)])]), [(5, "layer")]);
    }
}
