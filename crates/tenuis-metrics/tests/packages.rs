//! Random and adversarial inputs, and what published packages say of them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use serde_json::Value;
use std::sync::LazyLock;
use tenuis_metrics::{
    Average, BleuConfig, BleuTokenizer, BootstrapConfig, BootstrapMethod, ChrfConfig, ClassScores, Confusion,
    EntityConfig, KappaWeights, Level, MetricError, MultiClass, RougeConfig, RougeKind, Smoothing, Spread,
    Statistic, TagScheme, TerConfig, average_precision, bootstrap, brier, kendall, krippendorff_alpha,
    log_loss, pearson, regression, roc_auc, roc_auc_multiclass, spearman, top_k_accuracy, weighted_kappa,
};

/// Sums in another order differ by this much; the numbers themselves are exact.
const TOLERANCE: f64 = 1e-9;

/// What chance leaves between two bootstraps, in standard errors of the statistic: the quantile of 20,000 resamples has a standard
/// error of about 0.015 of these.
const BOOTSTRAP_TOLERANCE: f64 = 0.06;

static DATA: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/packages.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|v| v.as_str().unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
        "{what}: {found} is not {expected}"
    );
}

fn tokenizer(name: &str) -> BleuTokenizer {
    serde_json::from_value(name.into()).unwrap()
}

#[test]
fn tokenizers() {
    let mt = &DATA["mt"];
    for (name, expected) in mt["tokens"].as_object().unwrap() {
        for (text, expected) in texts(&mt["hypotheses"]).iter().zip(list(expected)) {
            assert_eq!(tokenizer(name).tokenize(text), texts(expected), "{name}: {text:?}");
        }
    }
}

#[test]
fn translations() {
    let mt = &DATA["mt"];
    let hypotheses = texts(&mt["hypotheses"]);
    let all: Vec<Vec<&str>> = list(&mt["references"]).iter().map(texts).collect();
    for case in list(&mt["corpus"]) {
        let count = case["nref"].as_u64().unwrap() as usize;
        let references: Vec<&[&str]> = all.iter().map(|references| &references[..count]).collect();
        let options = case["kw"].as_object().cloned().unwrap_or_default();
        let score = match case["metric"].as_str().unwrap() {
            "bleu" => {
                let mut config = BleuConfig::default();
                config.tokenizer = tokenizer(case["tok"].as_str().unwrap());
                config.lowercase = case["lc"].as_bool().unwrap();
                let theirs = case["signature"].as_str().unwrap().rsplit_once('|').unwrap().0;
                assert!(config.signature(Some(count)).starts_with(theirs));
                config.corpus(&hypotheses, &references).unwrap().score
            }
            "chrf" => {
                let config: ChrfConfig = serde_json::from_value(options.into()).unwrap();
                config.corpus(&hypotheses, &references).unwrap()
            }
            _ => {
                let config: TerConfig = serde_json::from_value(options.into()).unwrap();
                config.corpus(&hypotheses, &references).unwrap()
            }
        };
        close(score, &case["score"], &case.to_string());
    }
    for case in list(&mt["sentence"]) {
        for ((hypothesis, references), expected) in hypotheses.iter().zip(&all).zip(list(&case["scores"])) {
            let score = match case["metric"].as_str().unwrap() {
                "ter" => TerConfig::default().corpus(&[hypothesis], &[references]).unwrap(),
                "chrf" => ChrfConfig::default().corpus(&[hypothesis], &[references]).unwrap(),
                "chrf++" => ChrfConfig::plus_plus().corpus(&[hypothesis], &[references]).unwrap(),
                _ => {
                    let mut config = BleuConfig::default();
                    config.effective_order = case["eff"].as_bool().unwrap();
                    let value = case["value"].as_f64();
                    config.smoothing = match case["smooth"].as_str().unwrap() {
                        "exp" => Smoothing::Exp,
                        "floor" => Smoothing::Floor(value.unwrap_or(0.1)),
                        "add-k" => Smoothing::AddK(value.unwrap_or(1.0)),
                        _ => Smoothing::None,
                    };
                    config.corpus(&[hypothesis], &[references]).unwrap().score
                }
            };
            let what = format!("{} {} {hypothesis:?}", case["metric"], case["smooth"]);
            close(score, expected, &what);
        }
    }
}

