//! A teacher that remembers.

use super::store::{Kind, Store};
use super::{Answer, Teacher};
use crate::data::Sequences;
use crate::error::TrainError;
use crate::network::Extent;
use crate::objective::Objective;
use crate::ops::divergence::{TeacherRows, TopRows};
use crate::ops::loss::rows_per_chunk;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// A teacher whose likeliest tokens are kept on disk: it runs once for every sequence of the training text, and later
/// epochs, and later runs with the same teacher, text, temperature and `top_k`, read.
///
/// What is kept per position is what [`Objective::top_k`] makes of the teacher's logits anyway, unrounded: with a cache and
/// without one, losses differ by no more than the rounding of the teacher's products in batches of other sequences.
///
/// The file `teacher-top-k.bin` of the directory takes `128 + sequences · (16 + seq_len · (8·k + 4))` bytes
/// ([`CachedTeacher::file_bytes`]): a header that names k, temperature, vocabulary, sequence length, count and a hash of
/// teacher and text, and a record with its own hash per sequence. A file of another kind is begun anew; a record that is
/// missing, torn or foreign is made again. A kill at any time leaves the file usable.
///
/// Sequences of another text (validation) are passed on to the teacher, as are batches whose hidden states are wanted: the
/// cache then saves no more than the product with the head.
///
/// ```no_run
/// # use tenuis_distill::{CachedTeacher, ModelTeacher, Network, Objective, Texts, TrainError, TrainOptions, Unobserved, train};
/// # fn run(model: std::sync::Arc<tenuis_model::Model>, network: &mut Network, texts: &Texts) -> Result<(), TrainError> {
/// let mut objective = Objective::default();
/// (objective.top_k, objective.temperature) = (Some(64), 2.0);
/// let dir = std::path::Path::new("work/teacher");
/// let mut teacher = CachedTeacher::open(ModelTeacher::new(model), &texts.train, &objective, dir)?;
/// train(network, Some(&mut teacher), texts, &objective, &TrainOptions::default(), None, &mut Unobserved)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CachedTeacher<T> {
    inner: T,
    text: Sequences,
    k: usize,
    temperature: f64,
    store: Store,
    asked: usize,
    found: usize,
}

impl<T: Teacher> CachedTeacher<T> {
    /// Opens or begins the cache of a teacher and a training text in a directory, for an objective's `top_k` and
    /// temperature.
    ///
    /// # Errors
    /// [`TrainError::Option`] for an objective without `top_k`, and for a teacher that has no
    /// [identity](Teacher::identity) or is a cache itself; [`TrainError::Io`].
    pub fn open(inner: T, text: &Sequences, objective: &Objective, dir: &Path) -> Result<Self, TrainError> {
        objective.validate(inner.vocab(), true)?;
        let refuse = |value: String, allowed| TrainError::Option { option: "top_k", value, allowed };
        let Some(k) = objective.top_k else {
            return Err(refuse("null".to_owned(), "a number of tokens for the teacher to be cached"));
        };
        if inner.top_k().is_some() {
            return Err(refuse(k.to_string(), "cached once: this teacher is a cache"));
        }
        let Some(identity) = inner.identity() else {
            return Err(refuse(k.to_string(), "used without a cache: this teacher has no identity"));
        };
        let mut source = blake3::Hasher::new();
        source.update(&(identity.len() as u64).to_le_bytes());
        source.update(identity.as_bytes());
        source.update(bytemuck::cast_slice(text.tokens()));
        let kind = Kind {
            k,
            vocab: inner.vocab(),
            seq_len: text.seq_len(),
            count: text.count(),
            temperature: objective.temperature,
            source: *source.finalize().as_bytes(),
        };
        let store = Store::open(dir, kind)?;
        let temperature = objective.temperature;
        Ok(Self { inner, text: text.clone(), k, temperature, store, asked: 0, found: 0 })
    }

