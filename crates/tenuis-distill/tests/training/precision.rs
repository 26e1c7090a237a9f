//! Numbers that run out of range, and numbers of fewer bits.

use crate::support::{
    FIXTURE_VOCAB, distance, fixture, learn, loud, network_of, options, probe, sequences, texts, tiny,
    weights,
};
use tenuis_distill::{Objective, Precision, Texts, TrainError};

/// How much of f32's progress lower precisions must make. Their activations are off by up to half a per cent, and so are
/// their gradients; the master weights keep small updates.
const PROGRESS: f64 = 0.95;

#[test]
fn overflow_is_skipped_and_counted_and_halves_the_scale() {
    let mut network = loud(1e3);
    let before = weights(&network);
    let mut options = options(12);
    (options.precision, options.max_skipped) = (Precision::F16, 12);
    let (outcome, log) = learn(&mut network, &texts(6), &options).unwrap();
    let skipped = log.steps.iter().filter(|r| r.skipped).count();
    assert_eq!(outcome.skipped, skipped);
    assert!(log.steps[0].skipped && skipped < 12);
    assert_eq!(log.steps[0].loss_scale, 65_536.0);
    for pair in log.steps.windows(2) {
        let factor = if pair[0].skipped { 0.5 } else { 1.0 };
        assert_eq!(pair[1].loss_scale, pair[0].loss_scale * factor, "after step {}", pair[0].step);
    }
    // Steps that are skipped have no loss in the curve.
    assert_eq!(outcome.losses.len(), 12 - skipped);
    assert!(weights(&network) != before);
    // What is skipped changes nothing.
    let mut network = loud(1e3);
    options.steps = log.steps.iter().position(|r| !r.skipped).unwrap();
    learn(&mut network, &texts(6), &options).unwrap();
    assert!(weights(&network) == before);
}

#[test]
fn the_same_gradient_whatever_the_scale() {
    let gradient = |precision| {
        let mut options = options(1);
        options.precision = precision;
        probe(&mut tiny(2), None, &texts(6), &Objective::cross_entropy(), &options)
    };
    let ((whole, expected), (half, found)) = (gradient(Precision::F32), gradient(Precision::F16));
    assert_eq!((whole.loss_scale, half.loss_scale), (1.0, 65_536.0));
    // Activations of 11 bits; what was not unscaled would be 65536 times as large, in the norm or in the update.
    assert!((whole.grad_norm / half.grad_norm - 1.0).abs() < 1e-2, "{} {}", whole.grad_norm, half.grad_norm);
    assert!(distance(&expected, &found) < 1e-2, "{}", distance(&expected, &found));
}

#[test]
fn a_loss_that_stays_nan_fails_past_the_bound() {
    for precision in [Precision::F32, Precision::F16] {
        let mut network = tiny(2);
        let mut head = network.params.values("lm_head.weight").unwrap();
        head[5] = f32::NAN;
        network.params.insert("lm_head.weight", head, &[24, 16]).unwrap();
        let before = weights(&network);
        let mut options = options(50);
        (options.precision, options.max_skipped) = (precision, 3);
        match learn(&mut network, &texts(6), &options) {
            Err(TrainError::NonFinite { skipped: 4, step: 4 }) => {}
            other => panic!("{other:?}"),
        }
        for (name, values) in weights(&network) {
            assert!(values.iter().zip(&before[&name]).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
        }
    }
}

#[test]
fn lower_precisions_learn_as_f32_does() {
    for name in ["gpt2", "qwen3"] {
        let texts = Texts { train: sequences(4, 12, FIXTURE_VOCAB, 7), valid: None };
        let progress = |precision| {
            let mut options = options(40);
            (options.precision, options.learning_rate) = (precision, 3e-3);
            let (outcome, log) = learn(&mut network_of(&fixture(name)), &texts, &options).unwrap();
            assert_eq!(outcome.skipped, 0);
            assert!(log.steps.iter().all(|r| r.loss.is_finite()));
            outcome.losses[0].1 - outcome.losses[39].1
        };
        let f32 = progress(Precision::F32);
        assert!(f32 > 1.0, "{name}: f32 learns, by {f32}");
        for precision in [Precision::Bf16, Precision::F16] {
            let found = progress(precision);
            assert!(
                found > PROGRESS * f32 && found < f32 / PROGRESS,
                "{name}, {precision:?}: {found}, f32 {f32}"
            );
        }
    }
}
