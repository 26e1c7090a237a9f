//! The ways of cutting text into the tokens that BLEU counts.

use crate::text::{is_number, is_punctuation, is_space, is_symbol, rewrite_pairs, surround, words};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How BLEU cuts text into tokens; the score means nothing without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BleuTokenizer {
    /// As the script mteval-v13a of NIST: punctuation of ASCII is apart, full stops and commas stay in numbers.
    #[default]
    #[serde(rename = "13a")]
    V13a,
    /// As mteval-v14 in its international mode: punctuation and symbols by Unicode's categories.
    Intl,
    /// Chinese characters are tokens, the rest is cut as in `13a`.
    Zh,
    /// Every character is a token.
    Char,
    /// At white space only: for text that is tokenised already.
    None,
}

impl fmt::Display for BleuTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V13a => "13a",
            Self::Intl => "intl",
            Self::Zh => "zh",
            Self::Char => "char",
            Self::None => "none",
        })
    }
}

/// Where Chinese characters and their punctuation lie, first and last.
///
/// U+2001–U+2A6D and U+2F81–U+2FA1 are what the published implementation makes of the planes beyond the first
/// (written with four hexadecimal digits there); scores would not agree without them.
const CHINESE: [(char, char); 22] = [
    ('\u{2001}', '\u{2a6d}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{2f00}', '\u{2fdf}'),
    ('\u{2f81}', '\u{2fa1}'),
    ('\u{2ff0}', '\u{2fff}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{3100}', '\u{312f}'),
    ('\u{31a0}', '\u{31bf}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{3200}', '\u{32ff}'),
    ('\u{3300}', '\u{33ff}'),
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fa5}'),
    ('\u{9fa6}', '\u{9fbb}'),
    ('\u{f900}', '\u{fa2d}'),
    ('\u{fa30}', '\u{fa6a}'),
    ('\u{fa70}', '\u{fad9}'),
    ('\u{fe10}', '\u{fe1f}'),
    ('\u{fe30}', '\u{fe4f}'),
    ('\u{ff00}', '\u{ffef}'),
    ('\u{2600}', '\u{26ff}'),
    ('\u{2700}', '\u{27bf}'),
];

fn is_chinese(c: char) -> bool {
    CHINESE.iter().any(|&(first, last)| (first..=last).contains(&c))
}

impl BleuTokenizer {
    /// Cuts a text into tokens.
    ///
    /// ```
    /// use tenuis_metrics::BleuTokenizer;
    /// assert_eq!(BleuTokenizer::V13a.tokenize("It costs $3.50, no?"), ["It", "costs", "$", "3.50", ",", "no", "?"]);
    /// assert_eq!(BleuTokenizer::Zh.tokenize("用AI翻译"), ["用", "AI", "翻", "译"]);
    /// ```
    pub fn tokenize(self, text: &str) -> Vec<String> {
        let text = text.trim_end_matches(is_space);
        let cut = match self {
            Self::V13a => western(&format!(" {} ", unescape(text))),
            Self::Intl => international(text),
            Self::Zh => western(&surround(text.trim_matches(is_space), is_chinese)),
            Self::Char => surround(text, |_| true),
            Self::None => text.to_owned(),
        };
        words(&cut).map(str::to_owned).collect()
    }
}

/// Undoes what SGML files of test sets did to text.
fn unescape(text: &str) -> String {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

/// Sets punctuation of ASCII apart.
fn western(text: &str) -> String {
    set_stops_apart(&set_marks_apart(text))
}

/// Sets punctuation apart that never belongs to a word.
pub(crate) fn set_marks_apart(text: &str) -> String {
    surround(text, |c| matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/'))
}

/// Sets full stops, commas and hyphens apart where no number needs them. The rules stand in this order.
pub(crate) fn set_stops_apart(text: &str) -> String {
    let stop = |c: char| c == '.' || c == ',';
    let digit = |c: char| c.is_ascii_digit();
    let text = rewrite_pairs(text, |a, b| !digit(a) && stop(b), |out, a, b| out.extend([a, ' ', b, ' ']));
    let text = rewrite_pairs(&text, |a, b| stop(a) && !digit(b), |out, a, b| out.extend([' ', a, ' ', b]));
    rewrite_pairs(&text, |a, b| digit(a) && b == '-', |out, a, b| out.extend([a, ' ', b, ' ']))
}

/// Sets punctuation apart unless numbers stand on both sides, and symbols always.
fn international(text: &str) -> String {
    let text = rewrite_pairs(
        text,
        |a, b| !is_number(a) && is_punctuation(b),
        |out, a, b| out.extend([a, ' ', b, ' ']),
    );
    let text = rewrite_pairs(
        &text,
        |a, b| is_punctuation(a) && !is_number(b),
        |out, a, b| out.extend([' ', a, ' ', b]),
    );
    surround(&text, is_symbol)
}
