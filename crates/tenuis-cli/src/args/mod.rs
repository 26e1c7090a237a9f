//! The command line.

mod eval;
mod looking;
mod making;
mod plugins;
mod scoring;

pub(crate) use eval::{EvalArgs, MeasureArgs, Preset, ResourceArgs, SearchArgs};
pub(crate) use looking::{
    GenerateArgs, InspectArgs, LogitsArgs, RecipeAction, RecipeArgs, ReportArgs, RunsAction, RunsArgs,
};
pub(crate) use making::{AllocateArgs, CompressArgs, ExportArgs, TrainArgs, WorkArgs};
pub(crate) use plugins::{IsolationArg, PluginDirArgs, PluginWorkerArgs, PluginsAction, PluginsArgs};
pub(crate) use scoring::{MetricsAction, MetricsArgs, RatingsAction, RatingsArgs, ScoringArgs};

use clap::{Parser, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Makes trained neural networks small and fast, and proves what that cost.
///
/// A model is a directory in Hugging Face layout: config.json, *.safetensors, tokenizer.json; or a GGUF file.
#[derive(Debug, Parser)]
#[command(name = "tenuis", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success, 1 internal error, 2 wrong usage, 3 unusable model, text or tokenizer, \
4 wrong recipe, 5 plugin missing or failed, 6 output could not be written, 7 numerical failure, \
8 a file changed while it was read, 9 stopped with its state saved, 10 a required condition does not hold. See docs/exit-codes.md."
)]
pub(crate) struct Args {
    /// Worker threads; all cores by default.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Eval(Box<EvalArgs>),
    Measure(MeasureArgs),
    Compress(CompressArgs),
    Allocate(AllocateArgs),
    Export(ExportArgs),
    Inspect(InspectArgs),
    Generate(GenerateArgs),
    Logits(LogitsArgs),
    Train(TrainArgs),
    Plugins(PluginsArgs),
    Report(ReportArgs),
    Runs(RunsArgs),
    Recipe(RecipeArgs),
    Metrics(MetricsArgs),
    Ratings(RatingsArgs),
    /// Print the JSON Schema of report.json.
    Schema,
    #[command(hide = true)]
    ProbeMemory(ProbeArgs),
    #[command(hide = true)]
    PluginWorker(PluginWorkerArgs),
}

/// Runs a model once and prints this process's peak memory; without a model, that of doing nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// The model's directory.
    pub(crate) model: Option<PathBuf>,
    /// Tokens of the prompt.
    #[arg(default_value_t = 128)]
    pub(crate) prompt_tokens: usize,
    /// Tokens decoded after it.
    #[arg(default_value_t = 32)]
    pub(crate) decode_tokens: usize,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}
