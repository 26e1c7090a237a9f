//! Small random checkpoints of every family against logits and hidden states that transformers computed.

mod parity_support;

use parity_support::{Expected, TOLERANCE, assert_close, data, open, values};
use std::path::PathBuf;
use tenuis_model::{Model, Session, Tap};
use tenuis_spec::MlpSpec;
use tenuis_tests::fixture::FIXTURES;

fn fixture(name: &str) -> (Model, Expected) {
    let dir: PathBuf = data("parity").join(name);
    (open(&dir), Expected::read(&dir.join("expected.safetensors")))
}

#[test]
fn logits_and_hidden_states() {
    for name in FIXTURES {
        let (model, expected) = fixture(name);
        let (tokens, batch, seq) = expected.tokens();
        let logits = model.logits(&tokens, batch, seq).unwrap();
        assert_eq!(logits.dims(), [batch, seq, model.spec().vocab]);
        assert_close(&format!("{name} logits"), expected.values("logits"), &values(&logits), TOLERANCE);
        assert_eq!(model.logits_vec(&tokens, batch, seq).unwrap(), values(&logits));

        let states = model.hidden_states(&tokens, batch, seq).unwrap();
        let stored = expected.names().filter(|n| n.starts_with("hidden_states.")).count();
        assert_eq!(states.len(), stored, "{name}: number of hidden states");
        for (index, state) in states.iter().enumerate() {
            let key = format!("hidden_states.{index}");
            assert_close(&format!("{name} {key}"), expected.values(&key), &values(state), TOLERANCE);
        }
    }
}

/// A prompt at once, then single positions, then a run of them on top of the cache: the longest run is past the
/// window of the fixture that has one.
#[test]
fn cached_positions() {
    for name in FIXTURES {
        let (model, expected) = fixture(name);
        let (tokens, batch, seq) = expected.tokens();
        let part = |from: usize, to: usize| -> Vec<u32> {
            tokens.chunks(seq).flat_map(|sequence| sequence[from..to].to_vec()).collect()
        };
        let mut session = Session::new(&model, batch, seq).unwrap();
        for (from, to) in [(0, 5), (5, 6), (6, 7), (7, 19), (19, 20), (20, seq)] {
            let logits = session.forward_all(&part(from, to)).unwrap();
            let wanted = expected.positions("logits", from..to);
            assert_close(&format!("{name} logits at {from}..{to}"), &wanted, &values(&logits), TOLERANCE);
        }
        session.reset();
        let last = session.forward(&tokens).unwrap();
        assert_eq!(last.dims(), [batch, model.spec().vocab]);
        let wanted = expected.positions("logits", seq - 1..seq);
        assert_close(&format!("{name} last logits"), &wanted, &values(&last), TOLERANCE);
        assert!(session.forward(&part(0, 1)).is_err(), "{name}: a position beyond the room");
    }
}

/// Blocks run one by one, each loaded for itself, give what the whole model gives, and a tap sees the input of every
/// group of Linears once and in order.
#[test]
fn block_by_block() {
    struct Seen(Vec<(usize, usize)>);
    impl Tap for Seen {
        fn input(&mut self, group: usize, x: &[f32]) {
            assert!(x.iter().all(|v| v.is_finite()));
            self.0.push((group, x.len()));
        }
    }
    for name in FIXTURES {
        let (model, expected) = fixture(name);
        let (tokens, batch, seq) = expected.tokens();
        let mut hidden = model.embed(&tokens, batch, seq, 0).unwrap();
        for index in 0..model.spec().layers.len() {
            let block = model.load_block(index).unwrap();
            let mut seen = Seen(Vec::new());
            hidden = block.forward(&hidden, Some(&mut seen)).unwrap();
            let groups = block.spec().groups();
            let order: Vec<usize> = seen.0.iter().map(|(group, _)| *group).collect();
            assert!(order.iter().copied().eq(0..groups.len()), "{name} block {index}: {order:?}");
            let rows: Vec<usize> =
                groups.iter().zip(&seen.0).map(|(group, (_, values))| values / group.in_features()).collect();
            let experts = match &block.spec().mlp {
                MlpSpec::Experts { top_k, experts, .. } => Some((*top_k, experts.len())),
                _ => None,
            };
            match experts {
                None => {
                    assert!(rows.iter().all(|&rows| rows == batch * seq), "{name} block {index}: {rows:?}");
                }
                // Every token is given to so many experts, whose two groups see the same of them.
                Some((top_k, experts)) => {
                    assert_eq!(rows[2..2 + experts], rows[2 + experts..], "{name} block {index}");
                    assert_eq!(rows[2..2 + experts].iter().sum::<usize>(), top_k * batch * seq, "{name}");
                }
            }
            model.release_block(index);
        }
        let logits = model.head(&hidden).unwrap();
        assert_close(&format!("{name} logits"), expected.values("logits"), &values(&logits), TOLERANCE);
        assert_eq!(values(&logits), values(&model.logits(&tokens, batch, seq).unwrap()), "{name}");
    }
}

/// Every Linear, given the input that the tap saw, is `W x + b` of its own dense weight.
#[test]
fn linears_multiply_with_their_weight() {
    struct Inputs(Vec<Vec<f32>>);
    impl Tap for Inputs {
        fn input(&mut self, _group: usize, x: &[f32]) {
            self.0.push(x.to_vec());
        }
    }
    for name in ["llama_linear_headdim", "gpt2"] {
        let (model, expected) = fixture(name);
        let (tokens, batch, seq) = expected.tokens();
        let block = model.load_block(0).unwrap();
        let mut inputs = Inputs(Vec::new());
        block.forward(&model.embed(&tokens, batch, seq, 0).unwrap(), Some(&mut inputs)).unwrap();
        for (group, x) in block.spec().groups().iter().zip(&inputs.0) {
            for spec in &group.linears {
                let linear = block.linears().iter().find(|l| l.spec() == spec).unwrap();
                let input = candle_core::Tensor::from_slice(
                    x,
                    (batch, seq, spec.shape[1]),
                    &candle_core::Device::Cpu,
                );
                let found = values(&linear.forward(&input.unwrap()).unwrap());
                let dense = block.weight(&spec.name).unwrap().to_dense().unwrap();
                let bias = block.bias(&spec.name).unwrap();
                let wanted: Vec<f64> = x
                    .chunks(spec.shape[1])
                    .flat_map(|x| {
                        dense.chunks(spec.shape[1]).zip(bias).map(move |(w, &b)| {
                            w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>()
                                + f64::from(b)
                        })
                    })
                    .collect();
                assert_close(&spec.name, &wanted, &found, TOLERANCE);
            }
        }
    }
}

#[test]
fn dropped_blocks_come_back() {
    let (model, expected) = fixture("qwen2");
    let (tokens, batch, seq) = expected.tokens();
    let empty = model.resident_bytes();
    let first = model.logits_vec(&tokens, batch, seq).unwrap();
    let full = model.resident_bytes();
    assert!(full > empty + model.checkpoint().tensor_bytes() / 2, "{empty} to {full} bytes");
    model.drop_blocks();
    assert_eq!(model.resident_bytes(), empty);
    assert_eq!(model.logits_vec(&tokens, batch, seq).unwrap(), first);
}
