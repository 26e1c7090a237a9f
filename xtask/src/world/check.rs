//! Finds evaluation items in a training text.

use super::Evaluation;
use super::sums::elementary;
use std::collections::HashSet;

/// An evaluation item that a training document holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of the evaluation occurs in the training text: {item:?}")]
pub(crate) struct Leak {
    what: &'static str,
    item: String,
}

/// What a training document must not hold. It works on the texts alone, as it has to doubt how they were made.
pub(crate) struct Guard {
    documents: HashSet<String>,
    questions: HashSet<String>,
    operands: HashSet<Vec<u32>>,
}

impl Guard {
    /// Collects the items of the evaluation sets.
    pub(crate) fn new(sets: &Evaluation) -> Self {
        let whole = sets.documents.iter().chain(&sets.stories).map(|text| text.trim_end().to_owned());
        let facts = sets.facts.iter().map(|fact| fact.question.to_lowercase());
        let problems = sets.problems.iter().map(|problem| problem.question.to_lowercase());
        let in_text = sets.documents.iter().flat_map(|text| word_problems(text));
        let asked = sets.problems.iter().map(|problem| problem.question.as_str());
        Self {
            documents: whole.collect(),
            questions: facts.chain(problems).collect(),
            operands: asked.chain(in_text).map(numbers).collect(),
        }
    }

    /// Looks for an evaluation item in a training document: the document itself, a story, a question anywhere in it,
    /// the operands of a word problem or of a worked sum.
    ///
    /// # Errors
    /// [`Leak`] with the first item found.
    pub(crate) fn inspect(&self, document: &str) -> Result<(), Leak> {
        let leak = |what, item: &str| Err(Leak { what, item: item.to_owned() });
        if self.documents.contains(document.trim_end()) {
            return leak("a document", document);
        }
        for line in document.lines() {
            for question in questions(line) {
                if self.questions.contains(&question.to_lowercase()) {
                    return leak("a question", question);
                }
            }
            if let Some(operands) = worked_operands(line).find(|&pair| self.reserves(pair)) {
                return leak("a sum", &format!("{operands:?}"));
            }
        }
        for question in word_problems(document) {
            if self.operands.contains(&numbers(question)) {
                return leak("a problem's operands", question);
            }
        }
        Ok(())
    }

    fn reserves(&self, operands: [u32; 2]) -> bool {
        let mut sorted = operands.to_vec();
        sorted.sort_unstable();
        !elementary(operands[0], operands[1]) && self.operands.contains(&sorted)
    }
}

/// The questions of word problems: those whose answer is worked.
fn word_problems(document: &str) -> impl Iterator<Item = &str> {
    let lines = document.lines();
    lines.clone().zip(lines.skip(1)).filter_map(|(line, next)| {
        let worked = next.starts_with("Answer: ") && next.contains("#### ");
        line.strip_prefix("Question: ").filter(|_| worked)
    })
}

/// Each question in a line: from where a sentence or speech begins up to the question mark, and the whole line.
fn questions(line: &str) -> impl Iterator<Item = &str> {
    let whole = line.strip_prefix("Question: ").unwrap_or(line);
    let marks = whole.match_indices('?').map(|(mark, _)| mark);
    let each = marks.flat_map(move |mark| {
        let before = &whole[..mark];
        let speech = before.rfind('"').map_or(0, |at| at + 1);
        let sentence = before.rfind(". ").map_or(0, |at| at + 2);
        [&whole[speech..=mark], &whole[sentence..=mark]]
    });
    each.chain(whole.ends_with('?').then_some(whole))
}

/// The two numbers of each `a + b` in a line, and of the other signs.
fn worked_operands(line: &str) -> impl Iterator<Item = [u32; 2]> {
    let signs = [" + ", " - ", " * ", " / "].into_iter();
    signs.flat_map(move |sign| {
        line.match_indices(sign).filter_map(move |(at, _)| {
            let (before, after) = (&line[..at], &line[at + sign.len()..]);
            let left = before.rfind(|c: char| !c.is_ascii_digit()).map_or(before, |at| &before[at + 1..]);
            let right = after.find(|c: char| !c.is_ascii_digit()).map_or(after, |at| &after[..at]);
            Some([left.parse().ok()?, right.parse().ok()?])
        })
    })
}

/// The numbers of a text, sorted: the operands of a word problem.
fn numbers(text: &str) -> Vec<u32> {
    let words = text.split(|c: char| !c.is_ascii_digit());
    let mut numbers: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}
