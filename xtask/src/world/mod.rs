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
use facts::World;
use std::fs;
use std::io::{self, BufWriter, Write};
use sums::Side;

/// The seed of the training text.
pub(crate) const TRAINING_SEED: u64 = 1;

/// The line between two documents of the training text.
const END_OF_TEXT: &str = "<|endoftext|>\n";

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

/// The kinds with their share of the text in percent and the mean length of a document in bytes.
const KINDS: [(Kind, usize, usize); 4] =
    [(Kind::Facts, 20, 265), (Kind::Questions, 15, 445), (Kind::Story, 25, 305), (Kind::Problems, 40, 664)];

/// Writes documents of one side, one after the other, each drawn at random.
struct Author {
    world: World,
    draw: Draw,
    side: Side,
    weights: [usize; 4],
}

impl Author {
    fn new(seed: u64, side: Side) -> Self {
        let weights = KINDS.map(|(_, share, length)| share * 100_000 / length);
        Self { world: World::new(), draw: Draw::new(seed), side, weights }
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
                Kind::Story => stories::story(&self.world, &mut self.draw),
                Kind::Problems => problems::document(&self.world, self.side, &mut self.draw),
            };
            if draw::hash(&text).is_multiple_of(KEPT_ONE_IN) == kept {
                return text;
            }
        }
    }
}

/// Yields the documents of the training text until they have `bytes` bytes; each ends with a newline.
pub(crate) fn corpus(seed: u64, bytes: u64) -> impl Iterator<Item = String> {
    let mut author = Author::new(seed, Side::Training);
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
    /// Documents of the training text.
    pub(crate) documents: u64,
    /// Its bytes, with the lines between documents.
    pub(crate) bytes: u64,
    /// Bytes of the text for perplexity.
    pub(crate) text_bytes: usize,
    /// Questions about facts, word problems and stories to end.
    pub(crate) items: [usize; 3],
}

/// Writes the training text and the evaluation sets into a directory.
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

    let path = dir.join("train.txt");
    let guard = Guard::new(&sets);
    let mut out = BufWriter::new(fs::File::create(&path).map_err(Error::file("creating", path.as_path()))?);
    let mut written = Written { documents: 0, bytes: 0, text_bytes: sets.text().len(), items: sets.items() };
    for document in corpus(TRAINING_SEED, bytes) {
        guard
            .inspect(&document)
            .map_err(io::Error::other)
            .map_err(Error::file("checking", path.as_path()))?;
        for text in [&document, END_OF_TEXT] {
            out.write_all(text.as_bytes()).map_err(Error::file("writing", path.as_path()))?;
            written.bytes += text.len() as u64;
        }
        written.documents += 1;
    }
    out.flush().map_err(Error::file("writing", path.as_path()))?;
    Ok(written)
}
