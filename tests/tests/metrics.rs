//! Metrics of files of predictions and ratings by people, from the command line.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use tenuis_tests::cli::tenuis;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn run(args: &[&str]) -> tenuis_tests::cli::Run {
    tenuis(args)
}

#[test]
fn every_metric_is_listed_with_what_it_reads() {
    let list = run(&["metrics", "list"]).succeeded();
    for part in ["bleu", "rougeL", "entity_f1", "roc_auc", "frechet", "higher", "lower", "0 to 100"] {
        assert!(list.stdout.contains(part), "{part}: {}", list.stdout);
    }
}

#[test]
fn a_file_is_scored_and_two_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let row = |prediction: &str, label: &str| format!("{prediction},{label}\n");
    let file = |name: &str, wrong: usize| {
        let rows: String = (0..60).map(|i| row(if i < wrong { "no" } else { "yes" }, "yes")).collect();
        write(dir.path(), name, &format!("prediction,label\n{rows}"))
    };
    let (good, bad) = (file("good.csv", 3), file("bad.csv", 30));
    let [good, bad] = [&good, &bad].map(|path| path.to_str().unwrap());
    let report = run(&["metrics", "compute", "accuracy", good, "--interval", "--json"]).succeeded();
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report["value"], &report["items"]), (&0.95.into(), &60.into()));
    assert!(report["interval"]["low"].as_f64().unwrap() < 0.95);
    let text = run(&["metrics", "compare", "accuracy", good, bad]).succeeded().stdout;
    assert!(text.contains("worse") && text.contains("retention 52.63 %"), "{text}");
    let same = run(&["metrics", "compare", "accuracy", good, good]).succeeded().stdout;
    assert!(same.contains("undecided"), "{same}");
    // What a field is called, and what the metric is made of, are options.
    let gold = write(dir.path(), "gold.jsonl", "{\"out\": \"a b c d\", \"gold\": \"a b c d\"}\n");
    let options = write(
        dir.path(),
        "o.toml",
        "fields = { prediction = \"out\", reference = \"gold\" }\nbleu = { tokenizer = \"none\" }\n",
    );
    let bleu = ["metrics", "compute", "bleu", gold.to_str().unwrap(), "--options", options.to_str().unwrap()];
    let bleu = run(&bleu).succeeded().stdout;
    assert!(bleu.starts_with("bleu 100.0000") && bleu.contains("tok:none"), "{bleu}");
    run(&["metrics", "compute", "bleu", good]).failed_with(3, &["good.csv", "reference"]);
    run(&["metrics", "compute", "blue", good]).failed_with(3, &["blue", "bleu"]);
    let wrong = write(dir.path(), "wrong.toml", "bleo = 1\n");
    run(&["metrics", "compute", "bleu", good, "--options", wrong.to_str().unwrap()])
        .failed_with(3, &["wrong.toml", "bleo"]);
}

#[test]
fn ratings_come_back_with_their_owners() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = |name: &str, text: &str| {
        let row = |i| format!("{{\"item\": \"i{i}\", \"prompt\": \"p{i}\", \"prediction\": \"{text} {i}\"}}");
        let rows = (0..4).map(row).collect::<Vec<_>>().join("\n");
        write(dir.path(), name, &rows)
    };
    let (dense, int4) = (outputs("dense.jsonl", "fine"), outputs("int4.jsonl", "poor"));
    let [sheet, key] = ["sheet.csv", "key.csv"].map(|name| dir.path().join(name));
    let (first, second) = (format!("dense={}", dense.display()), format!("int4={}", int4.display()));
    let files = ["--sheet", sheet.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let args = [&["ratings", "sheet", "--first", &first, "--second", &second][..], &files].concat();
    let _ = run(&args).succeeded();
    let blank = std::fs::read_to_string(&sheet).unwrap();
    assert!(!blank.contains("dense") && !blank.contains("int4"), "{blank}");
    let filled: String = blank
        .lines()
        .map(|line| {
            let points = if line.contains("fine") { "5,4,5,4" } else { "2,4,1,3" };
            line.strip_suffix(",,,,").map_or_else(|| line.to_owned(), |kept| format!("{kept},{points}"))
                + "\n"
        })
        .collect();
    std::fs::write(&sheet, filled).unwrap();
    let rater = format!("ada={}", sheet.display());
    let read =
        run(&["ratings", "read", "--key", key.to_str().unwrap(), "--rater", &rater, "--json"]).succeeded();
    let summary: Value = serde_json::from_str(&read.stdout).unwrap();
    assert_eq!(summary["missing"], 0);
    let difference = &summary["differences"][0];
    assert_eq!(
        (&difference["candidate"], &difference["difference"]["value"]),
        (&"int4".into(), &(-3.0).into())
    );
    let text =
        run(&["ratings", "read", "--key", key.to_str().unwrap(), "--rater", &rater]).succeeded().stdout;
    assert!(text.contains("int4 − dense") && text.contains("agreement on accuracy"), "{text}");
    std::fs::write(&int4, "{\"item\": \"i0\", \"prompt\": \"p\", \"prediction\": \"x\"}\n").unwrap();
    run(&args).failed_with(3, &["int4.jsonl", "has no item \"i1\""]);
    run(&["ratings", "read", "--key", key.to_str().unwrap(), "--rater", "ada"])
        .failed_with(2, &["NAME=FILE"]);
}
