//! Every metric against numbers of published packages.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use serde_json::Value;
use tenuis_metrics::{
    Average, BleuConfig, BleuTokenizer, ChrfConfig, ClassScores, Confusion, EntityConfig, FeatureStats,
    MultiClass, RougeConfig, RougeKind, Smoothing, TagScheme, TerConfig, average_precision, brier,
    frechet_distance, kendall, log_loss, pearson, regression, roc_auc, roc_auc_multiclass, spearman,
    token_accuracy, top_k_accuracy,
};

/// Sums in another order differ by this much; the numbers themselves are exact.
const TOLERANCE: f64 = 1e-9;

/// The reference takes the root of a product of covariances, which loses half of the digits.
const ROOT_TOLERANCE: f64 = 1e-6;

/// The golden log loss of two classes was computed with probabilities clipped to at least 1e-6 from 0 and 1.
const CLIPPED: f64 = 1e-6;

fn data(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Classes that are stored as numbers.
fn classes(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
        "{what}: {found} is not {expected}"
    );
}

#[test]
fn translations() {
    let golden = data("metrics_mt");
    let hypotheses = texts(&golden["hypotheses"]);
    let all: Vec<Vec<String>> = golden["references"].as_array().unwrap().iter().map(texts).collect();
    for (count, name) in [(1, "one_ref"), (2, "two_refs")] {
        let references: Vec<Vec<&str>> =
            (0..hypotheses.len()).map(|i| all[..count].iter().map(|r| r[i].as_str()).collect()).collect();
        let expected = &golden["corpus"][name];
        for (key, tokenizer, lowercase) in [
            ("bleu_13a", BleuTokenizer::V13a, false),
            ("bleu_none", BleuTokenizer::None, false),
            ("bleu_intl", BleuTokenizer::Intl, false),
            ("bleu_char", BleuTokenizer::Char, false),
            ("bleu_zh", BleuTokenizer::Zh, false),
            ("bleu_13a_lc", BleuTokenizer::V13a, true),
        ] {
            let mut config = BleuConfig::default();
            config.tokenizer = tokenizer;
            config.lowercase = lowercase;
            let bleu = config.corpus(&hypotheses, &references).unwrap();
            let expected = &expected[key];
            close(bleu.score, &expected["score"], key);
            close(bleu.brevity_penalty, &expected["bp"], key);
            assert_eq!(bleu.counts.hypothesis_len, expected["sys_len"].as_u64().unwrap() as usize);
            assert_eq!(bleu.counts.reference_len, expected["ref_len"].as_u64().unwrap() as usize);
            for (n, precision) in bleu.precisions.iter().enumerate() {
                close(*precision, &expected["precisions"][n], key);
                assert_eq!(bleu.counts.matches[n] as u64, expected["counts"][n].as_u64().unwrap());
                assert_eq!(bleu.counts.totals[n] as u64, expected["totals"][n].as_u64().unwrap());
            }
            let signature = config.signature(Some(count));
            let theirs = expected["signature"].as_str().unwrap();
            assert_eq!(signature.rsplit_once('|').unwrap().0, theirs.rsplit_once('|').unwrap().0);
        }
        let mut lowercase = ChrfConfig::default();
        lowercase.lowercase = true;
        for (key, config) in
            [("chrf2", ChrfConfig::default()), ("chrf2++", ChrfConfig::plus_plus()), ("chrf_lc", lowercase)]
        {
            close(config.corpus(&hypotheses, &references).unwrap(), &expected[key]["score"], key);
            let theirs = expected[key]["signature"].as_str().unwrap();
            assert_eq!(
                config.signature(Some(count)).rsplit_once('|').unwrap().0,
                theirs.rsplit_once('|').unwrap().0
            );
        }
        let ter = TerConfig::default();
        close(ter.corpus(&hypotheses, &references).unwrap(), &expected["ter"]["score"], "ter");
        let theirs = expected["ter"]["signature"].as_str().unwrap();
        assert_eq!(
            ter.signature(Some(count)).rsplit_once('|').unwrap().0,
            theirs.rsplit_once('|').unwrap().0
        );

        for (key, smoothing) in [
            ("exp", Smoothing::Exp),
            ("floor", Smoothing::Floor(0.1)),
            ("add-k", Smoothing::AddK(1.0)),
            ("none", Smoothing::None),
        ] {
            let mut config = BleuConfig::default();
            config.smoothing = smoothing;
            for (item, hypothesis) in hypotheses.iter().enumerate() {
                let score = config.sentence(hypothesis, &references[item]).unwrap().score;
                close(score, &expected[format!("sentence_bleu_{key}")][item], key);
            }
        }
        for (key, config) in
            [("sentence_chrf", ChrfConfig::default()), ("sentence_chrf++", ChrfConfig::plus_plus())]
        {
            for (item, hypothesis) in hypotheses.iter().enumerate() {
                let score = config.corpus(&[hypothesis], &[&references[item]]).unwrap();
                close(score, &expected[key][item], key);
            }
        }
    }
    for (key, tokenizer) in [("tokenized_13a", BleuTokenizer::V13a), ("tokenized_intl", BleuTokenizer::Intl)]
    {
        let expected = texts(&golden[key]);
        for (text, expected) in hypotheses.iter().chain(&all[0]).zip(expected) {
            assert_eq!(tokenizer.tokenize(text).join(" "), expected);
        }
    }
}