    /// The bytes that the cache of a text takes on disk when every sequence has been seen.
    pub fn file_bytes(text: &Sequences, k: usize) -> u64 {
        let (seq_len, count) = (text.seq_len(), text.count());
        Kind { k, vocab: 0, seq_len, count, temperature: 1.0, source: [0; 32] }.file_bytes()
    }

    /// How many sequences were asked for, and for how many of them the cache had an answer.
    pub const fn hits(&self) -> (usize, usize) {
        (self.asked, self.found)
    }

    /// Whether these are sequences of the cached text, and not of another one with the same numbers.
    fn knows(&self, sequences: &[usize], tokens: &[u32], extent: Extent) -> bool {
        extent.seq == self.text.seq_len()
            && sequences.iter().all(|&n| n < self.text.count())
            && self.text.batch(sequences).0 == tokens
    }

    /// The likeliest tokens of the sequence at `place` of a batch.
    fn digest(&self, answer: &Answer, place: usize) -> Result<TopRows, TrainError> {
        let (seq, vocab, inverse) = (self.text.seq_len(), self.inner.vocab(), 1.0 / self.temperature as f32);
        let k = self.k;
        let empty = || TopRows { k, ..TopRows::default() };
        let mut rows = empty();
        let (start, end) = (place * seq, (place + 1) * seq);
        for first in (start..end).step_by(rows_per_chunk(seq, vocab)) {
            let range = first..(first + rows_per_chunk(seq, vocab)).min(end);
            let part = match (answer.rows)(range.clone())? {
                TeacherRows::Logits(logits) if logits.len() == range.len() * vocab => logits
                    .par_chunks_exact(vocab)
                    .map(|row| {
                        let mut rows = empty();
                        rows.push(row, inverse);
                        rows
                    })
                    .collect::<Vec<_>>(),
                TeacherRows::Logits(logits) => {
                    return Err(TrainError::Shape {
                        name: "teacher logits".to_owned(),
                        expected: vec![range.len(), vocab],
                        found: vec![logits.len()],
                    });
                }
                TeacherRows::TopK(rows) => vec![rows],
            };
            for part in &part {
                rows.extend(part);
            }
        }
        Ok(rows)
    }
}

impl<T: Teacher> Teacher for CachedTeacher<T> {
    fn vocab(&self) -> usize {
        self.inner.vocab()
    }

    fn blocks(&self) -> usize {
        self.inner.blocks()
    }

    fn width(&self) -> usize {
        self.inner.width()
    }

    fn identity(&self) -> Option<String> {
        self.inner.identity()
    }

    fn top_k(&self) -> Option<(usize, f64)> {
        Some((self.k, self.temperature))
    }

    fn answer(
        &mut self,
        sequences: Option<&[usize]>,
        tokens: &[u32],
        extent: Extent,
        states: &[usize],
    ) -> Result<Answer, TrainError> {
        let Some(numbers) = sequences.filter(|numbers| self.knows(numbers, tokens, extent)) else {
            return self.inner.answer(sequences, tokens, extent, states);
        };
        let kept = numbers.iter().map(|&n| self.store.read(n)).collect::<Result<Vec<_>, _>>()?;
        self.asked += numbers.len();
        self.found += kept.iter().flatten().count();
        // The whole batch where a part of it is missing, so that what is written does not depend on what was there.
        let answer = if states.is_empty() && kept.iter().all(Option::is_some) {
            None
        } else {
            Some(self.inner.answer(sequences, tokens, extent, states)?)
        };
        let mut rows = TopRows { k: self.k, ..TopRows::default() };
        for (place, (&number, kept)) in numbers.iter().zip(kept).enumerate() {
            rows.extend(&match (kept, &answer) {
                (None, Some(answer)) => {
                    let made = self.digest(answer, place)?;
                    self.store.write(number, &made)?;
                    made
                }
                (kept, _) => kept.unwrap_or_default(),
            });
        }
        Ok(Answer {
            rows: Arc::new(move |range| Ok(TeacherRows::TopK(rows.narrow(range)))),
            states: answer.map(|a| a.states).unwrap_or_default(),
        })
    }
}
