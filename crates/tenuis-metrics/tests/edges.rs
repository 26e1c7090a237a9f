//! Nothing gives a NaN or panics, and every refusal has a name.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use proptest::prelude::*;
use tenuis_metrics::{
    Average, BleuConfig, BleuTokenizer, BootstrapConfig, BootstrapMethod, ChrfConfig, ClassScores, Confusion,
    Criteria, Direction, EntityConfig, FeatureStats, Level, METRICS, MetricError, MultiClass, NumericResult,
    RougeConfig, RougeKind, Spread, Statistic, TagScheme, TerConfig, Weights, average_precision, bootstrap,
    brier, compression_fraction, compression_ratio, distinct, efficiency, exact_match, frechet_distance,
    kendall, krippendorff_alpha, mean_repetition, metric, numeric_match, paired_bootstrap, pearson,
    regression, retention, roc_auc, roc_auc_multiclass, self_bleu, spearman, speed_up, squad_f1,
    token_accuracy, top_k_accuracy, weighted_kappa,
};

const NO_TEXTS: [&str; 0] = [];
const NO_LISTS: [Vec<&str>; 0] = [];

/// Asserts that a result is an error of a kind.
macro_rules! refused {
    ($result:expr, $kind:pat) => {{
        let error = $result.expect_err("must be refused");
        assert!(matches!(error, $kind), "{error:?}");
        assert!(!error.to_string().is_empty());
    }};
}

#[test]
fn nothing_to_score_is_an_error() {
    use MetricError::Empty;
    refused!(BleuConfig::default().corpus(&NO_TEXTS, &NO_LISTS), Empty { metric: "bleu" });
    refused!(ChrfConfig::default().corpus(&NO_TEXTS, &NO_LISTS), Empty { metric: "chrf" });
    refused!(TerConfig::default().corpus(&NO_TEXTS, &NO_LISTS), Empty { metric: "ter" });
    refused!(RougeConfig::default().corpus(RougeKind::L, &NO_TEXTS, &NO_LISTS), Empty { metric: "rougeL" });
    refused!(Confusion::of(&NO_TEXTS, &NO_TEXTS), Empty { .. });
    refused!(roc_auc(&[], &[]), Empty { metric: "roc_auc" });
    refused!(average_precision(&[], &[]), Empty { .. });
    refused!(brier(&[], &[]), Empty { .. });
    refused!(ClassScores::new(vec!["a".into(), "b".into()], &NO_TEXTS, vec![]), Empty { .. });
    refused!(pearson(&[], &[]), Empty { metric: "pearson" });
    refused!(spearman(&[], &[]), Empty { metric: "spearman" });
    refused!(kendall(&[], &[]), Empty { metric: "kendall" });
    refused!(regression(&[], &[]), Empty { .. });
    refused!(EntityConfig::default().report(&NO_LISTS, &NO_LISTS), Empty { .. });
    refused!(token_accuracy(&[NO_TEXTS], &[NO_TEXTS]), Empty { .. });
    refused!(distinct(&["one"], 2), Empty { .. });
    refused!(mean_repetition(&["one", ""], 2), Empty { .. });
    refused!(krippendorff_alpha(&[vec![1.0], vec![]], Level::Ordinal), Empty { .. });
    refused!(weighted_kappa(&[], &[], tenuis_metrics::KappaWeights::Linear), Empty { .. });
    refused!(bootstrap(&Statistic::mean(vec![]), &BootstrapConfig::default()), Empty { .. });
    refused!(Spread::of(&[], 0.95), Empty { .. });
}

