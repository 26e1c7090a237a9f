//! Texts whose last word is to be predicted.

use super::ItemProblem;
use super::continuation::{Continuation, Encoder, judge};
use crate::quality::log_sum_exp;
use tenuis_model::{Model, ModelError};
use tenuis_tasks::Outcome;

/// A text up to its last word's last letter.
#[derive(Clone, Debug)]
pub(super) struct LastWord {
    text: Continuation,
}

impl LastWord {
    pub(super) fn new(context: &str, continuation: &str, encoder: &Encoder<'_>) -> Result<Self, ItemProblem> {
        let tokens = encoder.context(context)?;
        let whole = format!("{context}{continuation}");
        Ok(Self { text: encoder.continuation(&tokens, &whole, ("last word", continuation))? })
    }

    /// The word's log-likelihood, a NaN where logits are not finite, and whether its tokens are the likeliest ones.
    pub(super) fn outcome(&self, model: &Model) -> Result<Outcome, ModelError> {
        let judged = judge(model, std::slice::from_ref(&self.text), |logits, token| {
            let (top, sum) = log_sum_exp(logits);
            (f64::from(logits[token as usize]) - sum, top == token as usize)
        })?;
        let (log_likelihoods, are_likeliest): (Vec<f64>, Vec<bool>) = judged.into_iter().flatten().unzip();
        Ok(Outcome::LastWord {
            log_likelihood: log_likelihoods.into_iter().sum(),
            is_likeliest: are_likeliest.into_iter().all(|is| is),
        })
    }
}
