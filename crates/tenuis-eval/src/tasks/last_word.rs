//! Texts whose last word is to be predicted.

use super::continuation::{Continuation, Encoder, judge};
use super::lines::Line;
use super::{ItemProblem, Verdict};
use crate::quality::log_sum_exp;
use tenuis_model::{Model, ModelError};

/// A text up to its last word's last letter.
#[derive(Clone, Debug)]
pub(super) struct LastWord {
    text: Continuation,
}

impl LastWord {
    pub(super) fn new(line: &Line<'_>, encoder: &Encoder<'_>) -> Result<Self, ItemProblem> {
        let (context, word) = split(line.text("text")?)?;
        let tokens = encoder.context(context.0)?;
        Ok(Self { text: encoder.continuation(&tokens, context.1, ("text", word))? })
    }

    pub(super) fn is_found(&self, model: &Model) -> Result<Verdict, ModelError> {
        let judged = judge(model, std::slice::from_ref(&self.text), |logits, token| {
            let (top, sum) = log_sum_exp(logits);
            sum.is_finite().then_some(top == token as usize)
        })?;
        let tokens: Option<Vec<bool>> = judged.into_iter().flatten().collect();
        Ok(tokens.map_or(Verdict::NotFinite, |tokens| tokens.into_iter().all(|found| found).into()))
    }
}

/// `((context, context and word), word)`. Words are what whitespace separates, and the last one loses what is neither
/// letter nor digit at its end.
fn split(text: &str) -> Result<((&str, &str), &str), ItemProblem> {
    let text = text.trim();
    let (before, last) = text.rsplit_once(char::is_whitespace).ok_or(ItemProblem::OneWord)?;
    let word = last.trim_end_matches(|c: char| !c.is_alphanumeric());
    if word.is_empty() {
        return Err(ItemProblem::NoWord { word: last.to_owned() });
    }
    let whole = &text[..text.len() - (last.len() - word.len())];
    Ok(((before.trim_end(), whole), word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_loses_its_punctuation() {
        let parts = |text| split(text).unwrap();
        assert_eq!(
            parts("At the gate of Wexcombe."),
            (("At the gate of", "At the gate of Wexcombe"), "Wexcombe")
        );
        assert_eq!(parts("\"So,\" he said,  \"to Bob!\" \n").1, "Bob");
        assert_eq!(parts("a  b").0, ("a", "a  b"));
        assert_eq!(parts("it was Mary's").1, "Mary's");
        assert_eq!(parts("zurück nach Köln…"), (("zurück nach", "zurück nach Köln"), "Köln"));
    }
}