#[test]
fn what_is_not_defined_is_an_error() {
    use MetricError::{
        Config, Features, Length, NoReference, NotFinite, OneClass, Probability, Rows, Undefined,
        UnknownClass,
    };
    refused!(roc_auc(&[true, true], &[0.1, 0.2]), OneClass { .. });
    refused!(roc_auc(&[true], &[0.1, 0.2]), Length { .. });
    refused!(roc_auc(&[true, false], &[0.1, f64::NAN]), NotFinite { item: 1, .. });
    refused!(brier(&[true], &[1.5]), Probability { .. });
    refused!(pearson(&[1.0, 1.0], &[1.0, 2.0]), Undefined { .. });
    // Sums of 0.1 are not exact; still they are all equal.
    refused!(pearson(&[0.1; 3], &[1.0, 2.0, 3.0]), Undefined { .. });
    refused!(kendall(&[1.0, 1.0], &[1.0, 2.0]), Undefined { .. });
    assert_eq!(regression(&[1.0, 1.0], &[1.0, 2.0]).unwrap().r2, None);
    refused!(Confusion::of(&["a"], &["a"]).unwrap().kappa(), Undefined { .. });
    refused!(Confusion::of(&["a"], &["a"]).unwrap().of_class("b"), UnknownClass { .. });
    let scores = |labels: &[&str], scores| ClassScores::new(vec!["a".into(), "b".into()], labels, scores);
    refused!(scores(&["c"], vec![0.5, 0.5]), UnknownClass { item: 0, .. });
    refused!(scores(&["a"], vec![0.5]), Features { .. });
    let one = scores(&["a", "a"], vec![0.5; 4]).unwrap();
    refused!(roc_auc_multiclass(&one, MultiClass::OneVsRest), Undefined { .. });
    refused!(tenuis_metrics::log_loss(&scores(&["a"], vec![0.5, 0.1]).unwrap()), Probability { item: 0, .. });
    refused!(top_k_accuracy(&one, 0), Config { .. });
    refused!(exact_match("a", &NO_TEXTS, tenuis_metrics::Normalization::default()), NoReference { .. });
    refused!(squad_f1("a", &NO_TEXTS), NoReference { .. });
    refused!(numeric_match("1", &["one"], NumericResult::Last), NoReference { .. });
    refused!(BleuConfig::default().corpus(&["a", "b"], &[vec!["a"], vec![]]), NoReference { item: 1, .. });
    refused!(self_bleu(&["a"], &BleuConfig::default()), Rows { .. });
    refused!(krippendorff_alpha(&[vec![2.0, 2.0]], Level::Interval), Undefined { .. });
    refused!(retention(Direction::LowerIsBetter, 1.0, 0.0), Undefined { .. });
    refused!(retention(Direction::HigherIsBetter, 0.0, 1.0), Undefined { .. });
    refused!(retention(Direction::HigherIsBetter, -0.5, 1.0), Undefined { .. });
    refused!(speed_up(1.0, f64::INFINITY), Undefined { .. });
    refused!(metric("beauty"), MetricError::UnknownMetric { .. });

    let mut features = FeatureStats::new(2).unwrap();
    refused!(features.update(&[1.0]), Features { .. });
    refused!(features.update(&[1.0, f64::NAN]), NotFinite { .. });
    features.update(&[1.0, 2.0]).unwrap();
    refused!(frechet_distance(&features, &features), Rows { rows: 1, .. });
    refused!(frechet_distance(&features, &FeatureStats::new(3).unwrap()), Features { .. });
    refused!(FeatureStats::new(0), Config { .. });

    let mut strict = EntityConfig::default();
    strict.strict = Some(TagScheme::Iob2);
    refused!(strict.entities(&["O", "E-PER"], 4), MetricError::Tag { sentence: 4, token: 1, .. });
    refused!(strict.entities(&[""], 0), MetricError::Tag { .. });
    refused!(EntityConfig::default().entities(&["X-PER"], 0), MetricError::Tag { .. });
    refused!(strict.report(&[vec!["O"]], &[vec!["O", "O"]]), MetricError::TagCount { .. });

    let criteria =
        Criteria { accuracy: (1.0, Direction::HigherIsBetter), latency: 1.0, size: 1.0, memory: 1.0 };
    let weights = Weights { accuracy: 0.0, latency: 0.0, size: 0.0, memory: 0.0 };
    refused!(weights.score(&criteria, &criteria), Config { .. });
    let free = Criteria { latency: 0.0, ..criteria };
    refused!(Weights::default().score(&criteria, &free), Undefined { .. });
    // A criterion without weight need not be measured.
    let without = Weights { latency: 0.0, ..Weights::default() };
    assert!((without.score(&criteria, &free).unwrap() - 0.5).abs() < 1e-12);

    let constant = Statistic::new(3, |_| None);
    refused!(bootstrap(&constant, &BootstrapConfig::default()), Undefined { .. });
    let (two, three) = (Statistic::mean(vec![0.0; 2]), Statistic::mean(vec![0.0; 3]));
    refused!(paired_bootstrap(&two, &three, &BootstrapConfig::default()), Length { .. });
}

#[test]
fn the_ways_of_a_ratio() {
    assert_eq!(compression_ratio(8.0, 2.0).unwrap(), 4.0);
    assert_eq!(compression_fraction(8.0, 2.0).unwrap(), 0.25);
    assert_eq!(speed_up(8.0, 2.0).unwrap(), 4.0);
    assert_eq!(retention(Direction::HigherIsBetter, 8.0, 2.0).unwrap(), 25.0);
    assert_eq!(retention(Direction::LowerIsBetter, 8.0, 2.0).unwrap(), 400.0);
    assert_eq!(retention(Direction::HigherIsBetter, 8.0, 0.0).unwrap(), 0.0);
    assert_eq!(efficiency(100.0, 1.0).unwrap(), 100.0);
}

