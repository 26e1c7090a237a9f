//! Answers that are written out.

use super::continuation::Encoder;
use super::{ItemProblem, values};
use crate::error::EvalError;
use crate::quality::log_sum_exp;
use tenuis_model::{DecodeStream, Model, Session, Tokenizer};
use tenuis_tasks::Stop;

/// Answers that are written together. The kernels compute up to so many rows each by itself, in any layout of the
/// weights, so that the answers are those that [`Model::generate`] gives; and with so many the weights are no longer
/// what takes the time.
const TOGETHER: usize = 8;

/// Bytes of keys and values that answers written together may take, for models that are large.
const CACHE_BYTES: usize = 256 << 20;

/// A prompt and how long its answer may be.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    /// The item's index.
    pub(super) index: usize,
    pub(super) tokens: Vec<u32>,
    /// Tokens of the reference answer.
    target_tokens: usize,
}

impl Prompt {
    /// Encodes a prompt. Where the task does not limit answers the reference has to fit too, since it says how long they may
    /// be.
    pub(super) fn new(
        (index, prompt, target): (usize, &str, &str),
        delimiter: &str,
        is_limited: bool,
        encoder: &Encoder<'_>,
    ) -> Result<Self, ItemProblem> {
        let tokens = encoder.context(prompt)?;
        let target_tokens = if is_limited {
            encoder.tokenizer.encode(target, false)?.len()
        } else {
            let whole = format!("{prompt}{delimiter}{target}");
            let whole = encoder.continuation(&tokens, &whole, ("answer", target))?;
            whole.tokens.len() - whole.boundary
        };
        let max_positions = encoder.max_positions;
        if tokens.is_empty() {
            return Err(ItemProblem::NoTokens { part: "prompt", text: prompt.to_owned() });
        }
        if tokens.len() >= max_positions {
            return Err(ItemProblem::TooLong { part: "prompt", tokens: tokens.len() + 1, max_positions });
        }
        Ok(Self { index, tokens, target_tokens })
    }
}

/// The prompts of a task, and how answers end.
#[derive(Clone, Debug)]
pub(super) struct Prompts {
    items: Vec<Prompt>,
    tokenizer: Tokenizer,
    eos: Vec<u32>,
    max_positions: usize,
    max_new_tokens: usize,
    stop: Stop,
}

impl Prompts {
    /// Without a limit an answer may be twice as long as the longest reference: longer ones have lost their way.
    pub(super) fn new(
        items: Vec<Prompt>,
        limit: Option<usize>,
        stop: Stop,
        tokenizer: &Tokenizer,
        model: &Model,
    ) -> Self {
        let longest = items.iter().map(|p| p.target_tokens).max().unwrap_or_default();
        let max_positions = model.spec().max_positions;
        Self {
            tokenizer: tokenizer.clone(),
            eos: model.eos_tokens(),
            max_positions,
            max_new_tokens: limit.unwrap_or(2 * longest).min(max_positions),
            stop,
            items,
        }
    }

    pub(super) const fn max_new_tokens(&self) -> usize {
        self.max_new_tokens
    }

    /// The most tokens that follow a prompt.
    fn room(&self, prompt: &Prompt) -> usize {
        self.max_new_tokens.min(self.max_positions - prompt.tokens.len())
    }

    /// Prompts whose answers are written together: those of like length, as far as the references tell.
    pub(super) fn groups(&self, model: &Model) -> Vec<Vec<&Prompt>> {
        let mut sorted: Vec<&Prompt> = self.items.iter().collect();
        sorted.sort_by_key(|prompt| prompt.target_tokens);
        let capacity = self.items.iter().map(|p| p.tokens.len() + self.room(p)).max().unwrap_or_default();
        let layers = model.spec().layers.iter();
        let values: usize = layers.map(|l| 2 * l.attention.n_kv * l.attention.head_dim).sum();
        let each = (capacity * values * size_of::<f32>()).max(1);
        sorted.chunks((CACHE_BYTES / each).clamp(1, TOGETHER)).map(<[_]>::to_vec).collect()
    }

