//! The network that is trained is the one that is run.

use crate::support::{
    FIXTURE_VOCAB, FIXTURES, fixture, network_of, nll_of, options, probe, sequences, values,
};
use candle_core::DType;
use tenuis_distill::{Extent, Network, Objective, Texts};

/// Largest difference between two f32 forward passes, as a share of the largest logit: sums in another order, through a
/// handful of layers.
const F32: f64 = 2e-5;
/// As above with activations of 8 significant bits.
const BF16: f64 = 6e-2;
/// As above with activations of 11 significant bits.
const F16: f64 = 8e-3;

fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0.0f64, |m, v| m.max(f64::from(*v).abs()));
    let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // `max` would pass over a NaN.
    differences.fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m }) / largest
}

#[test]
fn logits_are_those_of_the_model() {
    for name in FIXTURES {
        let model = fixture(name);
        let mut network = Network::from_model(&model).unwrap();
        let extent = Extent { batch: 2, seq: 20 };
        let (tokens, _) = sequences(2, 20, FIXTURE_VOCAB, 3).batch(&[0, 1]);
        let wanted = values(&model.logits(&tokens, extent.batch, extent.seq).unwrap());
        for (dtype, tolerance) in [(DType::F32, F32), (DType::BF16, BF16), (DType::F16, F16)] {
            network.set_activations(dtype);
            let apart = apart(&wanted, &values(&network.logits(&tokens, extent).unwrap()));
            assert!(apart < tolerance, "{name}, {dtype:?}: off by {apart:.1e}");
            // Activations of fewer bits cannot give the same.
            assert!(dtype == DType::F32 || apart > F32, "{name}, {dtype:?}: {apart:.1e}");
        }
    }
}

/// The loss, which never holds all logits, is that of the logits.
#[test]
fn the_loss_is_that_of_the_logits() {
    for name in FIXTURES {
        let model = fixture(name);
        let mut network = network_of(&model);
        let texts = Texts { train: sequences(4, 12, FIXTURE_VOCAB, 5), valid: None };
        let (record, _) = probe(&mut network, None, &texts, &Objective::cross_entropy(), &options(1));
        let (tokens, targets) = texts.train.batch(&[0, 1, 2, 3]);
        let wanted = nll_of(&model.logits_vec(&tokens, 4, 12).unwrap(), &targets);
        assert!((record.nll - wanted).abs() < F32 * wanted, "{name}: {} and {wanted}", record.nll);
        assert_eq!(record.loss as f32, record.nll as f32);
    }
}

#[test]
fn states_are_those_of_the_model() {
    for name in ["gpt2", "qwen3"] {
        let model = fixture(name);
        let network = Network::from_model(&model).unwrap();
        let (tokens, _) = sequences(1, 10, FIXTURE_VOCAB, 3).batch(&[0]);
        let wanted = model.hidden_states(&tokens, 1, 10).unwrap();
        let found = network.hidden_states(&tokens, Extent { batch: 1, seq: 10 }).unwrap();
        // The model's begin with the embedding, and its last one is normed; ours are the blocks' outputs and that.
        assert_eq!(found.len(), wanted.len());
        for (index, (wanted, found)) in wanted[1..wanted.len() - 1]
            .iter()
            .zip(&found)
            .chain([(&wanted[wanted.len() - 1], &found[found.len() - 1])])
            .enumerate()
        {
            assert!(apart(&values(wanted), &values(found)) < F32, "{name}, state {index}");
        }
    }
}
