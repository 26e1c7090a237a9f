//! Learning from a teacher.

use crate::support::{
    CountedTeacher, FIXTURE_VOCAB, FIXTURES, Log, SEQ, VOCAB, distance, fixture, network_of, norm, options,
    probe, random, sequences, texts, tiny,
};
use tenuis_distill::{Divergence, ModelTeacher, Objective, StepRecord, Teacher, Texts, TrainError, train};

const KINDS: [Divergence; 3] = [Divergence::ForwardKl, Divergence::ReverseKl, Divergence::JensenShannon];
/// Teacher and student compute the same logits to some 1e-6 of the largest; divergences go with the square of that, but
/// the logarithms of f32 they are made of do not.
const NOTHING: f64 = 2e-6;
/// Probabilities that are off by as much, beside a gradient of cross-entropy of size one.
const NO_GRADIENT: f64 = 1e-4;

fn kd(divergence: Divergence, temperature: f64) -> Objective {
    let mut objective = Objective::default();
    (objective.divergence, objective.temperature) = (divergence, temperature);
    objective
}

/// Trains a network toward a teacher and gives the steps.
fn distil(
    network: &mut tenuis_distill::Network,
    teacher: &mut dyn Teacher,
    objective: &Objective,
    steps: usize,
) -> Result<Vec<StepRecord>, TrainError> {
    let mut log = Log::default();
    let texts = Texts { train: sequences(6, SEQ, network.spec().vocab, 3), valid: None };
    train(network, Some(teacher), &texts, objective, &options(steps), None, &mut log)?;
    Ok(log.steps)
}

#[test]
fn a_student_that_is_its_teacher_has_nothing_to_learn() {
    let texts = Texts { train: sequences(4, SEQ, FIXTURE_VOCAB, 3), valid: None };
    for name in FIXTURES {
        let model = fixture(name);
        let mut network = network_of(&model);
        let (_, ce) = probe(&mut network, None, &texts, &Objective::cross_entropy(), &options(1));
        let size: f64 = ce.values().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
        for divergence in KINDS {
            for top_k in [None, Some(8)] {
                let mut objective = kd(divergence, 2.0);
                (objective.top_k, objective.hidden) = (top_k, 1.0);
                let mut teacher = ModelTeacher::new(model.clone());
                let (record, _) = probe(&mut network, Some(&mut teacher), &texts, &objective, &options(1));
                assert!(record.divergence.abs() < NOTHING, "{name}, {divergence:?}: {}", record.divergence);
                assert!(record.hidden < NOTHING, "{name}: {}", record.hidden);
                assert!(
                    record.grad_norm < NO_GRADIENT * size,
                    "{name}, {divergence:?}: {}",
                    record.grad_norm
                );
                assert!(record.nll > 1.0, "the text itself is another matter");
            }
        }
    }
}