#[test]
fn summaries() {
    for pair in data("metrics_rouge")["pairs"].as_array().unwrap() {
        let (prediction, target) = (pair["prediction"].as_str().unwrap(), pair["target"].as_str().unwrap());
        for (key, stemmer) in [("no_stemmer", false), ("stemmer", true)] {
            let mut config = RougeConfig::default();
            config.stemmer = stemmer;
            for (name, kind) in [
                ("rouge1", RougeKind::N(1)),
                ("rouge2", RougeKind::N(2)),
                ("rougeL", RougeKind::L),
                ("rougeLsum", RougeKind::Lsum),
            ] {
                let score = config.score(kind, prediction, target);
                let expected = &pair[key][name];
                close(score.precision, &expected["precision"], name);
                close(score.recall, &expected["recall"], name);
                close(score.f1, &expected["f1"], name);
            }
        }
    }
}

#[test]
fn two_classes() {
    let golden = &data("metrics_classification")["binary"];
    let labels: Vec<bool> = numbers(&golden["y_true"]).iter().map(|y| *y == 1.0).collect();
    let scores = numbers(&golden["score"]);
    close(roc_auc(&labels, &scores).unwrap(), &golden["roc_auc"], "auc");
    close(average_precision(&labels, &scores).unwrap(), &golden["average_precision"], "ap");
    close(brier(&labels, &scores).unwrap(), &golden["brier"], "brier");
    let names = |is: bool| if is { "1" } else { "0" };
    let truth: Vec<&str> = labels.iter().map(|&label| names(label)).collect();
    let found: Vec<&str> = scores.iter().map(|&score| names(score >= 0.5)).collect();
    let both = scores.iter().flat_map(|p| [1.0 - p, *p]).collect();
    let both = ClassScores::new(vec!["0".into(), "1".into()], &truth, both).unwrap();
    let expected = golden["log_loss"].as_f64().unwrap();
    assert!((log_loss(&both).unwrap() - expected).abs() < CLIPPED);
    let confusion = Confusion::of(&truth, &found).unwrap();
    let positive = confusion.of_class("1").unwrap().scores;
    close(positive.f1, &golden["f1"], "f1");
    close(positive.precision, &golden["precision"], "precision");
    close(positive.recall, &golden["recall"], "recall");
    close(confusion.accuracy(), &golden["accuracy"], "accuracy");
    close(confusion.matthews(), &golden["mcc"], "mcc");
}

