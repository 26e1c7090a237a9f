//! Gradients: of everything that is trained, right, and the same whichever way they are computed.

use crate::support::{
    CountedTeacher, FIXTURE_VOCAB, FIXTURES, Weights, distance, fixture, learn, network_of, norm, options,
    probe, random, restore, sequences, texts, tiny, weights,
};
use tenuis_distill::{LoraConfig, Network, Objective, Selection, Texts, TrainOptions};

/// Central differences of a loss of about five, of which f32 keeps some 3e-7, over a change of some 1e-4. The step is a
/// thousandth of the weights: a larger one crosses kinks of ReLU, and sends tokens to other experts.
const DIFFERENCES: f64 = 1e-2;
/// Sums of f32 in another order.
const ROUNDING: f64 = 1e-5;

fn fixture_texts() -> Texts {
    Texts { train: sequences(2, 14, FIXTURE_VOCAB, 7), valid: None }
}

fn fixture_options() -> TrainOptions {
    let mut options = options(1);
    (options.batch_size, options.seq_len) = (2, 14);
    options
}

/// Values of magnitude one that have nothing to do with the gradient.
fn direction(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 12_989 + seed * 78_233 + 1) as f32 * 0.734).sin() * 1.4).collect()
}

#[test]
fn every_tensor_has_a_gradient_and_it_is_right() {
    let (texts, options, objective) = (fixture_texts(), fixture_options(), Objective::cross_entropy());
    for name in FIXTURES {
        let mut network = network_of(&fixture(name));
        let (_, gradients) = probe(&mut network, None, &texts, &objective, &options);
        let start = weights(&network);
        assert!(gradients.keys().eq(start.keys()), "{name}: all tensors are trained");
        let unturned = network.spec().layers.iter().all(|layer| layer.attention.rope.is_none());
        for (tensor, gradient) in &gradients {
            let size = norm(gradient);
            // Where keys are not turned, their bias adds as much to every score of a query, which softmax does not see.
            if unturned && tensor.ends_with("k_proj.bias") {
                assert!(size < 1e-6, "{name}: the gradient of {tensor} is {size:.1e}");
            } else {
                assert!(size > 1e-6, "{name}: the gradient of {tensor} is {size:.1e}");
            }
        }
        let directions: Weights = start
            .iter()
            .enumerate()
            .map(|(seed, (tensor, values))| {
                // A step in proportion to the weights, so that every tensor counts.
                let size = 0.001 * (norm(values) / (values.len() as f64).sqrt()).max(0.1) as f32;
                (tensor.clone(), direction(values.len(), seed).iter().map(|d| d * size).collect())
            })
            .collect();
        let mut loss = |sign: f32| {
            let moved: Weights = start
                .iter()
                .map(|(t, values)| {
                    (t.clone(), values.iter().zip(&directions[t]).map(|(v, d)| v + sign * d).collect())
                })
                .collect();
            restore(&mut network, &moved);
            probe(&mut network, None, &texts, &objective, &options).0.nll
        };
        let difference = (loss(1.0) - loss(-1.0)) / 2.0;
        let slope: f64 = gradients
            .iter()
            .flat_map(|(t, g)| g.iter().zip(&directions[t]))
            .map(|(g, d)| f64::from(*g) * f64::from(*d))
            .sum();
        let scale: f64 = gradients
            .iter()
            .map(|(t, g)| g.iter().zip(&directions[t]).map(|(g, d)| f64::from(g * d).powi(2)).sum::<f64>())
            .sum::<f64>()
            .sqrt();
        assert!(
            (difference - slope).abs() < DIFFERENCES * scale.max(slope.abs()),
            "{name}: {difference}, {slope}"
        );
    }
}

/// Ways of saving memory: a block's graph at a time, and small batches that are added up.
#[test]
fn saving_memory_changes_nothing() {
    let objective = Objective::cross_entropy();
    let texts = texts(8);
    let mut whole = options(1);
    whole.batch_size = 8;
    let mut network = tiny(3);
    let (record, expected) = probe(&mut network, None, &texts, &objective, &whole);
    for (batch_size, accumulate, checkpoint_blocks) in [(8, 1, true), (2, 4, false), (4, 2, true)] {
        let mut options = whole.clone();
        (options.batch_size, options.accumulate, options.checkpoint_blocks) =
            (batch_size, accumulate, checkpoint_blocks);
        let (other, found) = probe(&mut network, None, &texts, &objective, &options);
        let apart = distance(&expected, &found);
        assert!(apart < ROUNDING, "{accumulate} times {batch_size}, {checkpoint_blocks}: {apart:.1e}");
        assert!(
            (record.loss - other.loss).abs() < ROUNDING
                && (record.grad_norm / other.grad_norm - 1.0).abs() < ROUNDING
        );
    }
}

