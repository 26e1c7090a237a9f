//! Longest common subsequences.

use super::PrecisionRecall;
use std::collections::HashMap;

/// The length of the longest common subsequence, in memory of one row.
pub(super) fn length(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let longest = if x == y { diagonal + 1 } else { row[j].max(row[j + 1]) };
            diagonal = std::mem::replace(&mut row[j + 1], longest);
        }
    }
    row[b.len()]
}

/// Marks the words of `reference` on one longest common subsequence; which one matters for the union.
fn mark(reference: &[String], candidate: &[String], marks: &mut [bool]) {
    let width = candidate.len() + 1;
    let mut table = vec![0u32; width * (reference.len() + 1)];
    for (i, x) in reference.iter().enumerate() {
        for (j, y) in candidate.iter().enumerate() {
            let (above, left) = (table[i * width + j + 1], table[(i + 1) * width + j]);
            table[(i + 1) * width + j + 1] = if x == y { table[i * width + j] + 1 } else { above.max(left) };
        }
    }
    let (mut i, mut j) = (reference.len(), candidate.len());
    while i > 0 && j > 0 {
        if reference[i - 1] == candidate[j - 1] {
            marks[i - 1] = true;
            (i, j) = (i - 1, j - 1);
        } else if table[i * width + j - 1] > table[(i - 1) * width + j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
}

/// ROUGE-L of summaries: per sentence of the reference the union of its subsequences, each word at most as often as both have
/// it.
pub(super) fn summary(reference: &[Vec<String>], candidate: &[Vec<String>]) -> PrecisionRecall {
    let count = |sentences: &[Vec<String>]| sentences.iter().map(Vec::len).sum::<usize>();
    let mut left = [tally(reference), tally(candidate)];
    let mut hits = 0;
    for sentence in reference {
        let mut marks = vec![false; sentence.len()];
        for other in candidate {
            mark(sentence, other, &mut marks);
        }
        for (word, _) in sentence.iter().zip(marks).filter(|(_, marked)| *marked) {
            if left.iter().all(|tally| tally.get(word.as_str()).is_some_and(|&n| n > 0)) {
                hits += 1;
                for tally in &mut left {
                    tally.entry(word).and_modify(|n| *n -= 1);
                }
            }
        }
    }
    PrecisionRecall::of(hits, count(candidate), count(reference))
}

fn tally(sentences: &[Vec<String>]) -> HashMap<&str, usize> {
    let mut tally = HashMap::new();
    for word in sentences.iter().flatten() {
        *tally.entry(word.as_str()).or_insert(0) += 1;
    }
    tally
}