#[test]
fn a_seed_decides_the_draws() {
    let values: Vec<f64> = (0..30).map(|i| f64::from(i * i % 7)).collect();
    for method in [BootstrapMethod::Percentile, BootstrapMethod::Bca] {
        let draw = |seed| {
            let mut config = BootstrapConfig::default();
            (config.seed, config.method) = (seed, method);
            bootstrap(&Statistic::mean(values.clone()), &config).unwrap()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1).low, draw(2).low);
    }
}

#[test]
fn pairs_are_known_better_than_their_difference() {
    let baseline: Vec<f64> = (0..50).map(|i| f64::from(i % 10)).collect();
    let candidate: Vec<f64> = baseline.iter().map(|v| v + 0.5).collect();
    let config = BootstrapConfig::default();
    let alone = bootstrap(&Statistic::mean(candidate.clone()), &config).unwrap();
    let paired = paired_bootstrap(&Statistic::mean(baseline), &Statistic::mean(candidate), &config).unwrap();
    assert!(alone.high - alone.low > 1.0);
    assert!((paired.high - paired.low).abs() < 1e-9 && (paired.value - 0.5).abs() < 1e-12);
    // All resamples are equal: the corrections have nothing to work on, and change nothing.
    let mut bca = BootstrapConfig::default();
    bca.method = BootstrapMethod::Bca;
    let constant = bootstrap(&Statistic::mean(vec![2.0; 5]), &bca).unwrap();
    assert_eq!((constant.low, constant.high, constant.standard_error), (2.0, 2.0, 0.0));
}

/// Texts with what breaks tokenizers in them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ .,'\"&<>a-c0-2\\-\n\t]{0,24}",
        "[a-b ]{0,40}",
        "\\PC{0,12}",
        "[你好。！ a1.]{0,16}",
    ]
}

fn tag() -> impl Strategy<Value = String> {
    prop_oneof![Just("O".to_owned()), "[BIES]-(PER|LOC|-)", "[BIES]"]
}

fn within(name: &str, value: f64) {
    let info = metric(name).unwrap();
    // Rounding may pass an end by the last digit.
    let near = |end: f64| (value - end).abs() < 1e-9;
    let range = info.range;
    assert!(
        range.contains(value) || range.min.is_some_and(near) || range.max.is_some_and(near),
        "{name} is {value}"
    );
}

