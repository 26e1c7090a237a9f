//! A teacher that is asked once.

use crate::support::{CountedTeacher, Log, SEQ, VOCAB, options, random, sequences, texts, tiny};
use std::fs;
use std::path::Path;
use tenuis_distill::{
    CachedTeacher, Divergence, Network, NetworkTeacher, Objective, StepRecord, Teacher, Texts, TrainError,
    TrainOptions, train,
};

/// The teacher's products in batches of other sequences, through logarithms, as a share of the loss.
const ROUNDING: f64 = 1e-6;

fn objective(k: usize) -> Objective {
    let mut objective = Objective::default();
    (objective.top_k, objective.temperature, objective.ce) = (Some(k), 2.0, 0.2);
    objective
}

fn network() -> Network {
    random([VOCAB, 16, 3, 4], 21)
}

fn teacher() -> CountedTeacher {
    CountedTeacher::new(network())
}

/// Three epochs of eight sequences, in batches of four.
fn epochs() -> TrainOptions {
    options(6)
}

fn run(
    teacher: &mut dyn Teacher,
    texts: &Texts,
    objective: &Objective,
    options: &TrainOptions,
) -> Result<Vec<StepRecord>, TrainError> {
    let mut log = Log::default();
    train(&mut tiny(5), Some(teacher), texts, objective, options, None, &mut log)?;
    Ok(log.steps)
}

/// A run with a cache in `dir`: its steps, and how often the teacher was run.
fn cached(
    dir: &Path,
    texts: &Texts,
    objective: &Objective,
    options: &TrainOptions,
) -> (Vec<StepRecord>, usize) {
    let mut inner = teacher();
    let mut cached = CachedTeacher::open(&mut inner, &texts.train, objective, dir).unwrap();
    let steps = run(&mut cached, texts, objective, options).unwrap();
    (steps, inner.runs)
}

fn assert_same(a: &[StepRecord], b: &[StepRecord]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a.loss / b.loss - 1.0).abs() < ROUNDING, "step {}: {} and {}", a.step, a.loss, b.loss);
        assert!((a.grad_norm / b.grad_norm - 1.0).abs() < 1e2 * ROUNDING, "step {}", a.step);
    }
}

#[test]
fn the_teacher_runs_once_per_sequence_and_nothing_changes() {
    let texts = texts(8);
    for divergence in [Divergence::ForwardKl, Divergence::ReverseKl, Divergence::JensenShannon] {
        let mut objective = objective(5);
        objective.divergence = divergence;
        let dir = tempfile::tempdir().unwrap();
        let mut plain = teacher();
        let expected = run(&mut plain, &texts, &objective, &epochs()).unwrap();
        assert_eq!(plain.runs, 6);
        let (steps, runs) = cached(dir.path(), &texts, &objective, &epochs());
        assert_eq!(runs, 2, "eight sequences in batches of four");
        assert_same(&steps, &expected);
        let (steps, runs) = cached(dir.path(), &texts, &objective, &epochs());
        assert_eq!(runs, 0, "a later run reads");
        assert_same(&steps, &expected);
        let bytes = fs::metadata(dir.path().join("teacher-top-k.bin")).unwrap().len();
        assert_eq!(bytes, 128 + 8 * (16 + SEQ as u64 * (8 * 5 + 4)));
        assert_eq!(bytes, CachedTeacher::<CountedTeacher>::file_bytes(&texts.train, 5));
    }
}

#[test]
fn all_tokens_are_the_whole_distribution() {
    let texts = texts(8);
    let dir = tempfile::tempdir().unwrap();
    let (steps, _) = cached(dir.path(), &texts, &objective(VOCAB), &epochs());
    let mut whole = objective(VOCAB);
    whole.top_k = None;
    assert_same(&steps, &run(&mut teacher(), &texts, &whole, &epochs()).unwrap());
    let few = run(&mut teacher(), &texts, &objective(2), &epochs()).unwrap();
    assert!(few[0].divergence < 0.99 * steps[0].divergence, "fewer classes see less");
}

/// Whatever happens to the file, the losses are those of the teacher.
#[test]
fn damage_is_found_and_mended() {
    let (texts, objective) = (texts(8), objective(5));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("teacher-top-k.bin");
    let (expected, _) = cached(dir.path(), &texts, &objective, &epochs());
    let whole = fs::read(&path).unwrap();
    let record = (whole.len() - 128) / 8;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let zeroed = [&whole[..128 + 3 * record], &vec![0; 5 * record][..]].concat();
    for (bytes, least) in [
        (whole.clone(), 0),
        (flipped(9), 2),
        (flipped(128 + 2 * record + 30), 1),
        (whole[..128 + 5 * record + 7].to_vec(), 1),
        (whole[..100].to_vec(), 2),
        (Vec::new(), 2),
        (zeroed, 1),
    ] {
        fs::write(&path, bytes).unwrap();
        let (steps, runs) = cached(dir.path(), &texts, &objective, &epochs());
        assert!((least..=2).contains(&runs), "{runs} runs, at least {least}");
        assert_same(&steps, &expected);
        assert_eq!(fs::read(&path).unwrap().len(), whole.len());
    }
}

