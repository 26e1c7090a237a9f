//! A random Llama against logits that transformers computed in f64, and against its greedy continuation.

mod parity_support;

use parity_support::{Expected, assert_close, data, open, values};
use std::ops::ControlFlow;
use tenuis_model::GenerateOptions;

/// f32 against f64: rounding through two layers, measured 2e-6.
const ROUNDING: f64 = 1e-5;

#[test]
fn logits_in_double_precision() {
    let (model, expected) = (open(&data("micro_llama")), expected());
    let (tokens, batch, seq) = expected.tokens();
    let logits = model.logits(&tokens, batch, seq).unwrap();
    assert_close("logits", expected.values("logits_f64"), &values(&logits), ROUNDING);
    for (index, state) in model.hidden_states(&tokens, batch, seq).unwrap().iter().enumerate() {
        let name = format!("hidden_{index}");
        assert_close(&name, expected.values(&name), &values(state), ROUNDING);
    }
}

/// Mean cross-entropy of the next token, as transformers' loss.
#[test]
fn loss() {
    let (model, expected) = (open(&data("micro_llama")), expected());
    let (tokens, batch, seq) = expected.tokens();
    let vocab = model.spec().vocab;
    let logits = model.logits_vec(&tokens, batch, seq).unwrap();
    let mut total = 0.0;
    for (index, row) in logits.chunks(vocab).enumerate().filter(|(i, _)| (i + 1) % seq != 0) {
        let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        total += sum.ln() - f64::from(row[tokens[index + 1] as usize]);
    }
    let loss = total / (batch * (seq - 1)) as f64;
    let wanted = expected.values("loss")[0];
    // The reference was stored as f32.
    assert!((loss - wanted).abs() < 1e-5, "{loss}, not {wanted}");
}

#[test]
fn greedy_continuation() {
    let (model, expected) = (open(&data("micro_llama")), expected());
    let wanted: Vec<u32> = expected.values("greedy").iter().map(|&v| v as u32).collect();
    let (prompt, rest) = wanted.split_at(8);
    let mut options = GenerateOptions::default();
    options.max_new_tokens = rest.len();
    let mut seen = Vec::new();
    let new = model.generate(prompt, &options, |token| {
        seen.push(token);
        ControlFlow::Continue(())
    });
    assert_eq!(new.unwrap(), rest);
    assert_eq!(seen, rest);

    // Stops after an end token, and where the caller says so.
    options.eos = vec![rest[3]];
    let first = rest.iter().position(|t| *t == rest[3]).unwrap();
    let stopped = model.generate(prompt, &options, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(stopped, &rest[..=first]);
    options.eos.clear();
    assert_eq!(model.generate(prompt, &options, |_| ControlFlow::Break(())).unwrap(), &rest[..1]);
}

fn expected() -> Expected {
    Expected::read(&data("micro_llama").join("expected.safetensors"))
}