/// With two other networks the divergences are what their formulas say, in f64 from the logits.
#[test]
fn divergences_follow_their_formulas() {
    let (mut student, temperature) = (tiny(1), 1.7);
    let texts = texts(4);
    let (tokens, _) = texts.train.batch(&[0, 1, 2, 3]);
    let extent = tenuis_distill::Extent { batch: 4, seq: SEQ };
    let loud = || {
        let mut network = random([VOCAB, 16, 2, 4], 2);
        let head: Vec<f32> =
            network.params.values("lm_head.weight").unwrap().iter().map(|v| v * 40.0).collect();
        network.params.insert("lm_head.weight", head, &[VOCAB, 16]).unwrap();
        network
    };
    let probabilities = |network: &tenuis_distill::Network| -> Vec<f64> {
        let logits = crate::support::values(&network.logits(&tokens, extent).unwrap());
        let rows = logits.chunks(VOCAB).map(|row| {
            let powers: Vec<f64> = row.iter().map(|&z| (f64::from(z) / temperature).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(move |p| p / sum).collect::<Vec<_>>()
        });
        rows.flatten().collect()
    };
    let (p, q) = (probabilities(&student), probabilities(&loud()));
    let kl = |a: f64, b: f64| a * (a / b).ln();
    for divergence in KINDS {
        let terms = p.iter().zip(&q).map(|(&p, &q)| match divergence {
            Divergence::ForwardKl => kl(q, p),
            Divergence::ReverseKl => kl(p, q),
            Divergence::JensenShannon => 0.5 * (kl(p, 0.5 * (p + q)) + kl(q, 0.5 * (p + q))),
        });
        let wanted = terms.sum::<f64>() / (4 * SEQ) as f64;
        let mut teacher = CountedTeacher::new(loud());
        let objective = kd(divergence, temperature);
        let (record, _) = probe(&mut student, Some(&mut teacher), &texts, &objective, &options(1));
        assert!(wanted > 0.05, "{divergence:?}: {wanted}");
        assert!(
            (record.divergence / wanted - 1.0).abs() < 1e-4,
            "{divergence:?}: {}, {wanted}",
            record.divergence
        );
        let squared = temperature * temperature * wanted;
        assert!((record.loss / squared - 1.0).abs() < 1e-4, "{divergence:?}: the loss has the factor T²");
    }
}

/// At high temperatures a divergence falls as 1/T², and so does its gradient: the factor T² keeps both.
#[test]
fn the_gradient_keeps_its_size_at_any_temperature() {
    let texts = texts(4);
    let mut student = tiny(1);
    for divergence in KINDS {
        let mut gradient = |temperature| {
            let mut teacher = CountedTeacher::new(random([VOCAB, 16, 2, 4], 2));
            probe(&mut student, Some(&mut teacher), &texts, &kd(divergence, temperature), &options(1))
        };
        let ((warm, a), (hot, b)) = (gradient(8.0), gradient(32.0));
        assert!(
            warm.divergence > 10.0 * hot.divergence,
            "{divergence:?}: {} {}",
            warm.divergence,
            hot.divergence
        );
        // What is left is of the order of the logits' spread over T.
        assert!((warm.grad_norm / hot.grad_norm - 1.0).abs() < 0.05, "{} {}", warm.grad_norm, hot.grad_norm);
        assert!(distance(&a, &b) < 0.05, "{divergence:?}: {}", distance(&a, &b));
    }
}

#[test]
fn a_student_of_another_shape_learns_from_logits_and_states() {
    // Three blocks of width 64 teach two of width 16, or four of width 24.
    for (name, sizes) in [("qwen3", [FIXTURE_VOCAB, 16, 2, 2]), ("gpt2", [FIXTURE_VOCAB, 24, 4, 4])] {
        for divergence in KINDS {
            let mut objective = kd(divergence, 2.0);
            objective.hidden = 1.0;
            let mut teacher = ModelTeacher::new(fixture(name));
            let steps = distil(&mut random(sizes, 1), &mut teacher, &objective, 60).unwrap();
            let (first, last) = (steps[0], steps[59]);
            assert!(last.hidden < 0.7 * first.hidden, "{name}: hidden {} to {}", first.hidden, last.hidden);
            assert!(
                last.divergence < 0.9 * first.divergence,
                "{name}, {divergence:?}: {} to {}",
                first.divergence,
                last.divergence
            );
            assert!(last.loss < first.loss);
        }
    }
}

#[test]
fn terms_are_mixed_by_their_weights() {
    let texts = texts(4);
    let mut student = tiny(1);
    let mut record = |ce, kd, hidden| {
        let mut objective = Objective::default();
        (objective.ce, objective.kd, objective.hidden, objective.temperature) = (ce, kd, hidden, 2.0);
        let mut teacher = CountedTeacher::new(random([VOCAB, 8, 2, 2], 2));
        probe(&mut student, Some(&mut teacher), &texts, &objective, &options(1)).0
    };
    let mixed = record(0.3, 0.7, 0.2);
    let expected = 0.3 * mixed.nll + 0.7 * 4.0 * mixed.divergence + 0.2 * mixed.hidden;
    assert!((mixed.loss / expected - 1.0).abs() < 1e-5, "{} and {expected}", mixed.loss);
    let alone = record(0.0, 0.0, 0.2);
    assert!((alone.loss / (0.2 * mixed.hidden) - 1.0).abs() < 1e-5, "the same projections, the same states");
}

#[test]
fn vocabularies_must_agree() {
    let mut teacher = CountedTeacher::new(random([VOCAB + 1, 16, 2, 4], 1));
    let error = distil(&mut tiny(1), &mut teacher, &Objective::default(), 1).unwrap_err();
    assert!(matches!(error, TrainError::Vocabulary { teacher: 25, student: 24 }));
    assert!(error.to_string().contains("25 tokens") && error.to_string().contains("tokenizer"), "{error}");
    assert_eq!(teacher.runs, 0);
}

#[test]
fn senseless_objectives_are_refused() {
    let mut objective = Objective::default();
    objective.hidden = 1.0;
    let run = |map: Vec<usize>| {
        let mut objective = objective.clone();
        objective.layer_map = Some(map);
        let mut teacher = CountedTeacher::new(random([VOCAB, 16, 3, 4], 1));
        distil(&mut tiny(1), &mut teacher, &objective, 1)
    };
    assert!(run(vec![0, 2]).is_ok());
    assert!(matches!(run(vec![0]), Err(TrainError::Option { option: "layer_map", .. })));
    match run(vec![0, 3]) {
        Err(e @ TrainError::Layer { layer: 3, model: "teacher", layers: 3 }) => {
            assert_eq!(e.to_string(), "layer 3: the teacher has layers 0 to 2");
        }
        other => panic!("{other:?}"),
    }
    let refused = |change: fn(&mut Objective), wanted: &str| {
        let mut objective = Objective::default();
        change(&mut objective);
        let mut teacher = CountedTeacher::new(tiny(1));
        match distil(&mut tiny(1), &mut teacher, &objective, 1) {
            Err(TrainError::Option { option, .. }) => assert_eq!(option, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    };
    refused(|o| o.temperature = 0.0, "temperature");
    refused(|o| o.ce = -1.0, "ce");
    refused(|o| o.kd = 0.0, "objective");
    refused(|o| o.top_k = Some(0), "top_k");
    refused(|o| o.top_k = Some(VOCAB + 1), "top_k");
    let alone =
        train(&mut tiny(1), None, &texts(4), &Objective::default(), &options(1), None, &mut Log::default());
    assert!(matches!(alone, Err(TrainError::Option { option: "objective", .. })));
}

/// Blocks are matched with those that the map names: with a teacher that is the student, any but its own are not free.
#[test]
fn the_layer_map_says_who_imitates_whom() {
    let hidden = |map: Vec<usize>| {
        let mut objective = Objective::default();
        (objective.hidden, objective.layer_map) = (1.0, Some(map));
        let mut teacher = CountedTeacher::new(tiny(1));
        probe(&mut tiny(1), Some(&mut teacher), &texts(4), &objective, &options(1)).0.hidden
    };
    assert!(hidden(vec![0, 1]) < 1e-12);
    let (first, second) = (hidden(vec![1, 1]), hidden(vec![0, 0]));
    assert!(first > 1e-8 && (hidden(vec![1, 0]) / (first + second) - 1.0).abs() < 1e-4);
}
