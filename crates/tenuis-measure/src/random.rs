//! Draws that a seed decides, on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of draws. Only the raw words of ChaCha are used, so that no other crate decides what a seed means.
#[derive(Clone, Debug)]
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A time from the exponential distribution of a mean, by inversion of a uniform draw in `(0, 1]`.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        // 53 bits fill a significand; 1 is added so that the logarithm of 0 is never taken.
        let uniform = ((self.0.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -mean * uniform.ln()
    }
}
