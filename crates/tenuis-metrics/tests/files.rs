//! Files in, reports out, and what is wrong with a file by name, line and field.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tenuis_metrics::{
    BootstrapConfig, CRITERIA, METRICS, MetricError, Options, OutputPair, RatingError, Ratings, Verdict,
    compare, compute, write_rating_sheet,
};

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn value(metric: &str, file: &std::path::Path) -> f64 {
    compute(metric, file, &Options::default()).unwrap().value
}

/// A file for every metric of the list, so that none is without a way to be computed.
#[test]
fn every_metric_is_computed() {
    let files = Files::new();
    let texts = files.with(
        "texts.jsonl",
        "{\"prediction\": \"the cat sat on the mat 1\", \"reference\": \"the cat sat on the mat 1\"}\n\n\
         {\"prediction\": \"a dog ran to the big park 2\", \"reference\": [\"the dog ran to a park 3\", \"x 2\"]}\n",
    );
    let classes = files.with("classes.csv", "prediction,label\n1,1\n0,1\n0,0\n1,1\n2,2\n");
    let scores = files.with("scores.csv", "score,label\n0.9,1\n0.4,1\n0.6,0\n0.1,0\n");
    let lists = files.with(
        "lists.jsonl",
        "{\"score\": [0.7, 0.2, 0.1], \"label\": 0}\n{\"score\": [0.2, 0.7, 0.1], \"label\": 1}\n\
         {\"score\": [0.2, 0.2, 0.6], \"label\": 2}\n",
    );
    let tags = files.with(
        "tags.csv",
        "tokens,tags,prediction\nAda met Bob,B-PER O B-PER,B-PER O O\n\"a b\",O B-LOC,\"[\"\"O\"\", \"\"B-LOC\"\"]\"\n",
    );
    let features = files.with(
        "features.jsonl",
        "{\"prediction\": [1, 2], \"reference\": [0, 1]}\n{\"prediction\": [3, 1], \"reference\": [2, 2]}\n\
         {\"reference\": [1, 5]}\n",
    );
    for info in METRICS {
        let file = match info.name {
            "frechet" => &features,
            "top_k_accuracy" => &lists,
            "mse" | "rmse" | "mae" | "r2" | "pearson" | "spearman" | "kendall" => &classes,
            _ if info.fields.contains(&"score") => &scores,
            _ if info.fields.contains(&"tags") => &tags,
            _ if info.fields.contains(&"label") => &classes,
            _ => &texts,
        };
        let report = compute(info.name, file, &Options::default()).unwrap();
        assert!(info.range.contains(report.value), "{}: {}", info.name, report.value);
        assert_eq!((report.metric.as_str(), report.direction), (info.name, info.direction));
        let json = serde_json::to_string(&report).unwrap();
        let read: tenuis_metrics::Report = serde_json::from_str(&json).unwrap();
        // The last digit may be lost on the way.
        assert!((read.value - report.value).abs() < 1e-12 * report.value.abs().max(1.0));
        assert_eq!(
            (read.metric, read.table, read.signature),
            (report.metric, report.table, report.signature)
        );
    }
    assert_eq!(value("accuracy", &classes), 0.8);
    assert_eq!(value("roc_auc", &scores), 0.75);
    assert_eq!(value("roc_auc", &lists), 1.0);
    assert_eq!(value("numeric_match", &texts), 1.0);
    assert_eq!(value("exact_match", &texts), 0.5);
    let report = compute("entity_f1", &tags, &Options::default()).unwrap();
    assert_eq!(report.parts["precision"], 1.0);
    assert_eq!(report.classes.iter().map(|c| c.support).collect::<Vec<_>>(), [1, 2]);
    assert!(report.table.unwrap().contains("weighted avg"));
    assert_eq!(compute("accuracy", &classes, &Options::default()).unwrap().table.unwrap().lines().count(), 4);
}

