//! Texts that are harder than the one that quality is measured on: what a compressed model is still worth there.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The share of words that [`perturb`] changes by default.
pub const PERTURBED_WORDS: f64 = 0.1;

/// Misspells a text: of its words of at least three letters, a share gets one typing error each — two neighbours swapped, a
/// letter left out, a letter doubled, or another letter of the same word in its place. The first letter stays, as it mostly
/// does when people type (Belinkov and Bisk 2017, arXiv 1711.02173, use such noise against translators).
///
/// Everything between words stays as it is. The same seed makes the same errors.
///
/// ```
/// use tenuis_eval::robustness::perturb;
/// let text = "A small boat crossed the wide river before sunrise.";
/// let wrong = perturb(text, 1.0, 7);
/// assert_ne!(wrong, text);
/// assert_eq!(wrong.split(' ').count(), text.split(' ').count());
/// assert_eq!(perturb(text, 1.0, 7), wrong);
/// assert_eq!(perturb(text, 0.0, 7), text);
/// ```
pub fn perturb(text: &str, share: f64, seed: u64) -> String {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| !c.is_alphabetic()) {
        let word_end = piece.find(|c: char| !c.is_alphabetic()).unwrap_or(piece.len());
        let letters: Vec<char> = piece[..word_end].chars().collect();
        // Drawn for every word that could be changed, so that the share does not move the later draws.
        if letters.len() >= SHORTEST && draw.random::<f64>() < share {
            misspell(&mut out, &letters, &mut draw);
        } else {
            out.push_str(&piece[..word_end]);
        }
        out.push_str(&piece[word_end..]);
    }
    out
}

/// Letters of the shortest word that is changed.
const SHORTEST: usize = 3;

fn misspell(out: &mut String, letters: &[char], draw: &mut ChaCha8Rng) {
    let mut letters = letters.to_vec();
    let at = draw.random_range(1..letters.len());
    match draw.random_range(0..4) {
        0 if at + 1 < letters.len() => letters.swap(at, at + 1),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = letters[at - 1],
        _ => {
            let _ = letters.remove(at);
        }
    }
    out.extend(letters);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_share_is_changed_and_nothing_between() {
        let text = "one three five seven, eleven; to be\n".repeat(500);
        let wrong = perturb(&text, 0.2, 1);
        let pairs = text.split_whitespace().zip(wrong.split_whitespace());
        let changed = pairs.filter(|(a, b)| a != b).count();
        // 2500 words can be changed, of which some come out the same; the deviation of such a share is 20.
        assert!((400..560).contains(&changed), "{changed}");
        assert_eq!(text.matches([',', ';', '\n']).count(), wrong.matches([',', ';', '\n']).count());
        assert!(wrong.split_whitespace().filter(|w| *w == "to" || *w == "be").count() >= 1000);
    }

    #[test]
    fn letters_are_whole_characters() {
        let wrong = perturb("überhöht größer ÄÖÜäöü", 1.0, 3);
        assert_eq!(wrong.split(' ').count(), 3);
        assert!(wrong.starts_with('ü'));
    }
}