fn kind(name: &str) -> RougeKind {
    match name {
        "rougeL" => RougeKind::L,
        "rougeLsum" => RougeKind::Lsum,
        _ => RougeKind::N(name[5..].parse().unwrap()),
    }
}

#[test]
fn summaries() {
    for case in list(&DATA["rouge"]) {
        let mut config = RougeConfig::default();
        config.stemmer = case["stemmer"].as_bool().unwrap();
        for (name, expected) in case["scores"].as_object().unwrap() {
            let (prediction, target) =
                (case["prediction"].as_str().unwrap(), case["target"].as_str().unwrap());
            let score = config.score(kind(name), prediction, target);
            for (found, expected) in [score.precision, score.recall, score.f1].into_iter().zip(list(expected))
            {
                close(found, expected, &format!("{name} {prediction:?} {target:?}"));
            }
        }
    }
    for case in list(&DATA["rouge_multi"]) {
        for (name, expected) in case["scores"].as_object().unwrap() {
            let prediction = case["prediction"].as_str().unwrap();
            let score =
                RougeConfig::default().best(kind(name), prediction, &texts(&case["targets"])).unwrap();
            for (found, expected) in [score.precision, score.recall, score.f1].into_iter().zip(list(expected))
            {
                close(found, expected, name);
            }
        }
    }
}

#[test]
fn classes() {
    for case in list(&DATA["classification"]) {
        let confusion = Confusion::of(&texts(&case["y"]), &texts(&case["p"])).unwrap();
        close(confusion.accuracy(), &case["accuracy"], "accuracy");
        close(confusion.matthews(), &case["mcc"], "mcc");
        close(confusion.balanced_accuracy(), &case["balanced"], "balanced");
        match confusion.kappa() {
            Ok(kappa) => close(kappa, &case["kappa"], "kappa"),
            Err(error) => {
                assert!(matches!(error, MetricError::Undefined { metric: "cohen_kappa", .. }));
                assert!(case["kappa"].is_null());
            }
        }
        for (name, average) in
            [("micro", Average::Micro), ("macro", Average::Macro), ("weighted", Average::Weighted)]
        {
            let scores = confusion.average(average);
            close(scores.precision, &case[name][0], name);
            close(scores.recall, &case[name][1], name);
            close(scores.f1, &case[name][2], name);
        }
    }
}

#[test]
fn rankings() {
    for case in list(&DATA["auc"]) {
        let labels: Vec<bool> = numbers(&case["y"]).iter().map(|y| *y == 1.0).collect();
        let scores = numbers(&case["s"]);
        close(roc_auc(&labels, &scores).unwrap(), &case["auc"], "auc");
        close(average_precision(&labels, &scores).unwrap(), &case["ap"], "ap");
        close(brier(&labels, &scores).unwrap(), &case["brier"], "brier");
        let names: Vec<&str> = labels.iter().map(|&label| if label { "1" } else { "0" }).collect();
        let both = scores.iter().flat_map(|p| [1.0 - p, *p]).collect();
        let both = ClassScores::new(vec!["0".into(), "1".into()], &names, both).unwrap();
        close(log_loss(&both).unwrap(), &case["log_loss"], "log loss");
    }
    for case in list(&DATA["multiclass"]) {
        let scores = list(&case["P"]).iter().flat_map(numbers).collect();
        let names = (0..4).map(|class| class.to_string()).collect();
        let scores = ClassScores::new(names, &texts(&case["y"]), scores).unwrap();
        let area = |how| roc_auc_multiclass(&scores, how).unwrap();
        close(area(MultiClass::OneVsRest), &case["ovr"], "one versus rest");
        close(area(MultiClass::OneVsRestWeighted), &case["ovrw"], "weighted");
        close(area(MultiClass::OneVsOne), &case["ovo"], "one versus one");
        close(log_loss(&scores).unwrap(), &case["log_loss"], "log loss");
        close(top_k_accuracy(&scores, 2).unwrap(), &case["top2"], "top 2");
    }
}

