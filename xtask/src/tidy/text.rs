//! Rules on what files say.

use super::source::{Line, Source};
use super::{Problem, is_beside_the_product};
use cargo_metadata::camino::Utf8Path;

/// Where checkouts and scratch files of one machine lie. Spelled in two parts so that this file obeys its own rule.
const MACHINE_PATHS: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/tm", "p/t-"),
    concat!("C:\\Us", "ers"),
];

/// Notes that something is unfinished. Spelled in two parts for the same reason.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros that stand in for code that is not there, or that print for its author alone.
const LEFTOVER_MACROS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Macros that print.
const PRINTING: [&str; 4] = ["println!", "eprintln!", "print!", "eprint!"];

/// Checks a file of any kind.
pub(crate) fn check_any(path: &Utf8Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let script = matches!(path.extension(), Some("toml" | "py" | "sh" | "c" | "h" | "hpp" | "cpp" | "yml"))
        || path.starts_with(".ci");
    for (number, line) in (1..).zip(text.lines()) {
        for place in MACHINE_PATHS.iter().filter(|place| names_machine_path(line, place)) {
            problems.push(Problem {
                file: path.to_string(),
                line: number,
                rule: "machine-path",
                message: format!("`{place}` exists on one machine only"),
                mend: "use a relative path, an environment variable or a temporary directory",
            });
        }
        if script {
            problems.extend(unfinished(path, number, line));
        }
    }
    if path.file_name() == Some("Cargo.toml") {
        problems.extend(check_manifest(path, text));
    }
    problems
}

/// Checks a Rust file.
pub(crate) fn check_rust(path: &Utf8Path, source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |line, rule, message: String, mend| {
        problems.push(Problem { file: path.to_string(), line, rule, message, mend });
    };
    let is_root = matches!(path.file_name(), Some("lib.rs" | "main.rs")) && !is_beside_the_product(path);
    if is_root && !source.lines.first().is_some_and(|line| line.doc) {
        let message = "the crate does not begin with `//!`".to_owned();
        add(1, "crate-doc", message, "say in its first line what it is for");
    }
    let may_print = path.starts_with("xtask")
        || path.starts_with("crates/tenuis-cli")
        || path.file_name() == Some("build.rs")
        || is_beside_the_product(path);
    let mut in_fence = false;
    for (number, line) in (1..).zip(&source.lines) {
        for name in LEFTOVER_MACROS.iter().filter(|name| calls(&line.code, name)) {
            add(number, "leftover", format!("`{name}` is left over"), "write the code or return an error");
        }
        if let Some(attribute) = attribute_allow(&line.code) {
            let message = format!("`{attribute}` silences a lint for good and does not say why");
            add(number, "no-allow", message, "use `#[expect(lint, reason = \"…\")]`");
        }
        if line.code.contains("#[ignore") {
            let message = "an ignored test never fails".to_owned();
            add(number, "no-ignore", message, "make it fast, or skip aloud where its data is missing");
        }
        if !may_print && !line.test {
            for name in PRINTING.iter().filter(|name| calls(&line.code, name)) {
                let message = format!("`{name}` in a library");
                add(number, "no-print", message, "return the text or report through a callback");
            }
        }
        if ignored_fence(line, &mut in_fence) {
            let message = "this doc example never runs".to_owned();
            add(number, "no-ignore", message, "let it run, or mark it `text`");
        }
    }
    for (number, line) in (1..).zip(&source.lines) {
        problems.extend(unfinished(path, number, &line.comment));
        problems.extend(unfinished(path, number, &line.code));
    }
    problems
}

fn check_manifest(path: &Utf8Path, text: &str) -> Option<Problem> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let find = |what: &str| lines.iter().position(|line| *line == what);
    let problem = |line, rule, message: &str, mend| {
        Some(Problem { file: path.to_string(), line, rule, message: message.into(), mend })
    };
    if let Some(at) = lines.iter().position(|line| line.replace(' ', "") == "panic=\"abort\"") {
        let message = "a plugin's panic could not be caught";
        return problem(at + 1, "panic-unwind", message, "leave `panic` at \"unwind\"");
    }
    let outside = path.starts_with("examples") || find("[workspace]").is_some();
    let inherits = find("[lints]").is_some_and(|at| lines.get(at + 1) == Some(&"workspace = true"));
    if find("[package]").is_some() && !outside && !inherits {
        let message = "the crate does not have the lints of the workspace";
        return problem(1, "lints", message, "add `[lints]` with `workspace = true`");
    }
    None
}

fn unfinished(path: &Utf8Path, line: usize, text: &str) -> Option<Problem> {
    let word = UNFINISHED.iter().find(|word| has_word(text, word))?;
    Some(Problem {
        file: path.to_string(),
        line,
        rule: "unfinished",
        message: format!("`{word}` says that something is missing"),
        mend: "finish it, or open an issue and say nothing here",
    })
}

/// Whether `line` names an absolute path that begins with `place`, rather than a longer path that contains it.
fn names_machine_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/})>*".contains(c))
    })
}

/// Whether `text` has `word` as a whole word.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

/// Whether code calls the macro `name`, exclamation mark included.
fn calls(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The attribute in `code` that allows a lint, by itself or inside `cfg_attr`.
fn attribute_allow(code: &str) -> Option<&'static str> {
    let dense: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if dense.contains("#[allow(") {
        return Some("#[allow(…)]");
    }
    if dense.contains("#![allow(") {
        return Some("#![allow(…)]");
    }
    (dense.contains("[cfg_attr(") && dense.contains(",allow(")).then_some("#[cfg_attr(…, allow(…))]")
}

