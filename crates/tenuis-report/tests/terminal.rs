//! The report on a terminal.

use serde_json::{Value, json};
use tenuis_report::{ReportError, TerminalOptions, terminal};
use unicode_width::UnicodeWidthStr;

const FULL: &str = include_str!("data/full.json");
const DEMO: &str = include_str!("data/demo.json");

fn options(colour: bool, width: Option<u16>) -> TerminalOptions {
    let mut options = TerminalOptions::default();
    (options.colour, options.width) = (colour, width);
    options
}

fn shown(report: &str, colour: bool, width: u16) -> String {
    let report = serde_json::from_str(report).expect("a report");
    terminal(&report, options(colour, Some(width))).expect("its text")
}

/// A text without its escape sequences.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('m').expect("the end of a sequence");
        rest = &rest[at + end + 1..];
    }
    out + rest
}

#[test]
fn it_reads_as_it_did() {
    insta::assert_snapshot!("full_80", shown(FULL, false, 80));
    insta::assert_snapshot!("full_160", shown(FULL, false, 160));
    insta::assert_snapshot!("demo_80", shown(DEMO, false, 80));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for report in [FULL, DEMO] {
        for width in [60, 80, 100, 160, 240] {
            for line in shown(report, false, width).lines() {
                assert!(line.width() <= usize::from(width), "{} columns at {width}: {line}", line.width());
            }
        }
    }
}

#[test]
fn colours_add_nothing_but_colour() {
    for width in [80, 160] {
        let coloured = shown(FULL, true, width);
        assert!(coloured.contains('\u{1b}'));
        let tidy = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(tidy(&plain(&coloured)), tidy(&shown(FULL, false, width)));
    }
    assert!(!shown(FULL, false, 80).contains('\u{1b}'));
}

#[test]
fn requirements_have_signs_and_what_is_undecided_is_no_pass() {
    let text = shown(FULL, false, 160);
    assert!(text.contains("✓ bytes <= 4e6") && text.contains("✗ bytes <= 4e6"), "{text}");
    assert!(text.contains("? joules_per_token <= 0.02"), "{text}");
    assert!(text.contains("unavailable: there is no energy counter"), "{text}");
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let mut report: Value = serde_json::from_str(DEMO).unwrap();
    report["candidates"][0]["name"] = "evil\u{1b}[2Jname\r".into();
    let text = terminal(&report, TerminalOptions::default()).unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains('\r'));
    assert!(text.contains("evil\u{fffd}[2Jname"));
}

#[test]
fn the_least_report_has_a_tree() {
    let report = json!({
        "schema": "tenuis.report/1",
        "baseline": { "name": "baseline", "size": { "bytes": 4000 } },
        "candidates": [{ "name": "small", "size": { "bytes": 1000 } }],
    });
    let text = terminal(&report, TerminalOptions::default()).unwrap();
    assert!(text.contains("└─ small [loss not measured]"), "{text}");
    assert!(text.contains("4.00× smaller (fraction 25.00 %)"), "{text}");
    let none = json!({ "schema": "tenuis.report/1", "baseline": { "name": "b", "size": { "bytes": 1 } } });
    assert!(terminal(&none, TerminalOptions::default()).unwrap().contains("There is no candidate"));
    let error = terminal(&json!({ "schema": "x" }), TerminalOptions::default()).unwrap_err();
    assert!(matches!(error, ReportError::Field { .. }), "{error}");
}
