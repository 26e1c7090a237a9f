//! The likelihood of what follows a context.

use super::{ItemProblem, values};
use std::collections::BTreeMap;
use tenuis_model::{Model, ModelError, Session, Tokenizer};

/// Turns texts into tokens that fit a model.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) max_positions: usize,
    /// Whether the tokenizer's special tokens stand before a text; a chat template has written them itself.
    pub(super) special_tokens: bool,
}

/// A text of which the tokens from `boundary` on are to be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    pub(super) tokens: Vec<u32>,
    /// At least 1, so that there is something to predict from, and less than there are tokens.
    pub(super) boundary: usize,
}

impl Encoder<'_> {
    /// A context, with the special tokens before it where they belong there.
    pub(super) fn context(&self, text: &str) -> Result<Vec<u32>, ItemProblem> {
        Ok(self.tokenizer.encode(text, self.special_tokens)?)
    }

    /// Encodes `text`, a context and what follows it, as a whole. The continuation begins where the tokens differ from
    /// those of the context alone.
    ///
    /// Encoded apart, a continuation would have tokens that no text has (many tokenizers join a space to the word
    /// after it, some put one before every text). Where a token reaches over the end of the context, the whole token
    /// counts as predicted: that is what the model is asked in earnest.
    pub(super) fn continuation(
        &self,
        context: &[u32],
        text: &str,
        (part, added): (&'static str, &str),
    ) -> Result<Continuation, ItemProblem> {
        let tokens = self.context(text)?;
        let boundary = context.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
        if boundary == 0 || boundary == tokens.len() {
            return Err(ItemProblem::NoTokens { part, text: added.to_owned() });
        }
        let (found, max_positions) = (tokens.len(), self.max_positions);
        if found > max_positions {
            return Err(ItemProblem::TooLong { part, tokens: found, max_positions });
        }
        Ok(Continuation { tokens, boundary })
    }
}

/// Calls `judge(logits, token)` for every predicted token of continuations of one context, with the logits that
/// predict it.
///
/// What all share is run once. The rest is run on copies of its keys and values, texts of equal length together.
pub(super) fn judge<T>(
    model: &Model,
    continuations: &[Continuation],
    judge: impl Fn(&[f32], u32) -> T,
) -> Result<Vec<Vec<T>>, ModelError> {
    let shared = continuations.iter().map(|c| c.boundary).min().unwrap_or_default();
    let longest = continuations.iter().map(|c| c.tokens.len() - 1).max().unwrap_or_default();
    let Some(first) = continuations.first() else { return Ok(Vec::new()) };
    let mut session = Session::new(model, continuations.len(), longest)?;
    let after_shared = values(&session.forward_of(&[0], &first.tokens[..shared])?)?;
    session.spread(0, shared)?;

    let mut judged: Vec<Vec<T>> = Vec::with_capacity(continuations.len());
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, Continuation { tokens, boundary }) in continuations.iter().enumerate() {
        judged
            .push((*boundary == shared).then(|| judge(&after_shared, tokens[shared])).into_iter().collect());
        // The last token predicts nothing.
        by_length.entry(tokens.len() - 1 - shared).or_default().push(index);
    }
    by_length.remove(&0);
    for (length, group) in by_length {
        let run = |&index: &usize| &continuations[index].tokens[shared..shared + length];
        let tokens: Vec<u32> = group.iter().flat_map(run).copied().collect();
        let logits = values(&session.forward_all_of(&group, &tokens)?)?;
        let vocab = logits.len() / tokens.len();
        for (&index, logits) in group.iter().zip(logits.chunks_exact(length * vocab)) {
            let Continuation { tokens, boundary } = &continuations[index];
            for (position, row) in (shared + 1..).zip(logits.chunks_exact(vocab)) {
                if position >= *boundary {
                    judged[index].push(judge(row, tokens[position]));
                }
            }
        }
    }
    Ok(judged)
}