#[test]
fn numbers_and_correlations() {
    for case in list(&DATA["numbers"]) {
        let (x, y) = (numbers(&case["x"]), numbers(&case["y"]));
        close(pearson(&x, &y).unwrap(), &case["pearson"], "pearson");
        close(spearman(&x, &y).unwrap(), &case["spearman"], "spearman");
        close(kendall(&x, &y).unwrap(), &case["kendall"], "kendall");
        let errors = regression(&x, &y).unwrap();
        close(errors.mse, &case["mse"], "mse");
        close(errors.mae, &case["mae"], "mae");
        close(errors.r2.unwrap(), &case["r2"], "r2");
    }
}

#[test]
fn entities() {
    for case in list(&DATA["entities"]) {
        let sentences = |key: &str| list(&case[key]).iter().map(texts).collect::<Vec<_>>();
        let (truth, found) = (sentences("t"), sentences("p"));
        let scheme: TagScheme = serde_json::from_value(case["scheme"].clone()).unwrap();
        for (mode, strict) in [("strict", Some(scheme)), ("lenient", None)] {
            let mut config = EntityConfig::default();
            config.strict = strict;
            let report = config.report(&truth, &found).unwrap();
            for (name, average) in
                [("micro", Average::Micro), ("macro", Average::Macro), ("weighted", Average::Weighted)]
            {
                // Without any entity the packages have no mean.
                let expected = &case[format!("{mode}_{name}")];
                if expected.is_null() {
                    assert!(report.counts().is_empty());
                    continue;
                }
                let scores = report.average(average);
                let what = format!("{scheme:?} {mode} {name}");
                close(scores.precision, &expected[0], &what);
                close(scores.recall, &expected[1], &what);
                close(scores.f1, &expected[2], &what);
            }
            if let (None, Some(table)) = (strict, case["table"].as_str()) {
                assert_eq!(report.to_string().trim_end(), table.trim_end());
            }
        }
    }
}

#[test]
fn agreement() {
    for case in list(&DATA["alpha"]) {
        let units: Vec<Vec<f64>> = list(&case["units"]).iter().map(numbers).collect();
        for (name, level) in
            [("nominal", Level::Nominal), ("ordinal", Level::Ordinal), ("interval", Level::Interval)]
        {
            close(krippendorff_alpha(&units, level).unwrap(), &case[name], name);
        }
    }
    for case in list(&DATA["kappa"]) {
        let ratings = |key: &str| numbers(&case[key]).iter().map(|&v| v as i64).collect::<Vec<_>>();
        for (name, weights) in [
            ("equal", KappaWeights::Equal),
            ("linear", KappaWeights::Linear),
            ("quadratic", KappaWeights::Quadratic),
        ] {
            close(weighted_kappa(&ratings("a"), &ratings("b"), weights).unwrap(), &case[name], name);
        }
    }
}

#[test]
fn intervals() {
    for case in list(&DATA["bootstrap"]) {
        let values = numbers(&case["x"]);
        let (low, high) = (case["low"].as_f64().unwrap(), case["high"].as_f64().unwrap());
        if case["method"] == "t" {
            let spread = Spread::of(&values, 0.9).unwrap();
            close(spread.low.unwrap(), &case["low"], "t");
            close(spread.high.unwrap(), &case["high"], "t");
            close(spread.sd.unwrap(), &case["se"], "sd");
            continue;
        }
        let mut config = BootstrapConfig::default();
        config.resamples = 20_000;
        config.confidence = 0.9;
        if case["method"] == "bca" {
            config.method = BootstrapMethod::Bca;
        }
        let interval = bootstrap(&Statistic::mean(values), &config).unwrap();
        let error = case["se"].as_f64().unwrap();
        for (found, expected) in
            [(interval.low, low), (interval.high, high), (interval.standard_error, error)]
        {
            assert!((found - expected).abs() < BOOTSTRAP_TOLERANCE * error, "{found} is not {expected}");
        }
    }
}