#[test]
fn options_reach_metrics() {
    let files = Files::new();
    let classes =
        files.with("classes.jsonl", "{\"out\": true, \"truth\": true}\n{\"out\": true, \"truth\": false}\n");
    let options: Options = serde_json::from_str(
        r#"{"fields": {"prediction": "out", "label": "truth"}, "positive": "true", "bootstrap": {"resamples": 100}}"#,
    )
    .unwrap();
    let report = compute("precision", &classes, &options).unwrap();
    assert_eq!((report.value, report.signature.as_str()), (0.5, "class:true"));
    assert_eq!(report.parts["recall"], 1.0);
    let interval = report.interval.unwrap();
    assert_eq!((interval.value, interval.resamples + interval.undefined), (0.5, 100));
    assert!(serde_json::from_str::<Options>(r#"{"postive": "x"}"#).is_err());

    let texts = files.with("texts.csv", "prediction,reference\n\"Hello, World\",hello world\n");
    let mut options = Options::default();
    options.bleu.lowercase = true;
    options.rouge.stemmer = true;
    assert!(compute("bleu", &texts, &options).unwrap().signature.contains("case:lc"));
    assert_eq!(compute("rouge1", &texts, &options).unwrap().signature, "stemmer:porter");
    options.normalization = tenuis_metrics::Normalization::squad();
    assert_eq!(compute("exact_match", &texts, &options).unwrap().value, 1.0);
}

#[test]
fn a_candidate_is_compared_item_by_item() {
    let files = Files::new();
    let rows = |right: usize, label: &str| {
        let row = |i| if i < right { "yes,yes\n" } else { "no,yes\n" };
        format!("prediction,label\n{}no,{label}\n", (0..40).map(row).collect::<String>())
    };
    let baseline = files.with("baseline.csv", &rows(38, "no"));
    let candidate = files.with("candidate.csv", &rows(20, "no"));
    let compared = compare("accuracy", &baseline, &candidate, &Options::default()).unwrap();
    assert_eq!(compared.verdict, Verdict::Worse);
    assert!((compared.difference.value + 18.0 / 41.0).abs() < 1e-12);
    assert!((compared.retention.unwrap() - 100.0 * 21.0 / 39.0).abs() < 1e-9);
    assert!(compared.baseline.interval.is_none());
    let same = compare("accuracy", &baseline, &baseline, &Options::default()).unwrap();
    assert_eq!((same.verdict, same.retention, same.change), (Verdict::Undecided, Some(100.0), Some(0.0)));

    let other = files.with("other.csv", &rows(20, "yes"));
    let error = compare("accuracy", &baseline, &other, &Options::default()).unwrap_err();
    assert!(matches!(error, MetricError::DifferentItems { lines: (42, 42), .. }), "{error}");
    let short = files.with("short.csv", "prediction,label\nyes,yes\n");
    assert!(matches!(compare("f1", &baseline, &short, &Options::default()), Err(MetricError::Length { .. })));
    let text = files.with("text.csv", "prediction\na b c\n");
    assert!(matches!(
        compare("distinct", &text, &text, &Options::default()),
        Err(MetricError::Undefined { .. })
    ));
}

#[test]
fn a_lower_distance_is_better() {
    let files = Files::new();
    let text =
        |word: &str| format!("prediction,reference\n{}", format!("the {word} sat,the cat sat\n").repeat(20));
    let (bad, good) = (files.with("bad.csv", &text("dog")), files.with("good.csv", &text("cat")));
    let compared = compare("ter", &bad, &good, &Options::default()).unwrap();
    assert_eq!(compared.verdict, Verdict::Better);
    // The candidate makes no error at all: there is no ratio.
    assert_eq!((compared.retention, compared.change), (None, Some(-100.0)));
}

#[test]
fn refusals_name_file_line_and_field() {
    let files = Files::new();
    let refused = |metric: &str, name: &str, text: &str| {
        let path = files.with(name, text);
        let error = compute(metric, &path, &Options::default()).unwrap_err().to_string();
        error.replace(&path.display().to_string(), name)
    };
    for (metric, name, text, expected) in [
        ("bleu", "a.jsonl", "", "a.jsonl: holds no rows"),
        ("bleu", "a.csv", "prediction,reference\n", "a.csv: holds no rows"),
        (
            "bleu",
            "a.jsonl",
            "{\"prediction\": \"a\"}",
            "a.jsonl, line 1: field \"reference\" is missing; it must be a text or a list of texts",
        ),
        (
            "bleu",
            "a.jsonl",
            "\n[1]",
            "a.jsonl, line 2: is not a JSON object; a row is one JSON object on each line",
        ),
        (
            "bleu",
            "a.jsonl",
            "{\"prediction\": 3, \"reference\": \"a\"}",
            "a.jsonl, line 1: field \"prediction\" is 3, but must be a text",
        ),
        (
            "bleu",
            "a.jsonl",
            "{\"prediction\": \"a\", \"reference\": []}",
            "a.jsonl, line 1: field \"reference\" is [], but must be a text or a list of texts",
        ),
        ("accuracy", "a.csv", "prediction,label\na,b\n\"c\nd\",e\nf,\"g\",h\n", "a.csv, line 5"),
        (
            "accuracy",
            "a.csv",
            "prediction,prediction\na,b\n",
            "a.csv, line 1: column \"prediction\" occurs twice; the header has prediction, prediction",
        ),
        ("accuracy", "a.csv", "prediction\na\n", "a.csv, line 2: field \"label\" is missing"),
        (
            "mse",
            "a.csv",
            "prediction,label\n1,2\nx,2\n",
            "a.csv, line 3: field \"prediction\" is \"x\", but must be a number",
        ),
        (
            "mse",
            "a.csv",
            "prediction,label\n1,NaN\n",
            "a.csv, line 2: field \"label\" is \"NaN\", but must be a number",
        ),
        (
            "roc_auc",
            "a.csv",
            "score,label\n0.1,cat\n0.2,dog\n",
            "positive is not set, and the labels are cat, dog, but must be the class that scores are for",
        ),
        (
            "roc_auc",
            "a.csv",
            "score,label\n0.1,1\n0.2,1\n",
            "roc_auc: every item is of class \"the class looked for\"; at least two classes must occur",
        ),
        (
            "roc_auc",
            "a.jsonl",
            "{\"score\": [1, 2], \"label\": 1}\n{\"score\": [1], \"label\": 1}",
            "a.jsonl, line 2: field \"score\" has 1 elements, but that of line 1 has 2",
        ),
        (
            "log_loss",
            "a.jsonl",
            "{\"score\": [0.5, 0.2, 0.3], \"label\": 1}",
            "classes is 1 (1), but must be as many as each row has scores, named in their order",
        ),
        (
            "entity_f1",
            "a.csv",
            "prediction,tags\nO X-LOC,O O\n",
            "a.csv, line 2: field \"prediction\" is \"X-LOC\" at token 1, but must be tags that begin with a prefix of their scheme, as in B-PER",
        ),
        (
            "entity_f1",
            "a.csv",
            "prediction,tags\nO,O O\n",
            "a.csv, line 2: field \"prediction\" has 1 elements, but field \"tags\" has 2",
        ),
        (
            "entity_f1",
            "a.csv",
            "prediction,tags,tokens\nO,O,a b\n",
            "a.csv, line 2: field \"tags\" has 1 elements, but field \"tokens\" has 2",
        ),
        (
            "numeric_match",
            "a.csv",
            "prediction,reference\n1,one\n",
            "a.csv, line 2: field \"reference\" is [\"one\"], but must be a text with a number in it",
        ),
        (
            "frechet",
            "a.jsonl",
            "{\"prediction\": [1, 2]}\n{\"reference\": [1]}",
            "a.jsonl, line 2: field \"reference\" has 1 elements, but that of line 1 has 2",
        ),
        ("frechet", "a.jsonl", "{\"other\": 1}", "a.jsonl, line 1: field \"prediction\" is missing"),
        ("nonsense", "a.csv", "a\n", "there is no metric \"nonsense\"; there are bleu, chrf"),
    ] {
        let error = refused(metric, name, text);
        assert!(error.starts_with(expected), "{error}");
    }
    let path = files.0.path().join("b.jsonl");
    fs::write(&path, b"{\"prediction\": \"\xff\"}").unwrap();
    let error = compute("bleu", &path, &Options::default()).unwrap_err().to_string();
    assert!(error.ends_with("is not UTF-8 text (byte 16); convert it first"), "{error}");
    let error = compute("bleu", &files.0.path().join("none.csv"), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("none.csv"), "{error}");
}

#[test]
fn a_mark_of_byte_order_is_no_part_of_a_field() {
    let files = Files::new();
    let csv = files.with("a.csv", "\u{feff}prediction,label\r\na,a\r\n");
    let json = files.with("a.jsonl", "\u{feff}{\"prediction\": \"a\", \"label\": \"a\"}\r\n");
    assert_eq!((value("accuracy", &csv), value("accuracy", &json)), (1.0, 1.0));
}

fn pairs(count: usize) -> Vec<OutputPair> {
    let pair = |i: usize| OutputPair {
        item: format!("item {i}"),
        prompt: format!("Question, \"{i}\"\nplease"),
        outputs: [format!("left {i}"), format!("right {i}")],
    };
    (0..count).map(pair).collect()
}

#[test]
fn sheets_are_blind_and_a_seed_decides_them() {
    let files = Files::new();
    let write = |name: &str, seed| {
        let (sheet, key) =
            (files.0.path().join(format!("{name}.csv")), files.0.path().join(format!("{name}.key.csv")));
        write_rating_sheet(&sheet, &key, ["dense", "sparse"], &pairs(20), seed).unwrap();
        (fs::read_to_string(sheet).unwrap(), fs::read_to_string(key).unwrap())
    };
    let (sheet, key) = write("a", 1);
    assert_eq!((sheet.clone(), key.clone()), write("b", 1));
    assert_ne!(sheet, write("c", 2).0);
    assert!(!sheet.contains("dense") && !sheet.contains("sparse") && !sheet.contains("item"));
    assert_eq!(sheet.lines().next().unwrap(), format!("pair,side,prompt,output,{}", CRITERIA.join(",")));
    let first =
        |system: &str| key.lines().filter(|line| line.contains(",1,") && line.ends_with(system)).count();
    // Sides are dealt, not fixed.
    assert!(first("dense") > 0 && first("sparse") > 0);

    let path = files.0.path().join("x.csv");
    let refused =
        |systems, pairs: &[OutputPair]| write_rating_sheet(&path, &path, systems, pairs, 0).unwrap_err();
    assert!(matches!(refused(["a", "b"], &[]), RatingError::NoPairs));
    assert!(matches!(refused(["a", "a"], &pairs(1)), RatingError::SameSystem { .. }));
    let twice = [pairs(1), pairs(1)].concat();
    assert!(matches!(refused(["a", "b"], &twice), RatingError::ItemTwice { .. }));
}

/// Fills in a sheet: a rater gives `left` outputs and `right` ones what `rate` says of them.
fn fill(path: &std::path::Path, rate: impl Fn(&str) -> String) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut writer = csv::Writer::from_path(path).unwrap();
    writer.write_record(&header).unwrap();
    for row in rows {
        let rating = rate(&row[3]);
        let cells = row.iter().take(4).chain(std::iter::repeat_n(rating.as_str(), 4));
        writer.write_record(cells).unwrap();
    }
    writer.flush().unwrap();
}

#[test]
fn ratings_come_back_to_their_systems() {
    let files = Files::new();
    let mut ratings = Ratings::default();
    for (rater, seed, bonus) in [("Ada", 1, 0), ("Bob", 2, 1)] {
        let (sheet, key) =
            (files.0.path().join(format!("{rater}.csv")), files.0.path().join(format!("{rater}.key.csv")));
        write_rating_sheet(&sheet, &key, ["dense", "sparse"], &pairs(12), seed).unwrap();
        fill(&sheet, |output| {
            let number: usize = output.rsplit(' ').next().unwrap().parse().unwrap();
            match output.starts_with("left") {
                true => (4 + number % 2).to_string(),
                false if number == 0 && bonus == 1 => String::new(),
                false => (1 + number % 2 + bonus).to_string(),
            }
        });
        ratings.read(rater, &sheet, &key).unwrap();
        // The same rater cannot rate again.
        assert!(matches!(ratings.read(rater, &sheet, &key), Err(RatingError::Twice { .. })));
    }
    let summary = ratings.summary(&BootstrapConfig::default()).unwrap();
    assert_eq!((summary.raters.len(), summary.items, summary.missing), (2, 12, 4));
    let [dense, sparse] = summary.systems.as_slice() else { panic!("two systems") };
    assert_eq!((dense.system.as_str(), dense.criteria[0].mean.mean), ("dense", 4.5));
    // Item 0 has Ada's 1 alone, the other even ones 1 and 2, odd ones 2 and 3.
    assert!((sparse.criteria[0].mean.mean - (1.0 + 5.0 * 1.5 + 6.0 * 2.5) / 12.0).abs() < 1e-12);
    assert_eq!((dense.criteria[0].ratings, sparse.criteria[0].ratings), (24, 23));
    let difference = &summary.differences[0];
    assert_eq!((difference.baseline.as_str(), difference.items), ("dense", 12));
    assert!(difference.difference.high < 0.0);
    let agreement = &summary.agreement[0];
    assert_eq!(agreement.outputs, 23);
    assert!(agreement.kappa_quadratic.unwrap() > 0.8 && agreement.alpha_ordinal.unwrap() > 0.8);
    serde_json::to_string(&summary).unwrap();
}

#[test]
fn bad_ratings_are_named() {
    let files = Files::new();
    let key = files.with("key.csv", "pair,side,item,system\n1,1,a,x\n1,2,a,y\n");
    let head = "pair,side,prompt,output,accuracy,fluency,relevance,consistency\n";
    let read = |rows: &str| {
        let sheet = files.with("sheet.csv", &format!("{head}{rows}"));
        let mut ratings = Ratings::default();
        let read = ratings.read("Ada", &sheet, &key);
        read.inspect_err(|_| assert!(ratings.all().is_empty()))
    };
    read("1,1,p,o,1,2,3,5\n").unwrap();
    for value in ["0", "6", "2.5", "good", "-1"] {
        let error = read(&format!("1,1,p,o,1,2,3,4\n1,2,p,o,1,{value},3,4\n")).unwrap_err();
        assert!(matches!(&error, RatingError::Value { line: 3, column: "fluency", .. }), "{error}");
    }
    assert!(matches!(read("2,1,p,o,1,2,3,4\n"), Err(RatingError::NotInKey { line: 2, .. })));
    assert!(matches!(read("1,1,p,o,1,2,3,4\n1,1,p,o,1,2,3,4\n"), Err(RatingError::Twice { line: 3, .. })));
    let sheet = files.with("other.csv", "pair,side,accuracy\n1,1,3\n");
    let error = Ratings::default().read("Ada", &sheet, &key).unwrap_err().to_string();
    assert!(error.contains("column \"fluency\" is missing"), "{error}");
    assert!(matches!(
        Ratings::default().summary(&BootstrapConfig::default()),
        Err(MetricError::Rating(RatingError::NoRatings))
    ));
}
