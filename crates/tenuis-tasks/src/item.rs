//! What is asked of a model, whichever that is.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One thing to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// The line of the task's file, or the element of its array, from 1.
    pub id: u64,
    /// What to ask.
    pub request: Request,
    /// Whether the tokenizer's special tokens belong before the text; a chat template has written them itself.
    pub special_tokens: bool,
    /// The slices that it belongs to: name of a field, value.
    pub slices: BTreeMap<String, String>,
}

/// What to ask of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The log-likelihood of each continuation after its context.
    Choices {
        /// Contexts and continuations; at least two.
        variants: Vec<Variant>,
        /// The index of the right one.
        answer: usize,
    },
    /// The likeliest text after a prompt, token by token.
    Generate {
        /// What stands before it.
        prompt: String,
        /// The whole solution, which says how long an answer may be where `max_new_tokens` does not.
        target: String,
        /// What the extracted answer is compared with; at least one.
        references: Vec<String>,
        /// What ends it.
        stop: Stop,
        /// The most tokens.
        max_new_tokens: Option<usize>,
    },
    /// Whether each token of a continuation is the likeliest one.
    LastWord {
        /// What stands before it.
        context: String,
        /// The space before the word, and the word.
        continuation: String,
    },
}

/// A continuation and what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variant {
    /// What stands before.
    pub context: String,
    /// What is scored, with what delimits it from the context.
    pub continuation: String,
    /// What the task calls this choice.
    pub choice: String,
    /// What its log-likelihood is divided by for `acc_norm`: the choice's bytes in UTF-8.
    pub bytes: usize,
}

/// What ends an answer.
///
/// ```
/// use tenuis_tasks::Stop;
/// let stop = Stop { texts: vec!["\n".to_owned()], after: None };
/// assert_eq!(stop.find(" 7\nQuestion:"), Some(2));
/// let stop = Stop { after: Some("####".to_owned()), ..stop };
/// assert_eq!(stop.find("3 + 4\n= 7"), None);
/// assert_eq!(stop.find("3 + 4\n= 7\n#### 7\nQuestion:"), Some(16));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The texts that end it; they are not part of it.
    pub texts: Vec<String>,
    /// Only after this do they end it.
    pub after: Option<String>,
}

impl Stop {
    /// Where an answer ends, in bytes; `None` where it goes on.
    pub fn find(&self, text: &str) -> Option<usize> {
        let start = match &self.after {
            Some(marker) => text.find(marker.as_str())?,
            None => 0,
        };
        let ends = self.texts.iter().filter_map(|stop| text[start..].find(stop.as_str()));
        ends.min().map(|end| start + end)
    }
}