    /// Writes answers, one token of each at a time; `None` where logits are not finite.
    pub(super) fn answers(&self, model: &Model, group: &[&Prompt]) -> Result<Vec<Option<String>>, EvalError> {
        let capacity = group.iter().map(|p| p.tokens.len() + self.room(p)).max().unwrap_or_default();
        let mut session = Session::new(model, group.len(), capacity)?;
        let mut answers = Vec::with_capacity(group.len());
        for (index, prompt) in group.iter().enumerate() {
            let mut answer = Answer::new(self, prompt);
            answer.push(&values(&session.forward_of(&[index], &prompt.tokens)?)?)?;
            answers.push(answer);
        }
        loop {
            let (writing, tokens): (Vec<usize>, Vec<u32>) = answers
                .iter()
                .enumerate()
                .filter_map(|(index, answer)| Some((index, answer.goes_on_after?)))
                .unzip();
            if writing.is_empty() {
                return Ok(answers.into_iter().map(|a| a.is_finite.then_some(a.text)).collect());
            }
            let logits = values(&session.forward_of(&writing, &tokens)?)?;
            for (row, index) in logits.chunks_exact(logits.len() / writing.len()).zip(writing) {
                answers[index].push(row)?;
            }
        }
    }
}

/// An answer that is being written.
struct Answer<'a> {
    prompts: &'a Prompts,
    stream: DecodeStream<'a>,
    text: String,
    /// The token that was chosen last; none where the answer is complete.
    goes_on_after: Option<u32>,
    room: usize,
    is_finite: bool,
}

impl<'a> Answer<'a> {
    fn new(prompts: &'a Prompts, prompt: &Prompt) -> Self {
        Self {
            prompts,
            stream: prompts.tokenizer.decode_stream(),
            text: String::new(),
            goes_on_after: None,
            room: prompts.room(prompt),
            is_finite: true,
        }
    }

    /// Takes the likeliest token.
    fn push(&mut self, logits: &[f32]) -> Result<(), EvalError> {
        let (token, sum) = log_sum_exp(logits);
        self.is_finite = sum.is_finite();
        self.room -= 1;
        let token = token as u32;
        if self.is_finite && !self.prompts.eos.contains(&token) {
            self.text.push_str(&self.stream.push(token)?.unwrap_or_default());
            self.goes_on_after = (self.room > 0 && !self.cut()).then_some(token);
        } else {
            self.goes_on_after = None;
        }
        Ok(())
    }

    /// Cuts the text off where the answer ends; whether it does.
    fn cut(&mut self) -> bool {
        let end = self.prompts.stop.find(&self.text);
        if let Some(end) = end {
            self.text.truncate(end);
        }
        end.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line's end ends an answer, one that follows `####` where references have several lines.
    fn stop(lines: bool) -> Stop {
        Stop { texts: vec!["\n".to_owned()], after: lines.then(|| "####".to_owned()) }
    }

    /// One after the other, the likeliest tokens spell `text`; returns what of it was taken.
    fn written(text: &str, lines: bool, eos: &str, max_new_tokens: usize) -> String {
        let tokenizer = Tokenizer::train(["abc #### 1"].into_iter(), 280, "<|end|>").unwrap();
        let prompt = Prompt { index: 0, tokens: vec![0], target_tokens: 0 };
        let eos = tokenizer.encode(eos, false).unwrap();
        let prompts = Prompts {
            items: vec![],
            eos,
            max_positions: usize::MAX,
            max_new_tokens,
            stop: stop(lines),
            tokenizer: tokenizer.clone(),
        };
        let mut answer = Answer::new(&prompts, &prompt);
        for token in tokenizer.encode(text, false).unwrap() {
            let mut logits = vec![0.0; 300];
            logits[token as usize] = 1.0;
            answer.push(&logits).unwrap();
            if answer.goes_on_after.is_none() {
                break;
            }
        }
        answer.text
    }

    #[test]
    fn an_answer_ends_at_its_line_s_end() {
        assert_eq!(written(" a. #### 4\nQuestion: b", false, "", 99), " a. #### 4");
        assert_eq!(written("\n a", false, "", 99), "");
        // References of several lines: the line of the result is the last.
        assert_eq!(written(" a\nb #### 4\nQuestion: b", true, "", 99), " a\nb #### 4");
        assert_eq!(written(" a\nb", true, "", 99), " a\nb");
        assert_eq!(written(" a #### 4<|end|>\n", false, "<|end|>", 99), " a #### 4");
        assert_eq!(written("xyz", false, "", 2), "xy");
    }

    #[test]
    fn logits_that_are_not_finite_end_an_answer() {
        let tokenizer = Tokenizer::train(["a"].into_iter(), 280, "<|end|>").unwrap();
        let prompt = Prompt { index: 0, tokens: vec![0], target_tokens: 1 };
        let prompts = Prompts {
            items: vec![prompt.clone()],
            tokenizer,
            eos: vec![],
            max_positions: 9,
            max_new_tokens: 4,
            stop: stop(false),
        };
        let mut answer = Answer::new(&prompts, &prompt);
        answer.push(&[0.0, f32::NAN]).unwrap();
        assert!(!answer.is_finite && answer.goes_on_after.is_none());
    }
}
