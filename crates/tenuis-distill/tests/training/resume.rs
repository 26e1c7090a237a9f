//! A run that was cut off ends as if it had not been.

use crate::support::{
    CountedTeacher, Log, SEQ, VOCAB, Weights, loud, options, random, sequences, texts, tiny, weights,
};
use std::path::Path;
use tenuis_distill::{Network, Objective, Outcome, Precision, Texts, TrainError, TrainOptions, train};

/// A run of a fresh network, with a teacher of another width where hidden states are matched.
fn run(
    texts: &Texts,
    objective: &Objective,
    options: &TrainOptions,
    dir: Option<&Path>,
    log: &mut Log,
) -> Result<(Outcome, Weights), TrainError> {
    run_of(tiny(5), texts, objective, options, dir, log)
}

fn run_of(
    mut network: Network,
    texts: &Texts,
    objective: &Objective,
    options: &TrainOptions,
    dir: Option<&Path>,
    log: &mut Log,
) -> Result<(Outcome, Weights), TrainError> {
    let mut teacher = CountedTeacher::new(random([VOCAB, 8, 3, 2], 9));
    let mut outcome = train(&mut network, Some(&mut teacher), texts, objective, options, dir, log)?;
    outcome.seconds = 0.0;
    Ok((outcome, weights(&network)))
}

/// Cuts a run off before several steps, goes on, and compares with the run that was never cut off.
fn check(texts: &Texts, objective: &Objective, options: &TrainOptions, network: impl Fn() -> Network) -> Log {
    let mut whole_log = Log::default();
    let (whole, whole_weights) = run_of(network(), texts, objective, options, None, &mut whole_log).unwrap();
    for cut in [1, 4, 7] {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Log { cancel_after: Some(cut), ..Log::default() };
        let error = run_of(network(), texts, objective, options, Some(dir.path()), &mut first).unwrap_err();
        assert!(matches!(error, TrainError::Cancelled { step } if step == cut));
        let mut second = Log::default();
        let (resumed, weights) =
            run_of(network(), texts, objective, options, Some(dir.path()), &mut second).unwrap();
        assert_eq!(resumed, whole, "cut at {cut}");
        assert!(weights == whole_weights, "cut at {cut}: other weights");
        let steps: Vec<_> =
            first.steps.iter().chain(&second.steps).map(|r| (r.step, r.loss, r.grad_norm)).collect();
        let expected: Vec<_> = whole_log.steps.iter().map(|r| (r.step, r.loss, r.grad_norm)).collect();
        assert_eq!(format!("{steps:?}"), format!("{expected:?}"), "cut at {cut}");
        let valid: Vec<_> = first.valid.iter().chain(&second.valid).copied().collect();
        assert_eq!(valid, whole_log.valid, "cut at {cut}");
        // Once more: it has ended, and says so without a step.
        let mut third = Log::default();
        let (again, weights) =
            run_of(network(), texts, objective, options, Some(dir.path()), &mut third).unwrap();
        assert_eq!(again, whole);
        assert!(weights == whole_weights && third.steps.is_empty() && third.valid.is_empty());
    }
    whole_log
}

#[test]
fn resumes_to_the_same_bits() {
    let mut objective = Objective::default();
    (objective.ce, objective.hidden, objective.temperature) = (0.5, 0.2, 2.0);
    let mut options = options(10);
    (options.accumulate, options.batch_size, options.save_every, options.valid_every) = (2, 2, 0, 4);
    let mut texts = texts(6);
    texts.valid = Some(sequences(3, SEQ, VOCAB, 2));
    let log = check(&texts, &objective, &options, || tiny(5));
    // Steps 4 and 8, and the end.
    assert_eq!(log.valid.iter().map(|v| v.step).collect::<Vec<_>>(), [4, 8, 10]);
}