/// Checkpointed blocks with everything at once: tied embeddings, learned positions, hidden states through projections, a
/// teacher, adapters, and parts that are frozen.
#[test]
fn checkpointed_blocks_have_the_same_gradients() {
    let texts = fixture_texts();
    let mut objective = Objective::default();
    (objective.ce, objective.hidden) = (0.5, 0.3);
    let check = |what: &str, network: &mut Network, objective: &Objective| {
        let mut teacher = CountedTeacher::new(random([FIXTURE_VOCAB, 32, 4, 4], 1));
        let mut options = fixture_options();
        let (record, expected) = probe(network, Some(&mut teacher), &texts, objective, &options);
        options.checkpoint_blocks = true;
        let (other, found) = probe(network, Some(&mut teacher), &texts, objective, &options);
        let apart = distance(&expected, &found);
        assert!(apart < ROUNDING, "{what}: off by {apart:.1e}");
        assert!((record.hidden - other.hidden).abs() <= ROUNDING * record.hidden, "{what}");
        assert!((record.loss - other.loss).abs() < ROUNDING * record.loss, "{what}");
    };
    for name in ["gpt2", "llama_gqa_llama3rope", "qwen3"] {
        let mut network = network_of(&fixture(name));
        check(name, &mut network, &objective);
        let mut objective = objective.clone();
        objective.hidden = 0.0;
        // From the second block on, norms alone, and adapters.
        let late = if name == "gpt2" { "*h.1.*" } else { "*layers.1.*" };
        for patterns in [[late, "*ln_f*"], ["norms", "norms"]] {
            network.params.train(&Selection(patterns.map(str::to_owned).to_vec())).unwrap();
            check(&format!("{name} {patterns:?}"), &mut network, &objective);
        }
        network.add_adapters(&LoraConfig::default(), 1).unwrap();
        check(&format!("{name} adapters"), &mut network, &objective);
    }
}

#[test]
fn norms_are_those_of_the_spec() {
    let chosen = |name: &str| {
        let mut network = network_of(&fixture(name));
        network.params.train(&Selection(vec!["norms".to_owned()])).unwrap();
        network.params.trained().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    let gpt2 = chosen("gpt2");
    // Two norms in each of three blocks and the last one, weight and bias each.
    assert_eq!(gpt2.len(), 14, "{gpt2:?}");
    assert!(
        gpt2.iter().all(|n| n.contains("ln_")) && gpt2.iter().filter(|n| n.contains(".bias")).count() == 7
    );
    let qwen3 = chosen("qwen3");
    assert_eq!(qwen3.len(), 3 * 4 + 1, "{qwen3:?}");
    assert_eq!(qwen3.iter().filter(|n| n.contains("q_norm") || n.contains("k_norm")).count(), 6);
    // Biases that belong to Linears are no norms'.
    assert!(chosen("qwen2").iter().all(|n| n.ends_with("norm.weight")));
}

#[test]
fn what_is_frozen_does_not_move() {
    for checkpoint_blocks in [false, true] {
        let mut network = tiny(4);
        let patterns = ["*.1.mlp.*", "*.q_proj.weight"].map(str::to_owned).to_vec();
        network.params.train(&Selection(patterns)).unwrap();
        let before = weights(&network);
        let mut options = options(5);
        (options.checkpoint_blocks, options.weight_decay) = (checkpoint_blocks, 0.1);
        learn(&mut network, &texts(8), &options).unwrap();
        let after = weights(&network);
        for (name, values) in &before {
            let trained = name.contains(".1.mlp.") || name.ends_with("q_proj.weight");
            assert_eq!(*values != after[name], trained, "{name}");
        }
    }
}

/// The graph of a loss holds no gradient of what is frozen.
#[test]
fn what_is_frozen_costs_no_gradient() {
    let mut network = network_of(&fixture("gpt2"));
    network.params.train(&Selection(vec!["h.1.mlp.*".to_owned(), "*h.1.mlp.*".to_owned()])).unwrap();
    let extent = tenuis_distill::Extent { batch: 1, seq: 6 };
    let loss = network.logits(&[1, 2, 3, 4, 5, 6], extent).unwrap().sqr().unwrap().sum_all().unwrap();
    let store = loss.backward().unwrap();
    for name in network.params.names() {
        let found = store.get(network.params.tensor(name).unwrap()).is_some();
        assert_eq!(found, name.contains("h.1.mlp"), "{name}");
    }
}