proptest! {
    #[test]
    fn scores_of_texts_lie_in_their_range(hypothesis in text(), a in text(), b in text()) {
        let references = [a.as_str(), &b];
        for tokenizer in ["13a", "intl", "zh", "char", "none"] {
            let mut config = BleuConfig::default();
            config.tokenizer = serde_json::from_value(tokenizer.into()).unwrap();
            within("bleu", config.corpus(&[&hypothesis], &[references]).unwrap().score);
            within("bleu", config.sentence(&hypothesis, &references).unwrap().score);
        }
        within("chrf", ChrfConfig::default().corpus(&[&hypothesis], &[references]).unwrap());
        within("chrf++", ChrfConfig::plus_plus().corpus(&[&hypothesis], &[references]).unwrap());
        within("ter", TerConfig::default().corpus(&[&hypothesis], &[references]).unwrap());
        for kind in [RougeKind::N(1), RougeKind::N(2), RougeKind::N(0), RougeKind::L, RougeKind::Lsum] {
            for stemmer in [false, true] {
                let mut config = RougeConfig::default();
                config.stemmer = stemmer;
                let score = config.best(kind, &hypothesis, &references).unwrap();
                for value in [score.precision, score.recall, score.f1] {
                    within("rouge1", value);
                }
            }
        }
        within("squad_f1", squad_f1(&hypothesis, &references).unwrap());
        NumericResult::MarkedOrLast.find(&hypothesis);
        let texts = [hypothesis.as_str(), &a, &b];
        within("self_bleu", self_bleu(&texts, &BleuConfig::default()).unwrap());
        for n in 1..4 {
            if let Ok(share) = distinct(&texts, n) {
                within("distinct", share);
            }
            if let Ok(share) = mean_repetition(&texts, n) {
                within("repetition", share);
            }
        }
    }

    #[test]
    fn a_text_is_its_own_best_translation(text in "[a-c]{1,3}( [a-c]{1,3}){3,9}") {
        let same = |score: f64| (score - 100.0).abs() < 1e-9;
        prop_assert!(same(BleuConfig::default().corpus(&[&text], &[[&text]]).unwrap().score));
        prop_assert!(same(ChrfConfig::plus_plus().corpus(&[&text], &[[&text]]).unwrap()));
        prop_assert_eq!(TerConfig::default().corpus(&[&text], &[[&text]]).unwrap(), 0.0);
        prop_assert_eq!(RougeConfig::default().score(RougeKind::Lsum, &text, &text).f1, 1.0);
    }

    /// Self-BLEU counts all others at once; it must be what counting each against the others gives.
    #[test]
    fn self_bleu_is_the_mean_against_the_others(texts in prop::collection::vec("[ab]( [ab]){0,6}", 2..6)) {
        let config = BleuConfig::default();
        let mut sum = 0.0;
        for (at, text) in texts.iter().enumerate() {
            let others: Vec<&String> =
                texts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, text)| text).collect();
            sum += config.sentence(text, &others).unwrap().score;
        }
        let found = self_bleu(&texts, &config).unwrap();
        prop_assert!((found - sum / texts.len() as f64).abs() < 1e-9);
    }

    #[test]
    fn tokens_have_no_spaces_and_lose_no_character(text in "[ .,'a-c0-2\\-你。]{0,24}") {
        for tokenizer in [BleuTokenizer::V13a, BleuTokenizer::Intl, BleuTokenizer::Zh, BleuTokenizer::Char, BleuTokenizer::None] {
            let tokens = tokenizer.tokenize(&text);
            prop_assert!(tokens.iter().all(|token| !token.is_empty()));
            prop_assert_eq!(tokens.concat(), text.replace(' ', ""));
        }
    }

    #[test]
    fn scores_of_classes_lie_in_their_range(pairs in prop::collection::vec((0u8..4, 0u8..4), 1..40)) {
        let name = |class: u8| class.to_string();
        let (labels, found): (Vec<_>, Vec<_>) = pairs.iter().map(|&(a, b)| (name(a), name(b))).unzip();
        let confusion = Confusion::of(&labels, &found).unwrap();
        within("accuracy", confusion.accuracy());
        within("balanced_accuracy", confusion.balanced_accuracy());
        within("mcc", confusion.matthews());
        for average in [Average::Micro, Average::Macro, Average::Weighted] {
            within("f1", confusion.average(average).f1);
        }
        if let Ok(kappa) = confusion.kappa() {
            within("cohen_kappa", kappa);
        }
    }

    /// The definition of the area: every pair of an item of the class and another.
    #[test]
    fn the_area_counts_pairs(items in prop::collection::vec((any::<bool>(), 0u8..6), 2..40)) {
        let (labels, scores): (Vec<bool>, Vec<f64>) = items.iter().map(|&(l, s)| (l, f64::from(s))).unzip();
        let of = |label: bool| items.iter().filter(move |item| item.0 == label).map(|item| item.1);
        let pairs = of(true).flat_map(|a| of(false).map(move |b| (a, b)));
        let won: f64 = pairs.clone().map(|(a, b)| match a.cmp(&b) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        }).sum();
        match roc_auc(&labels, &scores) {
            Ok(area) => prop_assert!((area - won / pairs.count() as f64).abs() < 1e-12),
            Err(error) => prop_assert!(matches!(error, MetricError::OneClass { .. }), "{error}"),
        }
    }

    #[test]
    fn entities_lie_in_their_sentence(tags in prop::collection::vec(tag(), 0..12)) {
        let mut iobes = EntityConfig::default();
        iobes.strict = Some(TagScheme::Iobes);
        for config in [EntityConfig::default(), iobes] {
            let entities = config.entities(&tags, 0).unwrap();
            for pair in entities.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            prop_assert!(entities.iter().all(|e| e.start < e.end && e.end <= tags.len()));
            let same = config.report(std::slice::from_ref(&tags), std::slice::from_ref(&tags));
            let same = same.unwrap().average(Average::Micro).f1;
            prop_assert_eq!(same, if entities.is_empty() { 0.0 } else { 1.0 });
        }
    }

    /// Covariances of any rank, constant features and copies of features among them.
    #[test]
    fn distances_are_finite_and_symmetric(
        a in prop::collection::vec(-3i8..4, 8..40), b in prop::collection::vec(-3i8..4, 8..40), scale in 0i32..6,
    ) {
        let stats = |values: &[i8]| {
            let mut stats = FeatureStats::new(4).unwrap();
            let scale = 10f64.powi(scale);
            for row in values.chunks_exact(2) {
                let (x, y) = (f64::from(row[0]) * scale, f64::from(row[1]));
                stats.update(&[x, y, x, 7.0]).unwrap();
            }
            stats
        };
        let (a, b) = (stats(&a), stats(&b));
        let (there, back) = (frechet_distance(&a, &b).unwrap(), frechet_distance(&b, &a).unwrap());
        let size: f64 = 1.0 + 100f64.powi(scale);
        prop_assert!(there.is_finite() && there >= 0.0);
        prop_assert!((there - back).abs() < 1e-7 * size, "{there} {back}");
        prop_assert!(frechet_distance(&a, &a).unwrap() < 1e-7 * size);
    }
}

#[test]
fn every_metric_says_what_it_is() {
    for info in METRICS {
        assert!(!info.about.is_empty() && !info.fields.is_empty(), "{}", info.name);
        assert!(info.range.min.is_some() || info.range.max.is_some(), "{}", info.name);
    }
}