/// Validations that get worse from some step on end the run, and the best weights and the count of patience survive a cut.
#[test]
fn resumes_early_stopping() {
    let mut options = options(60);
    (options.valid_every, options.patience, options.learning_rate) = (2, 3, 5e-2);
    let mut texts = texts(4);
    // Another language: learning one makes the other less likely.
    texts.valid = Some(sequences(4, SEQ, VOCAB, 77));
    let log = check(&texts, &Objective::cross_entropy(), &options, || tiny(5));
    assert!(log.steps.len() < 60, "the run stops early");
    assert!(log.steps.len() > 7, "and not before it is cut off: {}", log.steps.len());
}

/// The loss scale of f16, in the middle of being halved.
#[test]
fn resumes_the_loss_scale() {
    let mut options = options(12);
    (options.precision, options.max_skipped) = (Precision::F16, 12);
    let log = check(&texts(6), &Objective::cross_entropy(), &options, || loud(1e3));
    let scales: Vec<f32> = log.steps.iter().map(|r| r.loss_scale).collect();
    assert!(log.steps[4].skipped && scales[5] < scales[0], "cut within the search: {scales:?}");
    assert!(log.steps.iter().any(|r| !r.skipped), "{scales:?}");
}

/// A killed run goes on from what was saved last.
#[test]
fn resumes_from_the_last_saved_state() {
    let mut options = options(9);
    options.save_every = 4;
    let (texts, objective) = (texts(6), Objective::cross_entropy());
    let mut log = Log::default();
    let (whole, whole_weights) = run(&texts, &objective, &options, None, &mut log).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("train-state.safetensors");
    // What a kill after step 6 would leave is what lay there before the cancelled run saved at its end.
    let mut killed = Log { cancel_after: Some(4), ..Log::default() };
    run(&texts, &objective, &options, Some(dir.path()), &mut killed).unwrap_err();
    let kept = std::fs::read(&state).unwrap();
    run(&texts, &objective, &options, Some(dir.path()), &mut Log { cancel_after: Some(2), ..Log::default() })
        .unwrap_err();
    std::fs::write(&state, kept).unwrap();
    // A half-written successor is passed over.
    std::fs::write(dir.path().join("train-state.safetensors.tmp"), b"torn").unwrap();
    let mut rest = Log::default();
    let (resumed, weights) = run(&texts, &objective, &options, Some(dir.path()), &mut rest).unwrap();
    assert_eq!(rest.steps[0].step, 5);
    assert_eq!(resumed, whole);
    assert!(weights == whole_weights);
}

#[test]
fn a_state_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (texts, objective, options) = (texts(6), Objective::cross_entropy(), options(3));
    let start = |texts: &Texts, objective: &Objective, options: &TrainOptions, network: Network| {
        run_of(network, texts, objective, options, Some(dir.path()), &mut Log::default())
    };
    start(&texts, &objective, &options, tiny(5)).unwrap();
    let other_run = |result: Result<_, TrainError>| matches!(result, Err(TrainError::OtherRun { .. }));
    assert!(other_run(start(&texts, &objective, &options, tiny(6))), "other weights");
    assert!(other_run(start(&crate::support::texts(5), &objective, &options, tiny(5))), "another text");
    let mut rate = options.clone();
    rate.learning_rate *= 2.0;
    assert!(other_run(start(&texts, &objective, &rate, tiny(5))), "another rate");
    let mut kd = objective.clone();
    kd.kd = 0.1;
    assert!(other_run(start(&texts, &kd, &options, tiny(5))), "another objective");
    let mut part = tiny(5);
    part.params.train(&tenuis_distill::Selection(vec!["norms".to_owned()])).unwrap();
    assert!(other_run(start(&texts, &objective, &options, part)), "another selection");
    std::fs::write(dir.path().join("train-state.safetensors"), b"torn").unwrap();
    assert!(matches!(start(&texts, &objective, &options, tiny(5)), Err(TrainError::State { .. })));
}