#[test]
fn several_classes() {
    let golden = &data("metrics_classification")["multiclass"];
    let (truth, found) = (classes(&golden["y_true"]), classes(&golden["y_pred"]));
    let confusion = Confusion::of(&truth, &found).unwrap();
    for (name, average) in
        [("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)]
    {
        let scores = confusion.average(average);
        close(scores.f1, &golden[format!("f1_score_{name}")], name);
        close(scores.precision, &golden[format!("precision_score_{name}")], name);
        close(scores.recall, &golden[format!("recall_score_{name}")], name);
    }
    for (class, expected) in confusion.per_class().iter().zip(golden["f1_per_class"].as_array().unwrap()) {
        close(class.scores.f1, expected, &class.class);
    }
    assert_eq!(serde_json::to_value(confusion.counts()).unwrap(), golden["confusion"]);
    close(confusion.accuracy(), &golden["accuracy"], "accuracy");
    close(confusion.balanced_accuracy(), &golden["balanced_accuracy"], "balanced");
    close(confusion.kappa().unwrap(), &golden["cohen_kappa"], "kappa");
    close(confusion.matthews(), &golden["mcc"], "mcc");
    let scores = golden["prob"].as_array().unwrap().iter().flat_map(numbers).collect();
    let names = (0..5).map(|class| class.to_string()).collect();
    let scores = ClassScores::new(names, &truth, scores).unwrap();
    for (name, how) in [
        ("roc_auc_ovr_macro", MultiClass::OneVsRest),
        ("roc_auc_ovr_weighted", MultiClass::OneVsRestWeighted),
        ("roc_auc_ovo_macro", MultiClass::OneVsOne),
    ] {
        close(roc_auc_multiclass(&scores, how).unwrap(), &golden[name], name);
    }
    close(top_k_accuracy(&scores, 2).unwrap(), &golden["top2_accuracy"], "top 2");
    close(log_loss(&scores).unwrap(), &golden["log_loss"], "log loss");
}

#[test]
fn true_numbers() {
    let golden = &data("metrics_classification")["regression"];
    let (truth, found) = (numbers(&golden["y_true"]), numbers(&golden["y_pred"]));
    let errors = regression(&truth, &found).unwrap();
    close(errors.mse, &golden["mse"], "mse");
    close(errors.mae, &golden["mae"], "mae");
    close(errors.r2.unwrap(), &golden["r2"], "r2");
    close(pearson(&truth, &found).unwrap(), &golden["pearson"], "pearson");
    close(spearman(&truth, &found).unwrap(), &golden["spearman"], "spearman");
    close(kendall(&truth, &found).unwrap(), &golden["kendall_tau_b"], "kendall");
}

#[test]
fn entities() {
    let golden = data("metrics_seqeval");
    let sentences =
        |key: &str| golden[key].as_array().unwrap().iter().map(texts).collect::<Vec<Vec<String>>>();
    let (truth, found) = (sentences("y_true"), sentences("y_pred"));
    for (key, strict) in [("default_lenient", None), ("strict_IOB2", Some(TagScheme::Iob2))] {
        let mut config = EntityConfig::default();
        config.strict = strict;
        let report = config.report(&truth, &found).unwrap();
        let expected = &golden[key];
        for (name, average) in
            [("micro", Average::Micro), ("macro", Average::Macro), ("weighted", Average::Weighted)]
        {
            let scores = report.average(average);
            close(scores.precision, &expected[format!("{name}_precision")], name);
            close(scores.recall, &expected[format!("{name}_recall")], name);
            close(scores.f1, &expected[format!("{name}_f1")], name);
        }
        assert_eq!(report.per_class().len() + 3, expected["report"].as_object().unwrap().len());
        for class in report.per_class() {
            let expected = &expected["report"][&class.class];
            close(class.scores.precision, &expected["precision"], &class.class);
            close(class.scores.recall, &expected["recall"], &class.class);
            close(class.scores.f1, &expected["f1-score"], &class.class);
            assert_eq!(Some(class.support as f64), expected["support"].as_f64());
        }
    }
    close(token_accuracy(&truth, &found).unwrap(), &golden["token_accuracy"], "tokens");
}

#[test]
fn features() {
    let golden = data("metrics_frechet");
    let stats = |key: &str, batch: usize| {
        let rows: Vec<Vec<f64>> = golden[key].as_array().unwrap().iter().map(numbers).collect();
        let mut stats = FeatureStats::new(rows[0].len()).unwrap();
        rows.chunks(batch).for_each(|batch| stats.update(&batch.concat()).unwrap());
        stats
    };
    // Whatever the batches are.
    for batch in [1, 7, 1000] {
        let distance = |a, b| frechet_distance(&stats(a, batch), &stats(b, batch)).unwrap();
        let near = |found: f64, key: &str| {
            let expected = golden[key].as_f64().unwrap();
            assert!((found - expected).abs() < ROOT_TOLERANCE, "{key}: {found} is not {expected}");
        };
        near(distance("A", "B"), "frechet");
        near(distance("B", "A"), "frechet");
        near(distance("C", "D"), "frechet_singular_via_eigs");
        near(distance("A", "A"), "frechet_same");
        near(distance("C", "C"), "frechet_same");
    }
}
