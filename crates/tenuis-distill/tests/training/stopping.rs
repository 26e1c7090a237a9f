//! When a run ends, and runs that cannot begin.

use crate::support::{Log, SEQ, VOCAB, learn, nll, options, sequences, stream, texts, tiny};
use tenuis_distill::{Network, Objective, Schedule, Selection, Sequences, Texts, TrainError, Verdict, train};

/// The loss of the trainer and of f64 over the same logits.
const ROUNDING: f64 = 1e-5;

/// Texts of two languages, of which the second is validated on.
fn two_languages() -> Texts {
    Texts { train: sequences(4, SEQ, VOCAB, 1), valid: Some(sequences(4, SEQ, VOCAB, 77)) }
}

#[test]
fn early_stopping_returns_the_best_weights() {
    let mut options = options(100);
    (options.valid_every, options.patience, options.learning_rate) = (3, 2, 2e-2);
    let (mut network, texts) = (tiny(5), two_languages());
    let (outcome, log) = learn(&mut network, &texts, &options).unwrap();
    assert!(outcome.stopped_early && outcome.steps < 100);
    let best = log.valid.iter().min_by(|a, b| a.valid_loss.total_cmp(&b.valid_loss)).unwrap();
    let last = log.valid.last().unwrap();
    assert!(best.best && best.step < last.step && best.valid_loss < last.valid_loss);
    assert_eq!(outcome.valid, Some(*best));
    assert_eq!(last.step - best.step, 6, "two validations without a better one");
    let found = nll(&network, texts.valid.as_ref().unwrap());
    assert!((found - best.valid_nll).abs() < ROUNDING * found, "{found}, best {}", best.valid_nll);
}

#[test]
fn without_patience_the_last_weights_stay() {
    let mut options = options(30);
    (options.valid_every, options.learning_rate) = (7, 2e-2);
    let (mut network, texts) = (tiny(5), two_languages());
    let (outcome, log) = learn(&mut network, &texts, &options).unwrap();
    assert!(!outcome.stopped_early);
    let steps: Vec<usize> = log.valid.iter().map(|v| v.step).collect();
    assert_eq!(steps, [7, 14, 21, 28, 30]);
    let valid = outcome.valid.unwrap();
    assert_eq!(valid.step, 30);
    let found = nll(&network, texts.valid.as_ref().unwrap());
    assert!((found - valid.valid_nll).abs() < ROUNDING * found);
}

/// The best may be the last weights, which no regular validation has seen.
#[test]
fn the_end_is_validated_before_the_best_is_chosen() {
    let texts = Texts { valid: Some(texts(6).train), ..texts(6) };
    let mut options = options(25);
    (options.valid_every, options.patience) = (10, 5);
    let (outcome, log) = learn(&mut tiny(5), &texts, &options).unwrap();
    assert_eq!(log.valid.iter().map(|v| v.step).collect::<Vec<_>>(), [10, 20, 25]);
    assert_eq!(outcome.valid.unwrap().step, 25);
}

#[test]
fn the_schedule_and_the_batches_follow_the_options() {
    for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
        let mut options = options(12);
        (options.schedule, options.warmup, options.seed) = (schedule, 3, Some(4));
        let (first, log) = learn(&mut tiny(1), &texts(7), &options).unwrap();
        for (step, record) in log.steps.iter().enumerate() {
            assert_eq!(record.learning_rate, options.rate(step));
        }
        let (again, _) = learn(&mut tiny(1), &texts(7), &options).unwrap();
        assert_eq!(first.losses, again.losses, "the same seed");
        options.seed = Some(5);
        let (other, _) = learn(&mut tiny(1), &texts(7), &options).unwrap();
        assert_ne!(first.losses, other.losses, "another order");
    }
}

