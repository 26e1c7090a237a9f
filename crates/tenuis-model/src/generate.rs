//! Continuing a prompt.

use crate::error::ModelError;
use crate::model::Model;
use crate::ops::with_values;
use crate::session::Session;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::ops::ControlFlow;

/// How to continue a prompt. The default is greedy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// The most tokens to add.
    pub max_new_tokens: usize,
    /// What logits are divided by before sampling; 0 takes the likeliest token every time.
    pub temperature: f64,
    /// Samples among so many likeliest tokens only.
    pub top_k: Option<usize>,
    /// Samples among the fewest likeliest tokens whose probabilities reach this sum (Holtzman et al. 2019, 1904.09751).
    pub top_p: Option<f64>,
    /// The seed; the same seed and logits give the same tokens on every machine.
    pub seed: u64,
    /// Tokens that end the text; the one that does is the last one returned.
    pub eos: Vec<u32>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { max_new_tokens: 128, temperature: 0.0, top_k: None, top_p: None, seed: 0, eos: Vec::new() }
    }
}

impl Model {
    /// The tokens that end a text: `eos_token_id` of `generation_config.json`, else of `config.json`; a number or a
    /// list.
    pub fn eos_tokens(&self) -> Vec<u32> {
        let checkpoint = self.checkpoint();
        let generation = std::fs::read(checkpoint.dir().join("generation_config.json")).ok();
        let generation: Option<Value> = generation.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let ids = generation
            .as_ref()
            .and_then(|g| g.get("eos_token_id"))
            .or_else(|| checkpoint.config().get("eos_token_id"));
        let number = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
        match ids {
            Some(Value::Array(ids)) => ids.iter().filter_map(number).collect(),
            Some(id) => number(id).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Continues a prompt and returns the new tokens; `on_token` sees each as it comes and may stop.
    ///
    /// # Errors
    /// [`ModelError::Tokens`] for an empty prompt, [`ModelError::Positions`] where a model with learned positions
    /// runs out of them, else as [`Session::forward`].
    pub fn generate(
        &self,
        prompt: &[u32],
        options: &GenerateOptions,
        mut on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Vec<u32>, ModelError> {
        let mut session = Session::new(self, 1, prompt.len().saturating_add(options.max_new_tokens))?;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut new = Vec::new();
        let mut logits = session.forward(prompt)?;
        while new.len() < options.max_new_tokens {
            let token = with_values(&logits, |logits| choose(logits, options, &mut rng))?;
            new.push(token);
            if on_token(token).is_break()
                || options.eos.contains(&token)
                || new.len() == options.max_new_tokens
            {
                break;
            }
            logits = session.forward(&[token])?;
        }
        Ok(new)
    }
}

fn choose(logits: &[f32], options: &GenerateOptions, rng: &mut ChaCha8Rng) -> u32 {
    if options.temperature <= 0.0 {
        return argmax(logits);
    }
    let mut candidates: Vec<(u32, f64)> = logits
        .iter()
        .enumerate()
        .map(|(token, &l)| (token as u32, f64::from(l) / options.temperature))
        .collect();
    // Ties keep the order of the vocabulary, so that the choice is the same everywhere.
    candidates.sort_by(|a, b| b.1.total_cmp(&a.1));
    candidates.truncate(options.top_k.unwrap_or(usize::MAX).max(1));
    let largest = candidates.first().map_or(0.0, |c| c.1);
    for (_, p) in &mut candidates {
        *p = (*p - largest).exp();
    }
    let total: f64 = candidates.iter().map(|c| c.1).sum();
    if let Some(top_p) = options.top_p {
        let mut reached = 0.0;
        let kept = candidates.iter().take_while(|c| {
            let wanted = reached < top_p * total;
            reached += c.1;
            wanted
        });
        let kept = kept.count().max(1);
        candidates.truncate(kept);
    }
    let total: f64 = candidates.iter().map(|c| c.1).sum();
    let mut draw = rng.random::<f64>() * total;
    for &(token, p) in &candidates {
        draw -= p;
        if draw < 0.0 {
            return token;
        }
    }
    candidates.last().map_or(0, |c| c.0)
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(options: &GenerateOptions) -> Vec<u32> {
        let logits = [0.0, 2.0, 1.0, 2.0, -1.0];
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        (0..2000).map(|_| choose(&logits, options, &mut rng)).collect()
    }

    fn options(temperature: f64) -> GenerateOptions {
        GenerateOptions { temperature, ..GenerateOptions::default() }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert!(draws(&options(0.0)).iter().all(|&t| t == 1));
    }

    #[test]
    fn a_seed_fixes_the_draws() {
        let seeded = |seed| draws(&GenerateOptions { seed, ..options(1.0) });
        assert_eq!(seeded(7), seeded(7));
        assert_ne!(seeded(7), seeded(8));
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let drawn = draws(&options(1.0));
        let weights = [0.0f64, 2.0, 1.0, 2.0, -1.0].map(f64::exp);
        let total: f64 = weights.iter().sum();
        for (token, weight) in weights.iter().enumerate() {
            let share = drawn.iter().filter(|&&t| t as usize == token).count() as f64 / drawn.len() as f64;
            // Four standard deviations of 2000 draws at the worst share.
            assert!((share - weight / total).abs() < 0.045, "token {token}: {share} of {}", weight / total);
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let two = draws(&GenerateOptions { top_k: Some(2), ..options(5.0) });
        assert!(two.iter().all(|t| [1, 3].contains(t)) && two.contains(&1) && two.contains(&3));
        // The two likeliest hold 0.79 of the probability, so 0.7 needs both and 0.3 only the first.
        let most = draws(&GenerateOptions { top_p: Some(0.7), ..options(1.0) });
        assert!(most.iter().all(|t| [1, 3].contains(t)) && most.contains(&3));
        let first = draws(&GenerateOptions { top_p: Some(0.3), ..options(1.0) });
        assert!(first.iter().all(|&t| t == 1));
    }
}
