//! A small invented world in English, for the model that the demonstration trains and compresses.
//!
//! People, places and objects with some 450 facts, stories about them, and sums. From it come a training text and four
//! evaluation sets that training never sees: a text for perplexity, questions about facts with four choices, word
//! problems with worked answers, and stories whose last word is to be told. No text is taken from anywhere.
//!
//! What belongs to the evaluation is decided by the text itself: a document by its hash, the operands of a sum by
//! theirs, a question by its wording. So neither seeds nor lengths can make the two sides overlap, and [`Guard`] checks
//! that they do not.

mod check;
mod draw;
mod evaluation;
mod facts;
mod lexicon;
mod problems;
mod stories;
mod stories_of_one;
mod stories_of_people;
mod stories_of_things;
mod sums;
mod tell;
mod template;
#[cfg(test)]
mod tests;
mod wordings;
mod wordings_of_kin;
mod wordings_of_things;

pub(crate) use check::Guard;
pub(crate) use evaluation::{Evaluation, evaluation};

use crate::error::Error;
use crate::files;
use cargo_metadata::camino::Utf8Path;
use draw::Draw;
use facts::{EVERYBODY, NEIGHBOURS, World};
use std::fs;
use std::io::{self, BufWriter, Write};
use sums::Side;

/// What a text is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mixture {
    /// The share of each of [`KINDS`] in percent of the bytes.
    shares: [usize; 4],
    /// Of how many people, places and objects it tells facts.
    known: [usize; 3],
    /// The share of the stories, in percent, that have only one thing of its sort: see [`stories_of_one`].
    plain: usize,
}

/// A training text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lesson {
    /// The file that it is written to.
    pub(crate) file: &'static str,
    seed: u64,
    mixture: Mixture,
}

/// The first lesson gives sums most room, as they are learnt slowest; the second one facts and stories; the third one
/// dwells on the facts that the evaluation asks for, in wordings of its own; the fourth one on stories, half of them
/// plain enough to learn from them what it is to speak of the same thing again.
pub(crate) const LESSONS: [Lesson; 4] = [
    Lesson {
        file: "train-1.txt",
        seed: 1,
        mixture: Mixture { shares: [20, 15, 25, 40], known: EVERYBODY, plain: 0 },
    },
    Lesson {
        file: "train-2.txt",
        seed: 2,
        mixture: Mixture { shares: [30, 30, 30, 10], known: EVERYBODY, plain: 0 },
    },
    Lesson {
        file: "train-3.txt",
        seed: 3,
        mixture: Mixture { shares: [20, 50, 20, 10], known: NEIGHBOURS, plain: 0 },
    },
    Lesson {
        file: "train-4.txt",
        seed: 4,
        mixture: Mixture { shares: [10, 30, 45, 15], known: NEIGHBOURS, plain: 50 },
    },
];

/// What stands before every document.
pub(crate) const END_OF_TEXT: &str = "<|endoftext|>";

/// One document in so many is kept for the evaluation.
const KEPT_ONE_IN: u64 = 16;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Facts,
    Questions,
    Story,
    Problems,
}

/// The kinds with the mean length of a document in bytes.
const KINDS: [(Kind, usize); 4] =
    [(Kind::Facts, 265), (Kind::Questions, 445), (Kind::Story, 305), (Kind::Problems, 664)];

/// Writes documents of one side, one after the other, each drawn at random.
struct Author {
    world: World,
    draw: Draw,
    side: Side,
    weights: [usize; 4],
    plain: usize,
}

impl Author {
    fn new(seed: u64, side: Side, mixture: Mixture) -> Self {
        let weights = std::array::from_fn(|kind| mixture.shares[kind] * 100_000 / KINDS[kind].1);
        let world = World::seen_by(mixture.known);
        Self { world, draw: Draw::new(seed), side, weights, plain: mixture.plain }
    }

    fn any_document(&mut self) -> (Kind, String) {
        let kind = KINDS[self.draw.weighted(&self.weights)].0;
        (kind, self.document(kind))
    }

    fn document(&mut self, kind: Kind) -> String {
        let kept = self.side == Side::Evaluation;
        loop {
            let text = match kind {
                Kind::Facts => tell::paragraph(&self.world, &mut self.draw),
                Kind::Questions => tell::questions(&self.world, &mut self.draw),
                Kind::Story => stories::story(&self.world, self.plain, &mut self.draw),
                Kind::Problems => problems::document(&self.world, self.side, &mut self.draw),
            };
            if draw::hash(&text).is_multiple_of(KEPT_ONE_IN) == kept {
                return text;
            }
        }
    }
}

/// Yields the documents of a lesson until they have `bytes` bytes; each ends with a newline.
pub(crate) fn corpus(lesson: Lesson, bytes: u64) -> impl Iterator<Item = String> {
    let mut author = Author::new(lesson.seed, Side::Training, lesson.mixture);
    let mut written = 0;
    std::iter::from_fn(move || {
        (written < bytes).then(|| {
            let (_, text) = author.any_document();
            written += text.len() as u64;
            text
        })
    })
}

/// What has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Documents of the training texts.
    pub(crate) documents: u64,
    /// Their bytes, with the marks before documents.
    pub(crate) bytes: u64,
    /// Bytes of the text for perplexity.
    pub(crate) text_bytes: usize,
    /// Questions about facts, word problems and stories to end.
    pub(crate) items: [usize; 3],
}

/// Writes the training texts, each of `bytes` bytes, and the evaluation sets into a directory.
///
/// # Errors
/// [`Error::File`] where a file cannot be written, and where the training text holds an evaluation item.
pub(crate) fn write(dir: &Utf8Path, bytes: u64) -> Result<Written, Error> {
    files::create_dir(dir)?;
    let sets = evaluation();
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::file("writing", path))
    };
    put("text.txt", sets.text())?;
    put("facts.jsonl", sets.facts_jsonl())?;
    put("problems.jsonl", sets.problems_jsonl())?;
    put("cloze.jsonl", sets.cloze_jsonl())?;

    let guard = Guard::new(&sets);
    let mut written = Written { documents: 0, bytes: 0, text_bytes: sets.text().len(), items: sets.items() };
    for lesson in LESSONS {
        let path = dir.join(lesson.file);
        let mut out =
            BufWriter::new(fs::File::create(&path).map_err(Error::file("creating", path.as_path()))?);
        for document in corpus(lesson, bytes) {
            guard
                .inspect(&document)
                .map_err(io::Error::other)
                .map_err(Error::file("checking", path.as_path()))?;
            for text in [END_OF_TEXT, &document] {
                out.write_all(text.as_bytes()).map_err(Error::file("writing", path.as_path()))?;
                written.bytes += text.len() as u64;
            }
            written.documents += 1;
        }
        out.flush().map_err(Error::file("writing", path.as_path()))?;
    }
    Ok(written)
}
