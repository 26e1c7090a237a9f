//! Characters, words and n-grams as the metrics of the field cut them.

use std::collections::HashMap;
use std::hash::Hash;
use unicode_general_category::{GeneralCategory as G, get_general_category};

/// Whether text is split here. Beside Unicode's white space these are the four separators of ASCII, which the published
/// implementations also split at.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words between spaces.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// A letter, a number or an underscore.
pub(crate) fn is_word(c: char) -> bool {
    c == '_' || is_number(c) || {
        use G::{LowercaseLetter, ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter};
        let category = get_general_category(c);
        matches!(category, LowercaseLetter | ModifierLetter | OtherLetter | TitlecaseLetter | UppercaseLetter)
    }
}

/// Unicode's categories N.
pub(crate) fn is_number(c: char) -> bool {
    matches!(get_general_category(c), G::DecimalNumber | G::LetterNumber | G::OtherNumber)
}

/// Unicode's categories P.
pub(crate) fn is_punctuation(c: char) -> bool {
    use G::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation, InitialPunctuation,
        OpenPunctuation, OtherPunctuation,
    };
    matches!(
        get_general_category(c),
        ClosePunctuation
            | ConnectorPunctuation
            | DashPunctuation
            | FinalPunctuation
            | InitialPunctuation
            | OpenPunctuation
            | OtherPunctuation
    )
}

/// Unicode's categories S.
pub(crate) fn is_symbol(c: char) -> bool {
    matches!(get_general_category(c), G::CurrencySymbol | G::MathSymbol | G::ModifierSymbol | G::OtherSymbol)
}

/// Puts spaces around every character that is asked for.
pub(crate) fn surround(text: &str, what: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if what(c) {
            out.extend([' ', c, ' ']);
        } else {
            out.push(c);
        }
    }
    out
}

/// Rewrites pairs of neighbours from left to right; a character that was part of a pair begins no other.
pub(crate) fn rewrite_pairs(
    text: &str,
    is_pair: impl Fn(char, char) -> bool,
    write: impl Fn(&mut String, char, char),
) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        match chars.next_if(|&second| is_pair(first, second)) {
            Some(second) => write(&mut out, first, second),
            None => out.push(first),
        }
    }
    out
}

/// How often each run of `n` tokens occurs.
pub(crate) fn ngrams<T: Hash + Eq>(tokens: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(n) {
        *counts.entry(ngram).or_insert(0) += 1;
    }
    counts
}

/// How many elements two multisets share, `Σ min(a, b)`.
pub(crate) fn shared<K: Hash + Eq>(a: &HashMap<K, usize>, b: &HashMap<K, usize>) -> usize {
    let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    few.iter().map(|(key, &count)| count.min(many.get(key).copied().unwrap_or(0))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_do_not_overlap() {
        let mark = |text| {
            rewrite_pairs(
                text,
                |a, b| a == 'x' && b == 'x',
                |out, a, b| {
                    out.extend(['<', a, b, '>']);
                },
            )
        };
        assert_eq!(mark("xxxax"), "<xx>xax");
        assert_eq!(mark(""), "");
    }

    #[test]
    fn ngrams_longer_than_the_text_are_none() {
        assert!(ngrams(&["a", "b"], 3).is_empty());
        assert_eq!(ngrams(&["a", "a", "a"], 2).get(["a", "a"].as_slice()), Some(&2));
    }

    #[test]
    fn separators_of_ascii_split() {
        assert_eq!(words("a\u{1e}b\u{3000}c \n").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
