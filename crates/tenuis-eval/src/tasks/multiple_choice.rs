//! Questions with choices.

use super::continuation::{Continuation, Encoder, judge};
use super::lines::Line;
use super::{ItemProblem, Verdict};
use crate::quality::log_sum_exp;
use tenuis_model::{Model, ModelError};

/// A question, tokenised with each of its choices.
#[derive(Clone, Debug)]
pub(super) struct Question {
    choices: Vec<Continuation>,
    answer: usize,
}

impl Question {
    pub(super) fn new(line: &Line<'_>, encoder: &Encoder<'_>) -> Result<Self, ItemProblem> {
        let prompt = format!("Question: {}\nAnswer:", line.text("question")?);
        let texts = line.texts("choices")?;
        if texts.len() < 2 {
            return Err(ItemProblem::Choices);
        }
        let index = line.index("answer")?;
        let out_of_range = || ItemProblem::Answer { answer: index, choices: texts.len() };
        let answer = usize::try_from(index).ok().filter(|&answer| answer < texts.len());
        let answer = answer.ok_or_else(out_of_range)?;
        let context = encoder.context(&prompt)?;
        let choice =
            |&text: &&str| encoder.continuation(&context, &format!("{prompt} {text}"), ("choices", text));
        Ok(Self { choices: texts.iter().map(choice).collect::<Result<_, _>>()?, answer })
    }

    /// The probability that a blind guess is right.
    pub(super) fn chance(&self) -> f64 {
        1.0 / self.choices.len() as f64
    }

    pub(super) fn is_answered(&self, model: &Model) -> Result<Verdict, ModelError> {
        let likelihoods = self.log_likelihoods(model)?;
        if likelihoods.iter().any(|l| !l.is_finite()) {
            return Ok(Verdict::NotFinite);
        }
        let mut best = 0;
        for (index, &likelihood) in likelihoods.iter().enumerate() {
            if likelihood > likelihoods[best] {
                best = index;
            }
        }
        Ok((best == self.answer).into())
    }

    /// `Σᵢ log p(tokenᵢ | all before it)` of every choice, in nats.
    pub(super) fn log_likelihoods(&self, model: &Model) -> Result<Vec<f64>, ModelError> {
        let judged = judge(model, &self.choices, |logits, token| {
            f64::from(logits[token as usize]) - log_sum_exp(logits).1
        })?;
        Ok(judged.into_iter().map(|tokens| tokens.into_iter().sum()).collect())
    }
}
