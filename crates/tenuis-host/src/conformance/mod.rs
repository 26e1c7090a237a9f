//! What every plugin has to satisfy, for its author to run: one test after the other, each in a process of its own.
//!
//! A test may crash or hang, as the plugin may. Whoever runs them therefore starts a process for each test and gives it a time
//! limit; `cargo xtask plugin check FILE` does.
//!
//! ```no_run
//! use tenuis_host::conformance::{self, Subject, Verdict};
//! let subject = Subject::new("/my/plugins/libmy_plugin.so");
//! for test in conformance::TESTS {
//!     match (test.run)(&subject) {
//!         Verdict::Passed(note) => println!("{}: passed ({note})", test.name),
//!         Verdict::Skipped(reason) => println!("{}: skipped, {reason}", test.name),
//!         Verdict::Failed(problem) => println!("{}: FAILED: {problem}", test.name),
//!     }
//! }
//! ```

mod inputs;
mod life;
mod load;
mod work;

use crate::conformance::inputs::Form;
use crate::discover::{DiscoverOptions, Isolation};
use crate::registry::PluginRegistry;
use crate::technique::{Scope, Technique};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The plugin under test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subject {
    /// Its library; the manifest lies beside it.
    pub library: PathBuf,
    /// The options of each technique that cannot do with its defaults, by the technique's id.
    pub options: Map<String, Value>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well; with what was found.
    Passed(String),
    /// There is nothing to test.
    Skipped(String),
    /// The plugin breaks the rule that the text names.
    Failed(String),
}

/// One test.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Test {
    /// What it is called by.
    pub name: &'static str,
    /// The rule that it tests.
    pub rule: &'static str,
    /// Loads the library into this process and tests it.
    pub run: fn(&Subject) -> Verdict,
}

/// Every test, in an order in which later ones build on what earlier ones found.
pub const TESTS: [Test; 13] = [
    test("symbols", "manifest, lock, header and entry point fit together", load::symbols),
    test(
        "struct-sizes",
        "structs name their size, reserved fields are 0, flags are known",
        load::struct_sizes,
    ),
    test("schema", "JSON Schema 2020-12, self-contained, no unknown options", load::schema),
    test(
        "bad-config",
        "options that are no options make no crash; a refusal has a message",
        life::bad_config,
    ),
    test("accepts", "a descriptor that nobody knows is answered", life::accepts),
    test("outputs", "what comes back has shape, type and finite values", work::outputs),
    test("nan-inputs", "weights that are not finite make an error or a finite result", work::nan_inputs),
    test("zero-size", "weights without rows or columns make no crash", work::zero_size),
    test("determinism", "equal input gives equal bytes, whatever the thread budget", work::determinism),
    test("cancel", "the cancel flag is polled at least every 100 ms", work::cancel),
    test("lifecycle", "a thousand jobs come and go", life::lifecycle),
    test("host-minor-0", "a host of minor version 0 is served or refused", life::host_minor_0),
    test(
        "threads",
        "a job may move between threads; jobs run at once where the plugin says so",
        work::threads,
    ),
];

const fn test(name: &'static str, rule: &'static str, run: fn(&Subject) -> Verdict) -> Test {
    Test { name, rule, run }
}

impl Subject {
    /// A library whose techniques do with their defaults.
    pub fn new(library: impl Into<PathBuf>) -> Self {
        Self { library: library.into(), options: Map::new() }
    }

    /// Loads the library into this process.
    fn load(&self) -> Result<PluginRegistry, String> {
        let options = DiscoverOptions { isolation: Isolation::InProcess, ..DiscoverOptions::default() };
        let registry = PluginRegistry::discover_with(std::slice::from_ref(&self.library), &options)
            .map_err(|e| e.to_string())?;
        match registry.plugins().first() {
            None => Err(format!("{}: no plugin", self.library.display())),
            Some(plugin) => match plugin.error() {
                Some(error) => Err(error.to_string()),
                None => Ok(registry),
            },
        }
    }

    /// The options of a technique.
    fn options_of(&self, technique: &Technique) -> Value {
        self.options.get(technique.id()).cloned().unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// Tests every technique and joins what was found.
    fn each(&self, test: impl Fn(&Technique) -> Verdict) -> Verdict {
        let registry = match self.load() {
            Ok(registry) => registry,
            Err(problem) => return Verdict::Failed(problem),
        };
        let (mut notes, mut reasons) = (Vec::new(), BTreeMap::<String, Vec<&str>>::new());
        for technique in registry.techniques() {
            let named =
                |text: String| if text.is_empty() { text } else { format!("{}: {text}", technique.id()) };
            match test(technique) {
                Verdict::Passed(note) => notes.push(named(note)),
                Verdict::Skipped(reason) => reasons.entry(reason).or_default().push(technique.id()),
                Verdict::Failed(problem) => return Verdict::Failed(named(problem)),
            }
        }
        let reasons = reasons.into_iter().map(|(reason, of)| format!("{}: {reason}", of.join(", ")));
        if notes.is_empty() {
            return Verdict::Skipped(reasons.collect::<Vec<_>>().join("; "));
        }
        notes.extend(reasons);
        notes.retain(|note| !note.is_empty());
        Verdict::Passed(notes.join("; "))
    }

    /// As [`each`](Self::each), for techniques of scope group whose options are known.
    fn each_group(&self, test: impl Fn(&Technique, &Value, Form) -> Verdict) -> Verdict {
        self.each(|technique| {
            if technique.scope() == Scope::Model {
                return Verdict::Skipped("scope model, which takes a whole checkpoint".to_owned());
            }
            let options = self.options_of(technique);
            if let Err(problems) = technique.validate(&options) {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                return Verdict::Skipped(format!("cannot do with {options}: {first}; give --options"));
            }
            match Form::taken(technique, &options) {
                Some(form) => test(technique, &options, form),
                None => Verdict::Skipped("takes neither floats nor integers of four bits".to_owned()),
            }
        })
    }
}
