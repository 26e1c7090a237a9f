//! Shifts of runs of words, found greedily as Tercom does.

use super::edit::{Edit, distance};
use std::collections::HashMap;

/// The longest run that is shifted.
const LONGEST: usize = 10;

/// The farthest that a run may lie from where the reference has it.
const FARTHEST: usize = 50;

/// Shifts that are tried for a sentence.
const TRIES: usize = 1000;

/// The fewest edits and shifts that the search finds.
pub(super) fn edits<'a>(hypothesis: &[&'a str], reference: &[&'a str]) -> usize {
    if reference.is_empty() {
        return hypothesis.len();
    }
    // Numbers of words are compared faster than words.
    let mut numbers = HashMap::new();
    let mut number = |words: &[&'a str]| -> Vec<usize> {
        let mut of = |word| {
            let next = numbers.len();
            *numbers.entry(word).or_insert(next)
        };
        words.iter().map(|&word| of(word)).collect()
    };
    let (mut words, reference) = (number(hypothesis), number(reference));
    let (mut shifts, mut tried) = (0, 0);
    loop {
        let best = best_shift(&words, &reference, &mut tried);
        match best {
            Some((gain, shifted)) if gain > 0 && tried < TRIES => {
                words = shifted;
                shifts += 1;
            }
            _ => return shifts + distance(&words, &reference).0,
        }
    }
}

/// Where each word of the reference stands in the hypothesis, and which words are wrong.
#[derive(Debug, Default)]
struct Alignment {
    /// Per word of the reference the place after that of its counterpart.
    after: Vec<usize>,
    reference_wrong: Vec<bool>,
    hypothesis_wrong: Vec<bool>,
}

impl Alignment {
    fn new(edits: &[Edit]) -> Self {
        let mut alignment = Self::default();
        for &edit in edits {
            let wrong = edit != Edit::Keep;
            if edit != Edit::Insert {
                alignment.hypothesis_wrong.push(wrong);
            }
            if edit != Edit::Delete {
                alignment.after.push(alignment.hypothesis_wrong.len());
                alignment.reference_wrong.push(wrong);
            }
        }
        alignment
    }
}

/// The shift that saves most edits; of equal ones that of the longest run, then the earliest, then to the earliest place.
fn best_shift(hypothesis: &[usize], reference: &[usize], tried: &mut usize) -> Option<(isize, Vec<usize>)> {
    let (before, edits) = distance(hypothesis, reference);
    let alignment = Alignment::new(&edits);
    let mut best = None;
    for (start, target, length) in runs(hypothesis, reference) {
        let is_wrong = |wrong: &[bool], from: usize| wrong[from..from + length].contains(&true);
        let within = (start + 1..=start + length).contains(&alignment.after[target]);
        if within
            || !is_wrong(&alignment.hypothesis_wrong, start)
            || !is_wrong(&alignment.reference_wrong, target)
        {
            continue;
        }
        // Before the whole text or else after the counterpart of each word from the one before the target on.
        let beginning = (target == 0).then_some(0);
        let places = &alignment.after[target.saturating_sub(1)..];
        let places = beginning.into_iter().chain(places.iter().copied());
        let mut previous = None;
        for place in places.take(length + 1) {
            if previous.replace(place) == Some(place) {
                continue;
            }
            let shifted = shift(hypothesis, start, length, place);
            let gain = before as isize - distance(&shifted, reference).0 as isize;
            *tried += 1;
            let rank = (gain, length, std::cmp::Reverse((start, place)));
            if best.as_ref().is_none_or(|(highest, _)| rank > *highest) {
                best = Some((rank, shifted));
            }
        }
        if *tried >= TRIES {
            break;
        }
    }
    best.map(|((gain, ..), shifted)| (gain, shifted))
}

/// Runs of words that both have, as (start in the hypothesis, start in the reference, length).
fn runs(hypothesis: &[usize], reference: &[usize]) -> Vec<(usize, usize, usize)> {
    let mut runs = Vec::new();
    for start in 0..hypothesis.len() {
        for target in start.saturating_sub(FARTHEST)..reference.len().min(start + FARTHEST + 1) {
            let same = hypothesis[start..].iter().zip(&reference[target..]).take_while(|(a, b)| a == b);
            runs.extend((1..=same.take(LONGEST).count()).map(|length| (start, target, length)));
        }
    }
    runs
}

/// Takes a run out and puts it before the word at `place`; a place within the run counts from where the rest is.
fn shift<W: Copy>(words: &[W], start: usize, length: usize, place: usize) -> Vec<W> {
    let (run, mut rest) = (&words[start..start + length], words[..start].to_vec());
    rest.extend(&words[start + length..]);
    let place = match place {
        _ if place <= start => place,
        _ if place > start + length => place - length,
        _ => place.min(rest.len()),
    };
    rest.splice(place..place, run.iter().copied());
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_one_edit() {
        assert_eq!(edits(&["c", "d", "a", "b"], &["a", "b", "c", "d"]), 1);
        assert_eq!(edits(&["a", "b"], &["a", "b"]), 0);
        assert_eq!(edits(&["a", "b"], &[]), 2);
        assert_eq!(edits(&[], &["a", "b"]), 2);
    }

    #[test]
    fn runs_are_put_before_a_place() {
        let words = ["a", "b", "c", "d", "e"];
        assert_eq!(shift(&words, 3, 2, 1), ["a", "d", "e", "b", "c"]);
        assert_eq!(shift(&words, 0, 2, 5), ["c", "d", "e", "a", "b"]);
        assert_eq!(shift(&words, 1, 2, 4), ["a", "d", "b", "c", "e"]);
    }
}
