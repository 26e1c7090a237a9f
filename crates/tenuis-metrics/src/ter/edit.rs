//! The edit distance of Tercom: a band around the diagonal, and which edits were made.

/// Cells beside the diagonal that are looked at.
const BEAM: usize = 25;

/// More edits than any text has.
const UNREACHED: usize = usize::MAX / 4;

/// What is done to a word of the hypothesis to get the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Keep,
    Replace,
    /// A word of the reference comes in.
    Insert,
    /// A word of the hypothesis goes.
    Delete,
}

/// The number of edits and the edits, first to last.
pub(super) fn distance<W: PartialEq>(hypothesis: &[W], reference: &[W]) -> (usize, Vec<Edit>) {
    let width = reference.len() + 1;
    let mut cells = vec![(UNREACHED, Edit::Keep); width * (hypothesis.len() + 1)];
    for (j, cell) in cells[..width].iter_mut().enumerate() {
        *cell = (j, Edit::Insert);
    }
    let ratio = if hypothesis.is_empty() { 1.0 } else { reference.len() as f64 / hypothesis.len() as f64 };
    // Where the lengths differ much, bands of consecutive rows would not meet.
    let beam = if (BEAM as f64) < ratio / 2.0 { (ratio / 2.0 + BEAM as f64).ceil() as usize } else { BEAM };
    for (i, word) in (1..).zip(hypothesis) {
        let diagonal = (i as f64 * ratio).floor() as usize;
        let end = if i == hypothesis.len() { width } else { width.min(diagonal + beam) };
        for j in diagonal.saturating_sub(beam)..end {
            let above = cells[(i - 1) * width + j].0;
            if j == 0 {
                cells[i * width] = (above + 1, Edit::Delete);
                continue;
            }
            let same = *word == reference[j - 1];
            let diagonal = cells[(i - 1) * width + j - 1].0 + usize::from(!same);
            let left = cells[i * width + j - 1].0;
            let cell = &mut cells[i * width + j];
            // The first of equal ones is kept: which edits are found decides which shifts are tried.
            for (cost, edit) in [
                (diagonal, if same { Edit::Keep } else { Edit::Replace }),
                (above + 1, Edit::Delete),
                (left + 1, Edit::Insert),
            ] {
                if cell.0 > cost {
                    *cell = (cost, edit);
                }
            }
        }
    }
    let edits = trace(&cells, hypothesis.len(), reference.len());
    (cells[cells.len() - 1].0, edits)
}

fn trace(cells: &[(usize, Edit)], mut i: usize, mut j: usize) -> Vec<Edit> {
    let width = j + 1;
    let mut edits = Vec::with_capacity(i + j);
    while i > 0 || j > 0 {
        let edit = cells[i * width + j].1;
        edits.push(edit);
        // At the borders only one way is left.
        i -= usize::from(edit != Edit::Insert && i > 0);
        j -= usize::from(edit != Edit::Delete && j > 0);
    }
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        let distance = |a: &str, b: &str| {
            let (a, b): (Vec<_>, Vec<_>) = (a.split(' ').collect(), b.split(' ').collect());
            distance(&a, &b)
        };
        assert_eq!(distance("a b c", "a x c").0, 1);
        assert_eq!(distance("a b", "a b c").1, [Edit::Keep, Edit::Keep, Edit::Insert]);
        assert_eq!(distance("a b c", "b c").1, [Edit::Delete, Edit::Keep, Edit::Keep]);
    }

    #[test]
    fn bands_meet_where_lengths_differ_much() {
        let long = vec!["a"; 400];
        assert_eq!(distance(&["a"], &long).0, 399);
        assert_eq!(distance(&long, &["a"]).0, 399);
        assert_eq!(distance(&["b", "c"], &long).0, 400);
    }
}