#[test]
fn another_text_teacher_or_temperature_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (texts, objective) = (texts(8), objective(5));
    assert_eq!(cached(dir.path(), &texts, &objective, &epochs()).1, 2);
    let other_text = Texts { train: sequences(8, SEQ, VOCAB, 9), valid: None };
    assert_eq!(cached(dir.path(), &other_text, &objective, &epochs()).1, 2);
    let mut warmer = objective.clone();
    warmer.temperature = 3.0;
    assert_eq!(cached(dir.path(), &other_text, &warmer, &epochs()).1, 2);
    let somebody_else = CountedTeacher::known_as("somebody else", network());
    let mut other = CachedTeacher::open(somebody_else, &other_text.train, &warmer, dir.path()).unwrap();
    run(&mut other, &other_text, &warmer, &epochs()).unwrap();
    assert_eq!(other.hits(), (24, 16));
}

#[test]
fn validation_passes_the_cache_by_with_the_same_objective() {
    let mut texts = texts(8);
    // Sequences of the same numbers, which are not the cached ones.
    texts.valid = Some(sequences(4, SEQ, VOCAB, 9));
    let mut options = epochs();
    options.valid_every = 3;
    let objective = objective(3);
    let valid = |teacher: &mut dyn Teacher| {
        let mut log = Log::default();
        train(&mut tiny(5), Some(teacher), &texts, &objective, &options, None, &mut log).unwrap();
        log.valid
    };
    let dir = tempfile::tempdir().unwrap();
    let mut inner = teacher();
    let found = valid(&mut CachedTeacher::open(&mut inner, &texts.train, &objective, dir.path()).unwrap());
    assert_eq!(inner.runs, 2 + 2, "two batches of training, and one in each of two validations");
    for (a, b) in found.iter().zip(valid(&mut teacher())) {
        assert!((a.valid_loss / b.valid_loss - 1.0).abs() < ROUNDING);
    }
}

/// A caller that asks about other tokens under the number of a cached sequence gets the teacher.
#[test]
fn numbers_of_another_text_are_not_believed() {
    let (texts, objective) = (texts(8), objective(5));
    let other = Texts { train: sequences(8, SEQ, VOCAB, 9), valid: None };
    let dir = tempfile::tempdir().unwrap();
    cached(dir.path(), &texts, &objective, &epochs());
    let mut inner = teacher();
    let mut cache = CachedTeacher::open(&mut inner, &texts.train, &objective, dir.path()).unwrap();
    let steps = run(&mut cache, &other, &objective, &epochs()).unwrap();
    assert_eq!(cache.hits(), (0, 0));
    assert_eq!(inner.runs, 6);
    assert_same(&steps, &run(&mut teacher(), &other, &objective, &epochs()).unwrap());
}

#[test]
fn hidden_states_run_the_teacher() {
    let texts = texts(8);
    let mut objective = objective(5);
    objective.hidden = 0.5;
    let dir = tempfile::tempdir().unwrap();
    let expected = run(&mut teacher(), &texts, &objective, &epochs()).unwrap();
    for _ in 0..2 {
        let (steps, runs) = cached(dir.path(), &texts, &objective, &epochs());
        assert_eq!(runs, 6);
        assert_same(&steps, &expected);
    }
}

#[test]
fn what_cannot_be_cached_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts(8);
    let refused =
        |result: Result<(), TrainError>| matches!(result, Err(TrainError::Option { option: "top_k", .. }));
    let open =
        |teacher, objective: &Objective| CachedTeacher::open(teacher, &texts.train, objective, dir.path());
    assert!(refused(open(teacher(), &Objective::default()).map(|_| ())), "no top_k");
    assert!(refused(open(teacher(), &objective(VOCAB + 1)).map(|_| ())), "more than there are");
    let nobody = NetworkTeacher::new(network());
    let opened = CachedTeacher::open(nobody, &texts.train, &objective(5), dir.path());
    assert!(refused(opened.map(|_| ())), "no identity");
    let mut cache = open(teacher(), &objective(5)).unwrap();
    let twice = CachedTeacher::open(&mut cache, &texts.train, &objective(5), dir.path());
    assert!(refused(twice.map(|_| ())), "a cache of a cache");
    let mut warmer = objective(5);
    warmer.temperature = 1.0;
    for other in [objective(4), warmer] {
        assert!(refused(run(&mut cache, &texts, &other, &epochs()).map(|_| ())), "another objective");
    }
}
