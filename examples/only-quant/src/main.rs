//! Quantises one matrix to four bits with `tenuis-quant` alone.
//!
//! The layer computes `y = x · Wᵀ`. Rounding every weight to the nearest grid point (RTN) ignores what the inputs
//! look like; GPTQ sees from `XᵀX` which inputs occur together, and lets later weights make up for the errors of
//! earlier ones. Both results have the same size; they differ in how far the outputs move.

use std::error::Error;
use tenuis_quant::linalg::{LayerStats, StatsNeeds};
use tenuis_quant::{GptqConfig, GroupSizing, QuantError, RtnConfig, gptq, proxy_error, rtn};

const OUT_FEATURES: usize = 96;
const IN_FEATURES: usize = 256;
const TOKENS: usize = 2048;

fn main() -> Result<(), Box<dyn Error>> {
    // A weight [out_features, in_features], row-major, and inputs whose channels are correlated, as real ones are.
    let mut random = Random(1);
    let shape = [OUT_FEATURES, IN_FEATURES];
    let weight: Vec<f32> = (0..OUT_FEATURES * IN_FEATURES).map(|_| 0.05 * random.next()).collect();

    // Statistics grow batch by batch, so the inputs never have to be in memory at once.
    let mut stats = LayerStats::new(IN_FEATURES, StatsNeeds { hessian: true, moments: false });
    for _ in 0..TOKENS / 256 {
        stats.update(&batch(&mut random, 256))?;
    }
    let hessian = stats.gram().ok_or("statistics without a Hessian")?.view();

    // Groups of 64 columns share a scale; everything else is as published.
    let mut rtn_config = RtnConfig::default();
    rtn_config.group_size = GroupSizing::Columns(64);
    let mut gptq_config = GptqConfig::default();
    gptq_config.group_size = GroupSizing::Columns(64);

    let rounded = rtn(&weight, shape, &rtn_config)?;
    let compensated = gptq(&weight, shape, hessian, stats.rows(), &gptq_config)?;

    println!("{OUT_FEATURES}×{IN_FEATURES}, 4 bits, groups of 64 columns, {} tokens", stats.rows());
    for (name, quantized) in [("RTN", &rounded), ("GPTQ", &compensated)] {
        // ‖X·Wᵀ − X·Ŵᵀ‖², from XᵀX alone.
        let error = proxy_error(&weight, &quantized.weight, hessian)?;
        println!("{name:>5}: squared output error {error:10.3}");
    }
    if let Some(reason) = &compensated.report.fallback {
        println!("GPTQ fell back to rounding: {reason}");
    }

    // The result as numbers: the codes and scales of a row.
    let mut codes = vec![0; IN_FEATURES];
    let mut scales = vec![0.0; compensated.weight.groups()];
    compensated.weight.codes_row(0, &mut codes);
    compensated.weight.scales_row(0, &mut scales)?;
    println!("row 0: codes {:?}…, scales {scales:?}", &codes[..8]);

    // A mistake is a value that says what is wrong.
    gptq_config.group_size = GroupSizing::Columns(48);
    match gptq(&weight, shape, hessian, stats.rows(), &gptq_config) {
        Err(error @ QuantError::GroupSize { .. }) => println!("groups of 48: {error}"),
        other => return Err(format!("48 does not divide {IN_FEATURES}, and yet: {other:?}").into()),
    }
    Ok(())
}

/// Tokens whose channels follow their neighbours, some of them ten times as loud.
fn batch(random: &mut Random, tokens: usize) -> Vec<f32> {
    let mut x = Vec::with_capacity(tokens * IN_FEATURES);
    for _ in 0..tokens {
        let mut before = 0.0;
        for channel in 0..IN_FEATURES {
            let loudness = if channel % 32 == 5 { 10.0 } else { 1.0 };
            before = 0.8 * before + random.next();
            x.push(loudness * before);
        }
    }
    x
}

/// A small generator, uniform in −1..1, so that the example needs no other crate.
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}
