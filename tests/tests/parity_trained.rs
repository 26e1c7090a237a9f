//! Perplexities of trained models on real text, as transformers computed them in f32. They need the folder of models
//! that `TENUIS_SHARED` names.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![expect(clippy::print_stderr, reason = "the figures are worth seeing beside the verdict")]

mod parity_support;

use parity_support::{open, shared};
use std::path::Path;
use tenuis_model::{GenerateOptions, Model, Tokenizer};

/// The references are printed with seven digits.
const TOLERANCE: f64 = 2e-6;

/// Windows that run at once.
const BATCH: usize = 16;

fn text(shared: &Path) -> String {
    std::fs::read_to_string(shared.join("data/tinystories_val.txt")).unwrap()
}

/// exp of the mean negative log-likelihood over `count` evenly spaced ones of all whole windows.
fn perplexity(model: &Model, tokens: &[u32], length: usize, count: Option<usize>) -> f64 {
    let all = tokens.len() / length;
    let count = count.unwrap_or(all);
    let starts: Vec<usize> = (0..count).map(|i| i * all / count * length).collect();
    let mut total = 0.0;
    for starts in starts.chunks(BATCH) {
        let batch: Vec<u32> = starts.iter().flat_map(|&s| tokens[s..s + length].to_vec()).collect();
        let logits = model.logits_vec(&batch, starts.len(), length).unwrap();
        for (index, row) in
            logits.chunks(model.spec().vocab).enumerate().filter(|(i, _)| (i + 1) % length != 0)
        {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&l| f64::from((l - largest).exp())).sum();
            total += sum.ln() - f64::from(row[batch[index + 1] as usize] - largest);
        }
    }
    (total / (count * (length - 1)) as f64).exp()
}

fn check(name: &str, length: usize, count: Option<usize>, wanted: f64) {
    let Some(shared) = shared() else { return };
    let dir = shared.join("models").join(name);
    let model = open(&dir);
    let tokenizer = Tokenizer::from_dir(&dir, model.spec().vocab).unwrap();
    let clock = std::time::Instant::now();
    let tokens = tokenizer.encode(&text(&shared), false).unwrap();
    eprintln!("{name}: {} tokens in {:.2?}", tokens.len(), clock.elapsed());
    assert_eq!(tokens.len(), 393_018);
    let clock = std::time::Instant::now();
    let found = perplexity(&model, &tokens, length, count);
    eprintln!("{name} at {length}: {found:.6} in {:.2?}", clock.elapsed());
    assert!((found / wanted - 1.0).abs() < TOLERANCE, "{name} at {length}: {found}, not {wanted}");
}

#[test]
fn tiny1m_all_windows() {
    if cfg!(debug_assertions) {
        return eprintln!("skipped: all 393,018 tokens take minutes without optimisation");
    }
    check("tiny1m", 128, None, 5.888_674);
}

#[test]
fn tiny1m_some_windows() {
    check("tiny1m", 128, Some(400), 6.050_065);
    check("tiny1m", 256, Some(200), 4.748_661);
}

#[test]
fn stories260k() {
    check("stories260k", 128, Some(400), 5.462_746);
    check("stories260k", 256, Some(200), 5.115_083);
}

/// A trained model tells a story, and the text comes out the same streamed or whole.
#[test]
fn generated_text() {
    let Some(shared) = shared() else { return };
    let dir = shared.join("models/stories260k");
    let model = open(&dir);
    let tokenizer = Tokenizer::from_dir(&dir, model.spec().vocab).unwrap();
    let prompt = tokenizer.encode("Once upon a time", true).unwrap();
    let mut options = GenerateOptions::default();
    options.max_new_tokens = 60;
    let new = model.generate(&prompt, &options, |_| std::ops::ControlFlow::Continue(())).unwrap();
    let all = [&prompt[..], &new].concat();
    let whole = tokenizer.decode(&all).unwrap();
    eprintln!("{whole}");
    assert!(whole.starts_with("Once upon a time, there was a"), "{whole}");
    let mut stream = tokenizer.decode_stream();
    let streamed: String = all.iter().filter_map(|&t| stream.push(t).unwrap()).collect();
    assert_eq!(streamed, whole);
}
