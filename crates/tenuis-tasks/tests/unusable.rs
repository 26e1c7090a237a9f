//! What cannot be used is named: the file, the line, the field, and the mend.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use tenuis_tasks::{Task, TaskError};

const TOML: &str = "name = \"t\"\nkind = \"generate\"\ndata = \"data.jsonl\"\nprompt = \"{{ q }}\"\n";

fn error_of(toml: &str, file: &str, data: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file), data).unwrap();
    let path = dir.path().join("t.toml");
    std::fs::write(&path, toml).unwrap();
    Task::open(&path, None).unwrap_err().to_string()
}

fn check(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn records_are_named() {
    let one = "{\"q\": \"a\", \"answer\": \"b\"}";
    let generate = format!("{TOML}[generate]\n");
    for (more, data, parts) in [
        ("", String::new(), &["data.jsonl", "holds no items"][..]),
        ("", format!("{one}\n\n{{"), &["data.jsonl, line 3", "is not JSON"]),
        ("", "[1]".to_owned(), &["line 1", "is not a JSON object"]),
        (
            "",
            format!("{one}\n{{\"q\": \"a\"}}"),
            &["line 2", "`generate.target`", "no field \"answer\"", "it has q"],
        ),
        ("", "{\"q\": [1], \"answer\": \"b\"}".to_owned(), &["line 1", "`prompt`", "is no text"]),
        ("", "{\"q\": null, \"answer\": \"b\"}".to_owned(), &["`prompt`", "null is no text"]),
        ("references = \"missing\"", one.to_owned(), &["`generate.references`", "no field \"missing\""]),
        ("references = \"[]\"", one.to_owned(), &["no reference"]),
        ("references = \"{}\"", one.to_owned(), &["must give a text or a list of texts"]),
        (
            "extract = \"last_number\"\nextract_references = true",
            one.to_owned(),
            &["the reference \"b\" has no number"],
        ),
        ("[few_shot]\nexamples = 1", one.to_owned(), &["few_shot.examples = 1", "only 0 other"]),
        (
            "[few_shot]\nexamples = 1\nexample = \"{{ 1 // 0 }}\"",
            format!("{one}\n{one}"),
            &["`few_shot.example`"],
        ),
    ] {
        check(&error_of(&format!("{generate}{more}\n"), "data.jsonl", &data), parts);
    }
    let sliced = TOML.replace("prompt", "slices = [\"topic\"]\nprompt") + "[generate]\n";
    check(&error_of(&sliced, "data.jsonl", one), &["line 1", "field \"topic\"", "missing", "`slices`"]);
    let typed = format!("{TOML}[fields]\nq = \"text\"\n[generate]\n");
    check(
        &error_of(&typed, "data.jsonl", "{\"q\": 3, \"answer\": \"b\"}"),
        &["\"q\" must be a text", "it is 3"],
    );
}

#[test]
fn choices_are_checked() {
    let toml = "name = \"t\"\nkind = \"choices\"\ndata = \"data.jsonl\"\nprompt = \"{{ q }}\"\n[choices]\n";
    for (more, data, parts) in [
        ("", r#"{"q": "a", "choices": ["x"], "answer": 0}"#, &["fewer than two"][..]),
        ("", r#"{"q": "a", "choices": ["x", " "], "answer": 0}"#, &["choice 2 is empty"]),
        ("", r#"{"q": "a", "choices": ["x", "y"], "answer": 2}"#, &["is 2", "2 choices", "from 0"]),
        ("", r#"{"q": "a", "choices": ["x", "y"], "answer": "B"}"#, &["counted from 0"]),
        ("", r#"{"q": "a", "choices": ["x", null], "answer": 0}"#, &["must give a list of texts"]),
        ("", r#"{"q": "a", "choices": "xy", "answer": 0}"#, &["must give a list of texts"]),
        (
            "answer_is = \"letter\"",
            r#"{"q": "a", "choices": ["x", "y"], "answer": "C"}"#,
            &["A for the first"],
        ),
        (
            "texts = [\"{{ q }}\", \"{{ z }}\"]",
            r#"{"q": "a", "answer": 0}"#,
            &["`choices.texts[1]`", "\"z\""],
        ),
    ] {
        check(&error_of(&format!("{toml}{more}\n"), "data.jsonl", data), parts);
    }
}

#[test]
fn definitions_are_checked() {
    let one = "{\"q\": \"a\", \"answer\": \"b\"}";
    for (toml, parts) in [
        (
            "name = \"t\"\nkind = \"generate\"\nprompts = \"x\"\n",
            &["t.toml, line 3, column 1", "`prompts`"][..],
        ),
        ("name = \"t\"\nkind = \"choose\"\n", &["line 2, column 8", "`choices`"]),
        ("name = \"t\"\n kind = 'x", &["line 2"]),
        ("name = \" \"\nkind = \"last_word\"\nprompt = \"x\"\n", &["`name` is empty"]),
        ("name = \"t\"\nkind = \"last_word\"\n", &["`prompt` is empty"]),
        ("name = \"t\"\nkind = \"last_word\"\nprompt = \"x\"\n", &["`data` is empty"]),
        ("name = \"t\"\nkind = \"last_word\"\nprompt = \"x\"\nchat = true\n", &["`chat` must be false"]),
        (
            "name = \"t\"\nkind = \"last_word\"\nprompt = \"x\"\nchat = \"yes\"\n",
            &["line 4", "true, false or \"auto\""],
        ),
        (TOML, &["needs a table [generate]"]),
        (&format!("{TOML}[generate]\n[choices]\n"), &["[choices] does not belong to kind = \"generate\""]),
        (&format!("{TOML}[generate]\nstop = [\"\"]\n"), &["`generate.stop` is empty"]),
        (&format!("{TOML}[generate]\nmax_new_tokens = 0\n"), &["`generate.max_new_tokens` is 0"]),
        (
            &format!("{TOML}[generate]\nmetric = \"elegance\"\n"),
            &["line 6, column 10", "`elegance`", "`rougeL`"],
        ),
        (&format!("{TOML}[generate]\ntarget = \"{{{{ a \"\n"), &["`generate.target`, its line 1"]),
        (&format!("{TOML}[generate]\ntarget = \"{{{{ a | shout }}}}\"\n"), &["`generate.target`", "shout"]),
        (&format!("{TOML}[generate]\nreferences = \"a b\"\n"), &["`generate.references`"]),
        (
            &format!("{TOML}[generate]\nextract = {{ regex = {{ pattern = \"(\" }} }}\n"),
            &["\"(\"", "unclosed group"],
        ),
        (&format!("{TOML}[generate]\nextract = {{ after = {{ marker = \"\" }} }}\n"), &["marker` is empty"]),
        (
            "name = \"t\"\nkind = \"choices\"\nprompt = \"x\"\n[choices]\nlabels = \"l\"\n",
            &["`choices.labels`", "\"label\""],
        ),
        (
            "name = \"t\"\nkind = \"choices\"\nprompt = \"x\"\n[choices]\ncontinuation = \"l\"\n",
            &["`prompt` is not used"],
        ),
    ] {
        check(&error_of(toml, "data.jsonl", one), parts);
    }
}

#[test]
fn tables_are_checked() {
    let toml = TOML.replace("data.jsonl", "data.csv") + "[generate]\n";
    for (data, parts) in [
        ("", &["data.csv", "holds no items"][..]),
        ("q,answer\n", &["holds no items"]),
        ("q,,answer\na,b,c\n", &["line 1", "has no name"]),
        ("q,answer,q\na,b,c\n", &["line 1", "\"q\" occurs twice"]),
        ("q,answer\na,b\na\n", &["line 3", "1 fields", "2"]),
        ("a,b\nc,d\n", &["line 2", "no field \"q\"", "it has a, b"]),
    ] {
        check(&error_of(&toml, "data.csv", data), parts);
    }
    let headless = toml.replace("prompt", "columns = [\"q\"]\nprompt");
    check(&error_of(&headless, "data.csv", "a,b\n"), &["line 1", "2 fields", "`columns` names 1"]);
}

#[test]
fn files_without_a_layout_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.jsonl");
    std::fs::write(&path, "{\"story\": \"a b\"}").unwrap();
    let error = Task::open(&path, None).unwrap_err().to_string();
    check(&error, &["line 1", "\"story\"", "no task", "\"choices\"", "TOML"]);
    std::fs::write(&path, b"{\"text\": \"K\xf6ln\"}").unwrap();
    let latin = Task::open(&path, None).unwrap_err();
    assert!(matches!(latin, TaskError::NotUtf8 { position: 11, .. }), "{latin}");
    let missing = Task::open(Path::new("no/such.jsonl"), None).unwrap_err();
    assert!(matches!(missing, TaskError::File { .. }), "{missing}");
    let unknown = Task::open(Path::new("trivia=x.jsonl"), None).unwrap_err();
    assert!(matches!(unknown, TaskError::UnknownBuiltin { .. }), "{unknown}");
}
