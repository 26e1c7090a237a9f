//! Problems whose answer is written out.

use super::continuation::Encoder;
use super::lines::Line;
use super::{ItemProblem, Verdict, values};
use crate::error::EvalError;
use crate::quality::log_sum_exp;
use tenuis_model::{DecodeStream, Model, Session, Tokenizer};

/// What stands before a result.
const MARK: &str = "####";

/// Answers that are written together. The kernels compute up to so many rows each by itself, in any layout of the
/// weights, so that the answers are those that [`Model::generate`] gives; and with so many the weights are no longer
/// what takes the time.
const TOGETHER: usize = 8;

/// Bytes of keys and values that answers written together may take, for models that are large.
const CACHE_BYTES: usize = 256 << 20;

/// A problem and its result.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) prompt: Vec<u32>,
    result: String,
    /// Tokens of the reference answer.
    answer_tokens: usize,
    /// Whether the reference answer has more than one line.
    lines: bool,
}

impl Problem {
    /// `None` is an answer that could not be written.
    fn is_solved(&self, answer: Option<&str>) -> Verdict {
        answer.map_or(Verdict::NotFinite, |text| (result(text).as_ref() == Some(&self.result)).into())
    }
}

pub(super) fn problem(line: &Line<'_>, encoder: &Encoder<'_>) -> Result<Problem, ItemProblem> {
    let (question, answer) = (line.text("question")?, line.text("answer")?);
    let result = result(answer).filter(|result| !result.is_empty()).ok_or(ItemProblem::NoResult)?;
    let text = format!("Question: {question}\nAnswer:");
    let prompt = encoder.context(&text)?;
    let whole = encoder.continuation(&prompt, &format!("{text} {answer}"), ("answer", answer))?;
    let answer_tokens = whole.tokens.len() - whole.boundary;
    let max_positions = encoder.max_positions;
    if prompt.len() >= max_positions {
        return Err(ItemProblem::TooLong { key: "question", tokens: prompt.len() + 1, max_positions });
    }
    Ok(Problem { prompt, result, answer_tokens, lines: answer.trim().contains('\n') })
}

/// What follows the last mark on its line, without commas and a final full stop.
fn result(answer: &str) -> Option<String> {
    let (_, after) = answer.rsplit_once(MARK)?;
    let line = after.trim_start_matches(' ').lines().next().unwrap_or_default();
    Some(line.replace(',', "").trim().trim_end_matches('.').trim_end().to_owned())
}

/// The problems of a file, and how answers end.
#[derive(Clone, Debug)]
pub(super) struct Problems {
    items: Vec<Problem>,
    tokenizer: Tokenizer,
    eos: Vec<u32>,
    max_positions: usize,
    max_new_tokens: usize,
    /// Whether reference answers have several lines, as GSM8K's do; then an answer ends with the line of its result.
    lines: bool,
}