/// Whether a doc comment opens a code block that rustdoc does not run.
fn ignored_fence(line: &Line, in_fence: &mut bool) -> bool {
    let Some(info) = line.comment.trim().strip_prefix("```").filter(|_| line.doc) else { return false };
    let opens = !*in_fence;
    *in_fence = opens;
    opens && info.split([',', ' ']).any(|word| word == "ignore" || word.starts_with("ignore-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "crates/tenuis-core/src/deep/file.rs";

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let path = Utf8Path::new(path);
        super::super::check_file(path, text).into_iter().map(|p| (p.line, p.rule)).collect()
    }

    #[test]
    fn a_crate_begins_with_what_it_is_for() {
        assert_eq!(rules("crates/a/src/lib.rs", "use x;\n//! Late\n"), [(1, "crate-doc")]);
        assert_eq!(rules("crates/a/src/lib.rs", ""), [(1, "crate-doc")]);
        assert_eq!(rules("crates/a/src/lib.rs", "//! Adds.\nuse x;\n"), []);
        assert_eq!(rules(LIBRARY, "use x;\n"), []);
    }

    #[test]
    fn unfinished_work_is_found_in_comments_and_scripts_but_not_in_strings() {
        let note = format!("// {}: later\n", UNFINISHED[0]);
        assert_eq!(rules(LIBRARY, &note), [(1, "unfinished")]);
        assert_eq!(rules(LIBRARY, &format!("let a = \"{}\";\n", UNFINISHED[0])), []);
        assert_eq!(rules(LIBRARY, &format!("// {}XX\n", UNFINISHED[2])), []);
        assert_eq!(rules(".ci/run", &format!("echo\n# {}\n", UNFINISHED[1])), [(2, "unfinished")]);
        assert_eq!(rules("README.md", &format!("no {} here\n", UNFINISHED[0])), []);
    }

    #[test]
    fn leftover_macros_are_found_where_they_are_called() {
        assert_eq!(rules(LIBRARY, "fn a() {\n    todo!()\n}\n"), [(2, "leftover")]);
        assert_eq!(rules(LIBRARY, "let x = dbg!(y);\n"), [(1, "leftover")]);
        assert_eq!(rules(LIBRARY, "// say dbg! in a comment\nlet a = my_todo!();\n"), []);
    }

    #[test]
    fn lints_are_expected_and_not_allowed() {
        assert_eq!(rules(LIBRARY, "#[allow(dead_code)]\n"), [(1, "no-allow")]);
        assert_eq!(rules(LIBRARY, "#![ allow (dead_code)]\n"), [(1, "no-allow")]);
        assert_eq!(rules(LIBRARY, "#[cfg_attr(test, allow(dead_code))]\n"), [(1, "no-allow")]);
        assert_eq!(rules(LIBRARY, "#[expect(dead_code, reason = \"x\")]\n"), []);
    }

    #[test]
    fn nothing_is_ignored() {
        assert_eq!(rules(LIBRARY, "#[ignore = \"slow\"]\nfn a() {}\n"), [(1, "no-ignore")]);
        assert_eq!(rules(LIBRARY, "/// ```ignore\n/// x\n/// ```\nfn a() {}\n"), [(1, "no-ignore")]);
        assert_eq!(rules(LIBRARY, "/// ```text\n/// x\n/// ```\n/// ignore\nfn a() {}\n"), []);
    }

    #[test]
    fn libraries_do_not_print_but_programs_and_tests_do() {
        assert_eq!(rules(LIBRARY, "println!();\n"), [(1, "no-print")]);
        assert_eq!(rules("plugins/quant/src/a.rs", "eprint!();\n"), [(1, "no-print")]);
        for path in
            ["crates/tenuis-cli/src/a.rs", "xtask/src/a.rs", "crates/a/benches/b.rs", "tests/src/lib2.rs"]
        {
            assert_eq!(rules(path, "println!();\n"), [], "{path}");
        }
        assert_eq!(rules(LIBRARY, "#[cfg(test)]\nmod tests {\n    println!();\n}\n"), []);
    }

    #[test]
    fn paths_of_one_machine_are_found_in_every_file() {
        for place in MACHINE_PATHS {
            assert_eq!(rules("docs/a.md", &format!("see `{place}x`\n")), [(1, "machine-path")], "{place}");
            assert_eq!(rules(LIBRARY, &format!("let a = \"{place}x\";\n")), [(1, "machine-path")], "{place}");
            assert_eq!(rules("docs/a.md", &format!("https://example.org{place}x\n")), [], "{place}");
        }
    }

    #[test]
    fn manifests_share_lints_and_unwind() {
        let good = "[package]\nname = \"a\"\n[lints]\nworkspace = true\n";
        assert_eq!(rules("crates/a/Cargo.toml", good), []);
        assert_eq!(rules("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"), [(1, "lints")]);
        assert_eq!(rules("examples/a/Cargo.toml", "[package]\nname = \"a\"\n"), []);
        let abort = "[workspace]\n[profile.release]\npanic = \"abort\"\n";
        assert_eq!(rules("Cargo.toml", abort), [(3, "panic-unwind")]);
    }
}
