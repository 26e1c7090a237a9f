//! What writes models.

use super::PluginDirArgs;
use std::path::PathBuf;

/// Apply a recipe to a model and write the result, without evaluation.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis compress --model models/tiny --recipe int4.toml --calib train.txt --out tiny-int4")]
pub(crate) struct CompressArgs {
    /// The model's directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// A recipe file, or the name of a built-in recipe.
    #[arg(long, value_name = "FILE.toml|NAME")]
    pub(crate) recipe: PathBuf,
    /// The UTF-8 text that techniques such as GPTQ are calibrated on.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) calib: Option<PathBuf>,
    /// The UTF-8 text that the recipe's gates are decided on.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) gate_data: Option<PathBuf>,
    /// The directory that is written.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

/// Choose a technique for every weight, within budgets, and write the choice as a recipe.
///
/// Every choice of a menu is tried on every Linear: integers of 2 to 8 bits, pruned weights, both together, products of low rank. Each
/// is scored by the divergence that it makes of the predictions on calibration text, and one is chosen for each so that the least is
/// lost within the budgets. See docs/allocation.md.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis allocate --model models/tiny --calib train.txt --bytes 0.15x --out small.toml
  tenuis eval --model models/tiny --data val.txt --calib train.txt --recipe small.toml --recipe int4-gptq")]
pub(crate) struct AllocateArgs {
    /// The model's directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The UTF-8 text that techniques are calibrated on, and choices scored.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) calib: PathBuf,
    /// Bytes of all tensors at most: a share of the model's such as 0.2x, or a number.
    #[arg(long, value_name = "N|SHAREx")]
    pub(crate) bytes: Option<String>,
    /// Operations per token that the Linears take at most: a share such as 0.5x, or a number.
    #[arg(long, value_name = "N|SHAREx")]
    pub(crate) flops: Option<String>,
    /// Milliseconds per token that the Linears take on this machine at most: a share such as 0.8x, or a number.
    #[arg(long, value_name = "MS|SHAREx")]
    pub(crate) latency: Option<String>,
    /// What there is to choose from [default: integers, pruned and low-rank forms, see docs/allocation.md].
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) menu: Option<PathBuf>,
    /// How the harm of a choice is known: by the divergence that each choice makes, by that of one choice per Linear and the
    /// output error of the others, or by the output error alone.
    #[arg(long, value_name = "HOW", value_parser = ["every", "reference", "error"], default_value = "every")]
    pub(crate) scores: String,
    /// How often scores are taken anew around the best choice so far, with --scores every.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Tokens that divergences are measured on.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(crate) score_tokens: usize,
    /// Windows that techniques are calibrated on.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) samples: usize,
    /// Tokens per window [default: 2048 or the model's positions, whichever is less].
    #[arg(long, value_name = "N")]
    pub(crate) seq_len: Option<usize>,
    /// Seeds whatever a technique draws at random.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Megabytes that the weights of all choices may take in memory.
    #[arg(long, value_name = "MB", default_value_t = 8000)]
    pub(crate) candidate_mb: u64,
    /// The recipe that is written; what was tried and why stands beside it, as .json in the place of .toml.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}

/// What every command that compresses shares.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct WorkArgs {
    /// Copy weights that are NaN or infinite through, uncompressed, instead of failing.
    #[arg(long)]
    pub(crate) allow_nonfinite: bool,
    /// Start over where a finished candidate of the same inputs exists.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Refuse recipes that need more memory than so many gigabytes, by their plan [default: what is free].
    #[arg(long, value_name = "GB")]
    pub(crate) max_memory: Option<f64>,
    /// Say what it will take (memory, disk, and time by a probe of two seconds) and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Save finished blocks of a stage at most every so many seconds; a kill loses one block, or so much work.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) save_every: f64,
    /// Go on in the background without the terminal, with the output in OUT.log.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Begin a new weight file after so many megabytes.
    #[arg(long, value_name = "MB", default_value_t = 5000)]
    pub(crate) shard_mb: u64,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}

/// Write a model in the format of another program.
///
/// Packed integer weights keep their codes where the format can hold them; a weight that it cannot hold is stored in f16, and
/// a warning says which and why. What was written is read again and compared with the model before it appears at OUT.
///
/// FORMAT is one of:
///   gptq, gptq-v2       2, 3, 4 and 8 bits with act-order: GPTQModel, vLLM (v2 where a zero point is 0)
///   awq                 4 bits, version gemm: AutoAWQ, GPTQModel, vLLM
///   gguf                OUT/model.gguf with the tokenizer, as F16, Q8_0, Q4_0 and Q4_1: llama.cpp (llama, mistral, qwen2)
///   dense               floats that transformers loads
///   compressed-tensors  integers of any width: transformers, vLLM
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "Examples:
  tenuis export --model tiny-int4 --format gguf --out tiny-gguf
  tenuis export --model tiny-int4 --format dense --dtype bf16 --out tiny-bf16
  tenuis export --model downloads/model.gguf --format compressed-tensors --out model-ct")]
pub(crate) struct ExportArgs {
    /// The model's directory, or a GGUF file.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    pub(crate) model: PathBuf,
    /// The format.
    #[arg(long, value_parser = ["gptq", "gptq-v2", "awq", "gguf", "dense", "compressed-tensors"], hide_possible_values = true)]
    pub(crate) format: String,
    /// The directory that is written.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The type of everything that is stored dense [default: f16 for matrices in gguf and dense; elsewhere as it is].
    #[arg(long, value_parser = ["f32", "f16", "bf16"])]
    pub(crate) dtype: Option<String>,
    /// Begin a new weight file after so many megabytes; a GGUF file is never cut.
    #[arg(long, value_name = "MB", default_value_t = 5000)]
    pub(crate) shard_mb: u64,
    /// Replace a directory that Tenuis wrote.
    #[arg(long)]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}

/// Train a model on a text: a new one by its configuration, or one that is there.
///
/// The text may mark documents by `<|endoftext|>`. State and metrics (JSON lines) go to OUT.train; a run that was
/// interrupted goes on from there when it is started again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis train --config tiny.json --text train.txt --valid val.txt --steps 3000 --out tiny")]
pub(crate) struct TrainArgs {
    /// The configuration of a new model, as in its checkpoint.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) config: Option<PathBuf>,
    /// The model to go on with, instead of a new one.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) model: Option<PathBuf>,
    /// The directory with a new model's tokenizer.json [default: byte-level BPE learnt from the text].
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// The UTF-8 text to learn.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) text: PathBuf,
    /// The UTF-8 text to validate on.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) valid: Option<PathBuf>,
    /// Every setting of the trainer as TOML (see docs/training.md); the options below overrule it.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) settings: Option<PathBuf>,
    /// Optimiser steps.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
    /// End at step N although the schedule goes on, and write the model as it then is.
    #[arg(long, value_name = "N")]
    pub(crate) stop_after: Option<usize>,
    /// Sequences per step.
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<usize>,
    /// Tokens per sequence.
    #[arg(long, value_name = "N")]
    pub(crate) seq_len: Option<usize>,
    /// The largest learning rate.
    #[arg(long, value_name = "RATE")]
    pub(crate) learning_rate: Option<f64>,
    /// Makes the run repeatable.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The type of the written weights: f32, bf16 or f16.
    #[arg(long, default_value = "bf16")]
    pub(crate) dtype: String,
    /// Where state and metrics are kept [default: OUT.train].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Replace a model that an earlier run wrote.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Go on in the background without the terminal, with the output in OUT.log.
    #[arg(long)]
    pub(crate) detach: bool,
    /// The directory that is written.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
