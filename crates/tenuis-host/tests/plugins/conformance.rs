//! The program that checks a plugin: it passes what conforms and says what does not, whatever the plugin does to it.

use crate::support::{Site, c_technique, example, manifest_of};
use std::env::consts::EXE_SUFFIX;
use std::path::Path;
use std::process::Command;

/// Runs the checker and returns what it prints, and whether the plugin conforms.
fn check(site: &Site, more: &[&str]) -> (String, bool) {
    let output =
        Command::new(example("plugin_check", EXE_SUFFIX)).arg(site.library()).args(more).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

/// The line of a test.
fn line<'a>(report: &'a str, test: &str) -> &'a str {
    report.lines().find(|line| line.starts_with(test)).unwrap_or_else(|| panic!("no {test} in\n{report}"))
}

#[test]
fn the_example_in_c_conforms() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/example-c");
    let manifest = std::fs::read_to_string(home.join("example_binary.plugin.json")).unwrap();
    let site = Site::new("example_binary").manifest(&manifest).c(&home.join("binary.c"));
    let (report, passed) = check(&site, &[]);
    assert!(passed && report.ends_with("the plugin conforms\n"), "{report}");
    assert_eq!(
        report.lines().filter(|line| line.contains(" ok")).count() + 2,
        report.lines().count(),
        "{report}"
    );
}

#[test]
fn what_does_not_conform_is_named_test_by_test() {
    let finish = "if (g->linears[0]->weight->out_features == 0) abort();";
    let code = c_technique("#include <stdlib.h>", finish);
    let site = Site::new("wrong").manifest(&manifest_of(&["in_c"])).c_code(&code);
    let (report, passed) = check(&site, &[]);
    assert!(!passed && report.ends_with("the plugin does not conform\n"), "{report}");
    assert!(line(&report, "symbols").contains("ok       provides in_c"), "{report}");
    assert!(line(&report, "bad-config").contains("ok"), "{report}");
    assert!(line(&report, "outputs").contains("it was not emitted"), "{report}");
    assert!(line(&report, "zero-size").contains("FAILED   its process ended with signal: 6"), "{report}");
    assert!(line(&report, "determinism").contains("skipped  in_c: does not promise it"), "{report}");
    let (usage, passed) = check(&site, &["--options", "{"]);
    assert!(!passed && usage.starts_with("--options {: "), "{usage}");
}
