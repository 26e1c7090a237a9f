//! Continuations to choose from.

use super::ItemProblem;
use super::continuation::{Continuation, Encoder, judge};
use crate::quality::log_sum_exp;
use tenuis_model::{Model, ModelError};
use tenuis_tasks::Variant;

/// The variants of an item, tokenised.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    variants: Vec<Continuation>,
}

impl Choices {
    pub(super) fn new(variants: &[Variant], encoder: &Encoder<'_>) -> Result<Self, ItemProblem> {
        let mut context: Option<(&str, Vec<u32>)> = None;
        let mut encoded = Vec::with_capacity(variants.len());
        for Variant { context: text, continuation, .. } in variants {
            // Most tasks give one context to all.
            let tokens = match &context {
                Some((of, tokens)) if of == text => tokens,
                _ => &context.insert((text, encoder.context(text)?)).1,
            };
            let whole = format!("{text}{continuation}");
            encoded.push(encoder.continuation(tokens, &whole, ("choice", continuation))?);
        }
        Ok(Self { variants: encoded })
    }

    /// `Σᵢ log p(tokenᵢ | all before it)` of every continuation, in nats.
    ///
    /// What contexts share is run once.
    pub(super) fn log_likelihoods(&self, model: &Model) -> Result<Vec<f64>, ModelError> {
        let mut sums = Vec::with_capacity(self.variants.len());
        for group in self.groups() {
            let judged = judge(model, group, |logits, token| {
                f64::from(logits[token as usize]) - log_sum_exp(logits).1
            })?;
            sums.extend(judged.into_iter().map(|tokens| tokens.into_iter().sum::<f64>()));
        }
        Ok(sums)
    }

    /// Neighbours with the same context.
    fn groups(&self) -> impl Iterator<Item = &[Continuation]> {
        self.variants.chunk_by(|a, b| {
            let shared = a.boundary.min(b.boundary);
            a.tokens[..shared] == b.tokens[..shared]
        })
    }
}
