//! What of a written answer is judged.

use crate::error::SpecProblem;
use regex::Regex;
use serde::{Deserialize, Serialize};

/// Which part of an answer counts.
///
/// In TOML a name alone, or a table: `extract = "last_number"`, `extract = { after = { marker = "####" } }`,
/// `extract = { regex = { pattern = "answer is (\\w+)", group = 1, occurrence = "last" } }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Extract {
    /// All of it, without white space at its ends.
    #[default]
    Whole,
    /// Its first line that is not blank.
    FirstLine,
    /// Its last number, without thousands separators and currency sign.
    LastNumber,
    /// The letter of a choice: the one that follows `answer` or `答案`, else the first capital letter from A to J that
    /// stands alone.
    Letter,
    /// What follows a marker's last occurrence, up to the line's end.
    After {
        /// The marker.
        marker: String,
    },
    /// A group of a pattern's match.
    Regex {
        /// The pattern, in the syntax of the crate `regex`.
        pattern: String,
        /// The group; 0 is the whole match.
        #[serde(default = "first_group")]
        group: usize,
        /// Which match counts.
        #[serde(default)]
        occurrence: Occurrence,
    },
}

const fn first_group() -> usize {
    1
}

/// Which of several matches counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occurrence {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

/// A number, a currency sign before it and commas between its digits included.
const NUMBER: &str = r"-?\$?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)";

/// A letter that is announced as the answer.
const ANNOUNCED: &str = r"(?i:answer|答案)(?i:\s|is|:|：|是|为|\*|\()*([A-J])(?:[^A-Za-z]|$)";

/// A letter that stands alone.
const ALONE: &str = r"(?:^|[^A-Za-z])([A-J])(?:[^A-Za-z']|$)";

/// Patterns that were parsed.
#[derive(Clone, Debug)]
pub(crate) enum Extractor {
    Whole,
    FirstLine,
    LastNumber(Regex),
    Letter([Regex; 2]),
    After(String),
    Regex { pattern: Regex, group: usize, occurrence: Occurrence },
}

fn parse(pattern: &str) -> Result<Regex, SpecProblem> {
    Regex::new(pattern).map_err(|error| {
        // The parser draws where the error is, on several lines; its last line says what it is.
        let problem = error.to_string();
        let problem = problem.lines().last().unwrap_or_default().trim().to_owned();
        SpecProblem::Pattern { pattern: pattern.to_owned(), problem }
    })
}

impl Extractor {
    pub(crate) fn new(extract: &Extract) -> Result<Self, SpecProblem> {
        Ok(match extract {
            Extract::Whole => Self::Whole,
            Extract::FirstLine => Self::FirstLine,
            Extract::LastNumber => Self::LastNumber(parse(NUMBER)?),
            Extract::Letter => Self::Letter([parse(ANNOUNCED)?, parse(ALONE)?]),
            Extract::After { marker } if marker.is_empty() => {
                let mend = "name what stands before the answer";
                return Err(SpecProblem::Empty { field: "generate.extract.after.marker", mend });
            }
            Extract::After { marker } => Self::After(marker.clone()),
            Extract::Regex { pattern, group, occurrence } => {
                let (regex, group, occurrence) = (parse(pattern)?, *group, *occurrence);
                if group >= regex.captures_len() {
                    let problem = format!("has no group {group}; put brackets around what counts");
                    return Err(SpecProblem::Pattern { pattern: pattern.clone(), problem });
                }
                Self::Regex { pattern: regex, group, occurrence }
            }
        })
    }

    /// What counts of an answer; `None` where it is not there.
    pub(crate) fn find(&self, answer: &str) -> Option<String> {
        match self {
            Self::Whole => Some(answer.trim().to_owned()),
            Self::FirstLine => answer.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned),
            Self::LastNumber(number) => {
                let last = number.find_iter(answer).last()?.as_str();
                Some(last.chars().filter(|c| !matches!(c, '$' | ',')).collect())
            }
            Self::Letter(patterns) => patterns
                .iter()
                .find_map(|pattern| pattern.captures(answer))
                .and_then(|found| Some(found.get(1)?.as_str().to_owned())),
            Self::After(marker) => {
                let (_, after) = answer.rsplit_once(marker.as_str())?;
                Some(after.trim_start_matches(' ').lines().next().unwrap_or_default().trim().to_owned())
            }
            Self::Regex { pattern, group, occurrence } => {
                let mut matches = pattern.captures_iter(answer);
                let found = match occurrence {
                    Occurrence::First => matches.next(),
                    Occurrence::Last => matches.last(),
                }?;
                found.get(*group).map(|part| part.as_str().to_owned())
            }
        }
    }

    /// What an answer without a result lacks, for messages.
    pub(crate) fn lacks(&self) -> String {
        match self {
            Self::Whole | Self::FirstLine => "no text; give it one".to_owned(),
            Self::LastNumber(_) => "no number; end it in one".to_owned(),
            Self::Letter(_) => "no letter of a choice; give it one".to_owned(),
            Self::After(marker) => {
                format!("nothing after {marker:?}; end it in \"{marker} \" and the result")
            }
            Self::Regex { pattern, .. } => {
                format!("no match of {:?}; mend it or the pattern", pattern.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(extract: &Extract, answer: &str) -> Option<String> {
        Extractor::new(extract).unwrap().find(answer)
    }

    #[test]
    fn lines_and_numbers() {
        assert_eq!(find(&Extract::Whole, " a b\n").unwrap(), "a b");
        assert_eq!(find(&Extract::FirstLine, "\n  \n a b \nc").unwrap(), "a b");
        assert_eq!(find(&Extract::FirstLine, " \n"), None);
        let number = |answer| find(&Extract::LastNumber, answer);
        assert_eq!(number("3 apples cost $1,234.50.").unwrap(), "1234.50");
        assert_eq!(number("from 4 to -7.").unwrap(), "-7");
        assert_eq!(number("none"), None);
    }

    #[test]
    fn letters_are_announced_or_stand_alone() {
        let letter = |answer| find(&Extract::Letter, answer);
        assert_eq!(letter(" B").unwrap(), "B");
        assert_eq!(letter("(C) because A is wrong").unwrap(), "C");
        assert_eq!(letter("A good question. The answer is: (D).").unwrap(), "D");
        assert_eq!(letter("答案：B。").unwrap(), "B");
        assert_eq!(letter("the answer is Aachen"), None);
        assert_eq!(letter("D'accord"), None);
    }

    #[test]
    fn patterns_name_a_group_and_an_occurrence() {
        let pattern = |group, occurrence| Extract::Regex { pattern: "x(\\d)".to_owned(), group, occurrence };
        assert_eq!(find(&pattern(1, Occurrence::First), "x1 x2").unwrap(), "1");
        assert_eq!(find(&pattern(0, Occurrence::Last), "x1 x2").unwrap(), "x2");
        assert_eq!(find(&pattern(1, Occurrence::Last), "y"), None);
        let error = Extractor::new(&pattern(2, Occurrence::First)).unwrap_err().to_string();
        assert!(error.contains("has no group 2"), "{error}");
        let open = Extract::Regex { pattern: "(".to_owned(), group: 0, occurrence: Occurrence::First };
        let error = Extractor::new(&open).unwrap_err().to_string();
        assert!(error.contains("unclosed group") && !error.contains('\n'), "{error}");
    }
}