impl Problems {
    /// An answer may be twice as long as the longest reference: longer ones have lost their way.
    pub(super) fn new(problems: Vec<Problem>, tokenizer: &Tokenizer, model: &Model) -> Self {
        let longest = problems.iter().map(|p| p.answer_tokens).max().unwrap_or_default();
        Self {
            tokenizer: tokenizer.clone(),
            eos: model.eos_tokens(),
            max_positions: model.spec().max_positions,
            max_new_tokens: (2 * longest).min(model.spec().max_positions),
            lines: problems.iter().any(|p| p.lines),
            items: problems,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn max_new_tokens(&self) -> usize {
        self.max_new_tokens
    }

    /// The most tokens that follow a prompt.
    fn room(&self, problem: &Problem) -> usize {
        self.max_new_tokens.min(self.max_positions - problem.prompt.len())
    }

    /// Problems whose answers are written together: those of like length, as far as the references tell.
    pub(super) fn groups(&self, model: &Model) -> Vec<Vec<&Problem>> {
        let mut sorted: Vec<&Problem> = self.items.iter().collect();
        sorted.sort_by_key(|problem| problem.answer_tokens);
        let capacity = self.items.iter().map(|p| p.prompt.len() + self.room(p)).max().unwrap_or_default();
        let layers = model.spec().layers.iter();
        let values: usize = layers.map(|l| 2 * l.attention.n_kv * l.attention.head_dim).sum();
        let each = (capacity * values * size_of::<f32>()).max(1);
        sorted.chunks((CACHE_BYTES / each).clamp(1, TOGETHER)).map(<[_]>::to_vec).collect()
    }

    pub(super) fn are_solved(&self, model: &Model, group: &[&Problem]) -> Result<Vec<Verdict>, EvalError> {
        let answers = self.answers(model, group)?;
        Ok(answers.iter().zip(group).map(|(answer, problem)| problem.is_solved(answer.as_deref())).collect())
    }

    /// Writes answers, one token of each at a time; `None` where logits are not finite.
    pub(super) fn answers(
        &self,
        model: &Model,
        group: &[&Problem],
    ) -> Result<Vec<Option<String>>, EvalError> {
        let capacity = group.iter().map(|p| p.prompt.len() + self.room(p)).max().unwrap_or_default();
        let mut session = Session::new(model, group.len(), capacity)?;
        let mut answers = Vec::with_capacity(group.len());
        for (index, problem) in group.iter().enumerate() {
            let mut answer = Answer::new(self, problem);
            answer.push(&values(&session.forward_of(&[index], &problem.prompt)?)?)?;
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
    problems: &'a Problems,
    stream: DecodeStream<'a>,
    text: String,
    /// The token that was chosen last; none where the answer is complete.
    goes_on_after: Option<u32>,
    room: usize,
    is_finite: bool,
}

impl<'a> Answer<'a> {
    fn new(problems: &'a Problems, problem: &Problem) -> Self {
        Self {
            problems,
            stream: problems.tokenizer.decode_stream(),
            text: String::new(),
            goes_on_after: None,
            room: problems.room(problem),
            is_finite: true,
        }
    }

    /// Takes the likeliest token.
    fn push(&mut self, logits: &[f32]) -> Result<(), EvalError> {
        let (token, sum) = log_sum_exp(logits);
        self.is_finite = sum.is_finite();
        self.room -= 1;
        let token = token as u32;
        if self.is_finite && !self.problems.eos.contains(&token) {
            self.text.push_str(&self.stream.push(token)?.unwrap_or_default());
            self.goes_on_after = (self.room > 0 && !self.cut()).then_some(token);
        } else {
            self.goes_on_after = None;
        }
        Ok(())
    }

    /// Cuts the text off where the answer ends; whether it does.
    fn cut(&mut self) -> bool {
        let start = match (self.problems.lines, self.text.find(MARK)) {
            (false, _) => 0,
            (true, Some(mark)) => mark,
            (true, None) => return false,
        };
        match self.text[start..].find('\n') {
            Some(end) => self.text.truncate(start + end),
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_what_follows_the_last_mark() {
        let found = |answer| result(answer).unwrap();
        assert_eq!(found("20 / 5: 5 (1). #### 4"), "4");
        assert_eq!(found("#### 3 no #### 1,234.\nand more"), "1234");
        assert_eq!(found("####  -7 . "), "-7");
        assert_eq!(found("####"), "");
        assert_eq!(found("#### 4 apples"), "4 apples");
        assert_eq!(result("the answer is 4"), None);
    }

    #[test]
    fn the_result_alone_counts() {
        let problem = Problem { prompt: vec![], result: "1234".to_owned(), answer_tokens: 1, lines: false };
        assert_eq!(problem.is_solved(Some(" 1 + 1. #### 1,234.")), Verdict::Right);
        assert_eq!(problem.is_solved(Some(" #### 1234 coins")), Verdict::Wrong);
        assert_eq!(problem.is_solved(Some(" 1234")), Verdict::Wrong);
        assert_eq!(problem.is_solved(None), Verdict::NotFinite);
    }

    /// One after the other, the likeliest tokens spell `text`; returns what of it was taken.
    fn written(text: &str, lines: bool, eos: &str, max_new_tokens: usize) -> String {
        let tokenizer = Tokenizer::train(["abc #### 1"].into_iter(), 280, "<|end|>").unwrap();
        let problem = Problem { prompt: vec![0], result: String::new(), answer_tokens: 0, lines };
        let eos = tokenizer.encode(eos, false).unwrap();
        let problems = Problems {
            items: vec![],
            eos,
            max_positions: usize::MAX,
            max_new_tokens,
            lines,
            tokenizer: tokenizer.clone(),
        };
        let mut answer = Answer::new(&problems, &problem);
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
        let problem = Problem { prompt: vec![0], result: String::new(), answer_tokens: 1, lines: false };
        let problems = Problems {
            items: vec![problem.clone()],
            tokenizer,
            eos: vec![],
            max_positions: 9,
            max_new_tokens: 4,
            lines: false,
        };
        let mut answer = Answer::new(&problems, &problem);
        answer.push(&[0.0, f32::NAN]).unwrap();
        assert!(!answer.is_finite && answer.goes_on_after.is_none());
    }
}
