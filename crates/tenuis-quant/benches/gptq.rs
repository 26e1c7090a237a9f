//! GPTQ and rounding to nearest.
use criterion::{criterion_group, criterion_main, Criterion};
fn gptq(_: &mut Criterion) {}
criterion_group!(benches, gptq);
criterion_main!(benches);