#[test]
fn the_curve_says_whether_to_go_on() {
    let mut options = options(120);
    options.learning_rate = 3e-3;
    let (outcome, _) = learn(&mut tiny(5), &texts(40), &options).unwrap();
    let curve = outcome.curve.unwrap();
    assert_eq!(curve.verdict, Verdict::StillLearning, "{}", curve.sentence());
    options.learning_rate = 1e-9;
    let (outcome, _) = learn(&mut tiny(5), &texts(40), &options).unwrap();
    assert_eq!(outcome.curve.unwrap().verdict, Verdict::Flat);
    assert!(learn(&mut tiny(5), &texts(4), &self::options(3)).unwrap().0.curve.is_none());
}

#[test]
fn gradients_are_clipped_by_their_global_norm() {
    // The second moment of the first step is the clipped gradient's square: with an epsilon above it, the update shows it.
    let moved = |clip_norm: f64| {
        let mut network = tiny(5);
        let before = crate::support::weights(&network);
        let mut options = options(1);
        (options.clip_norm, options.epsilon, options.learning_rate) = (clip_norm, 1e6, 1e6);
        options.beta1 = 0.0;
        let (_, log) = learn(&mut network, &texts(6), &options).unwrap();
        let after = crate::support::weights(&network);
        let square: f64 = before
            .values()
            .flatten()
            .zip(after.values().flatten())
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum();
        (square.sqrt(), log.steps[0].grad_norm)
    };
    let (free, norm) = moved(0.0);
    // Differences of f32 weights near one.
    assert!((free / norm - 1.0).abs() < 1e-3, "{free}, {norm}");
    assert!((moved(10.0 * norm).0 / norm - 1.0).abs() < 1e-3, "a bound beyond the norm");
    let (clipped, reported) = moved(0.5 * norm);
    assert!((clipped / (0.5 * norm) - 1.0).abs() < 1e-3, "{clipped}");
    assert_eq!(reported, norm, "the norm before clipping is what is reported");
}

#[test]
fn texts_that_do_not_fill_a_sequence_are_errors() {
    let cut =
        |count: usize, seq_len| Sequences::new("training", stream(count, VOCAB, 1).into(), seq_len, VOCAB);
    for count in [0, 1, SEQ] {
        match cut(count, SEQ) {
            Err(TrainError::TooFewTokens { which: "training", tokens, needed }) => {
                assert_eq!((tokens, needed), (count, SEQ + 1));
            }
            other => panic!("{count}: {other:?}"),
        }
    }
    assert_eq!(cut(SEQ + 1, SEQ).unwrap().count(), 1);
    assert!(matches!(cut(5, 0), Err(TrainError::Option { option: "seq_len", .. })));
}

#[test]
fn senseless_settings_are_refused() {
    let refused = |change: fn(&mut tenuis_distill::TrainOptions), wanted: &str| {
        let mut options = options(2);
        change(&mut options);
        match learn(&mut tiny(1), &texts(4), &options) {
            Err(TrainError::Option { option, .. }) => assert_eq!(option, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    };
    refused(|o| o.steps = 0, "steps");
    refused(|o| o.seq_len = SEQ + 1, "seq_len");
    refused(|o| o.patience = 1, "patience");
    refused(|o| o.learning_rate = f64::NAN, "learning_rate");
    let mut frozen = tiny(1);
    frozen.params.freeze();
    assert!(matches!(learn(&mut frozen, &texts(4), &options(1)), Err(TrainError::NothingToTrain { .. })));
}

#[test]
fn more_tokens_than_learned_positions_are_refused() {
    let config = serde_json::json!({
        "model_type": "gpt2", "vocab_size": VOCAB, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": SEQ - 1,
    });
    let spec = tenuis_spec::DecoderSpec::from_config(&config).unwrap();
    let mut params = tenuis_distill::Params::random(&spec, 0).unwrap();
    params.train(&Selection::all()).unwrap();
    let mut network = Network::new(spec, params);
    let objective = Objective::cross_entropy();
    let result = train(&mut network, None, &texts(4), &objective, &options(1), None, &mut Log::default());
    assert!(matches!(result, Err(TrainError::Option { option: "seq_len", .. })));
}
