//! The robustness suite: the same measure on harder texts.

use crate::error::RunError;
use crate::observer::Observer;
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tenuis_eval::quality::{self, Quality, Robustness, Subject, WindowScore};
use tenuis_eval::robustness::{PERTURBED_WORDS, perturb};
use tenuis_eval::{EvalError, Windows};
use tenuis_model::Tokenizer;

/// The result of misspelt text.
const MISSPELT: &str = "misspelt";
/// The result of the longest windows.
const LONG_CONTEXT: &str = "long_context";

/// Which harder texts models are given.
#[derive(Clone, Debug, Default)]
pub struct RobustnessRequest {
    /// Texts of other domains; each has a result under its file's name.
    pub texts: Vec<PathBuf>,
    /// Whether the evaluated text is misspelt as well: the result `misspelt`.
    pub misspelt: bool,
    /// Whether the evaluated text is given in windows of all the model's positions as well: the result `long_context`.
    pub long_context: bool,
    /// How many times a text is misspelt, each time otherwise.
    pub seeds: usize,
}

/// Texts by the names of their results.
#[derive(Debug, Default)]
pub(super) struct Harder {
    texts: Vec<(String, Text, Windows)>,
    pub(super) notes: Vec<String>,
}

impl RobustnessRequest {
    /// Reads and makes the texts.
    pub(super) fn texts(
        &self,
        data: &Text,
        tokenizer: &Tokenizer,
        windows: Windows,
        max_positions: usize,
        max_tokens: Option<usize>,
    ) -> Result<Harder, RunError> {
        let mut harder = Harder::default();
        let mut names = BTreeSet::from([MISSPELT.to_owned(), LONG_CONTEXT.to_owned()]);
        for path in &self.texts {
            let text = Text::open(path, tokenizer)?;
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            if !names.insert(name.clone()) {
                return Err(RunError::DuplicateText { name });
            }
            let windows =
                Windows::strided(text.data.tokens.len(), windows.seq_len(), windows.stride(), max_tokens);
            harder.texts.push((name, text, windows.map_err(EvalError::from)?));
        }
        if self.misspelt {
            let original = std::fs::read_to_string(&data.path)
                .map_err(|source| RunError::File { path: data.path.clone(), source })?;
            for seed in 0..self.seeds.max(1) {
                let wrong = perturb(&original, PERTURBED_WORDS, seed as u64);
                let text = Text::of(data.path.clone(), &wrong, tokenizer)?;
                let found =
                    Windows::strided(text.data.tokens.len(), windows.seq_len(), windows.stride(), max_tokens);
                harder.texts.push((MISSPELT.to_owned(), text, found.map_err(EvalError::from)?));
            }
        }
        if self.long_context {
            match Windows::of(data.data.tokens.len(), max_positions, max_tokens) {
                Ok(long) if max_positions > windows.seq_len() => {
                    harder.texts.push((LONG_CONTEXT.to_owned(), data.clone(), long));
                }
                _ => harder.notes.push(format!(
                    "long context was not measured: the windows of {} tokens are all that the model's {max_positions} \
                     positions or the text's {} tokens allow",
                    windows.seq_len(),
                    data.data.tokens.len()
                )),
            }
        }
        Ok(harder)
    }
}

/// A model's results by the names of texts, and the windows that they were made of.
pub(super) type Found = (BTreeMap<String, Robustness>, BTreeMap<String, Vec<WindowScore>>);

/// Measures every model on every text; the results of each model.
pub(super) fn measure(
    subjects: &[Subject<'_>],
    harder: &Harder,
    observer: &dyn Observer,
) -> Result<Vec<Found>, RunError> {
    let mut windows_of: Vec<BTreeMap<String, Vec<WindowScore>>> = vec![BTreeMap::new(); subjects.len()];
    let mut runs: Vec<BTreeMap<String, Vec<Quality>>> = vec![BTreeMap::new(); subjects.len()];
    let total: usize = harder.texts.iter().map(|(_, _, windows)| windows.count()).sum();
    if total > 0 {
        observer.begin("measuring robustness", total as u64);
        for (name, text, windows) in &harder.texts {
            let measured = quality::measure(subjects, &text.data, *windows, |done| observer.step(done))?;
            for ((runs, kept), measured) in runs.iter_mut().zip(&mut windows_of).zip(measured) {
                runs.entry(name.clone()).or_default().push(measured.quality);
                kept.entry(name.clone()).or_default().extend(measured.windows);
            }
        }
        observer.end();
    }
    let summed = |runs: BTreeMap<String, Vec<Quality>>| {
        runs.into_iter().filter_map(|(name, runs)| Some((name, Robustness::of(&runs)?))).collect()
    };
    Ok(runs.into_iter().map(summed).zip(windows_of).collect())
}
