//! Which of the choices is the right one.

use crate::error::ItemProblem;
use crate::spec::AnswerForm;
use crate::template::{describe, text};
use minijinja::Value;

impl AnswerForm {
    const fn mend(self) -> &'static str {
        match self {
            Self::Index => "give an index, counted from 0",
            Self::Number => "give a number, counted from 1",
            Self::Letter => "give a letter, A for the first",
            Self::Label => "give one of the labels",
            Self::Text => "give one of the choices, letter by letter",
        }
    }

    /// The index of the right choice.
    pub(crate) fn find(
        self,
        value: &Value,
        choices: &[String],
        labels: Option<&[String]>,
    ) -> Result<usize, ItemProblem> {
        let refused =
            || ItemProblem::Answer { answer: describe(value), choices: choices.len(), mend: self.mend() };
        let written = text(value).ok_or_else(refused)?;
        let written = written.trim();
        let index = match self {
            Self::Index => written.parse().ok(),
            Self::Number => written.parse().ok().and_then(|number: usize| number.checked_sub(1)),
            Self::Letter => letter(written),
            Self::Label => labels.unwrap_or_default().iter().position(|label| label.trim() == written),
            Self::Text => choices.iter().position(|choice| choice.trim() == written),
        };
        index.filter(|&index| index < choices.len()).ok_or_else(refused)
    }
}

fn letter(written: &str) -> Option<usize> {
    let mut chars = written.chars();
    let letter = chars.next().filter(char::is_ascii_alphabetic)?.to_ascii_uppercase();
    chars.next().is_none().then_some(letter as usize - 'A' as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_finds_its_choice() {
        let choices = ["red", "green", "7"].map(str::to_owned);
        let labels = ["1", "2", "C"].map(str::to_owned);
        let find = |form: AnswerForm, value: Value| form.find(&value, &choices, Some(&labels)).ok();
        assert_eq!(find(AnswerForm::Index, Value::from(2)), Some(2));
        assert_eq!(find(AnswerForm::Index, Value::from("0")), Some(0));
        assert_eq!(find(AnswerForm::Index, Value::from("A")), None);
        assert_eq!(find(AnswerForm::Index, Value::from(3)), None);
        assert_eq!(find(AnswerForm::Index, Value::from(-1)), None);
        assert_eq!(find(AnswerForm::Index, Value::from(true)), None);
        assert_eq!(find(AnswerForm::Number, Value::from("1")), Some(0));
        assert_eq!(find(AnswerForm::Number, Value::from(0)), None);
        assert_eq!(find(AnswerForm::Letter, Value::from(" b ")), Some(1));
        assert_eq!(find(AnswerForm::Letter, Value::from("D")), None);
        assert_eq!(find(AnswerForm::Letter, Value::from("AB")), None);
        assert_eq!(find(AnswerForm::Label, Value::from("C")), Some(2));
        assert_eq!(find(AnswerForm::Label, Value::from(2)), Some(1));
        assert_eq!(find(AnswerForm::Text, Value::from(7)), Some(2));
        assert_eq!(find(AnswerForm::Text, Value::from("blue")), None);
    }
}
