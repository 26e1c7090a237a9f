//! The demonstration model, its texts and its tasks, which the program carries with it.

use crate::exit::Failure;
use std::fs;
use std::path::{Path, PathBuf};

/// Name and bytes of a file.
type File = (&'static str, &'static [u8]);

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../assets/demo/", $name)) as &[u8])),*]
    };
}

/// The checkpoint, as `cargo xtask train-demo` wrote it.
const MODEL: [File; 5] = assets![
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "generation_config.json",
    "tenuis-manifest.json"
];
const TEXTS: [File; 2] = assets!["text.txt", "train.txt"];
const TASKS: [File; 3] = assets!["facts.jsonl", "problems.jsonl", "cloze.jsonl"];

/// The tokens of a window that the demonstration is evaluated in: longer than its documents, and shorter than its memory.
pub(crate) const SEQ_LEN: usize = 256;

/// Where the demonstration lies once it is unpacked.
pub(crate) struct Demo {
    pub(crate) model: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) calibration: PathBuf,
    pub(crate) tasks: Vec<PathBuf>,
}

impl Demo {
    /// Unpacks everything into `dir`; files that are there already are left alone where they are the same.
    pub(crate) fn unpack(dir: &Path) -> Result<Self, Failure> {
        let model = dir.join("model");
        for (dir, files) in
            [(&model, &MODEL[..]), (&dir.to_owned(), &TEXTS[..]), (&dir.to_owned(), &TASKS[..])]
        {
            fs::create_dir_all(dir).map_err(|e| Failure::output(dir, e))?;
            for (name, bytes) in files {
                put(&dir.join(name), bytes)?;
            }
        }
        let [data, calibration] = TEXTS.map(|(name, _)| dir.join(name));
        Ok(Self { model, data, calibration, tasks: TASKS.map(|(name, _)| dir.join(name)).to_vec() })
    }
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let staged = path.with_extension("tmp");
    fs::write(&staged, bytes).and_then(|()| fs::rename(&staged, path)).map_err(|e| Failure::output(path, e))
}
