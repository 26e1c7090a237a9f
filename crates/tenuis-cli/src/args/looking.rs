//! What shows things: recipes, runs, models, reports.

use super::PluginDirArgs;
use clap::Subcommand;
use std::path::PathBuf;

/// Check and explain recipes, or print what they may hold.
#[derive(Debug, clap::Args)]
pub(crate) struct RecipeArgs {
    #[command(subcommand)]
    pub(crate) action: RecipeAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecipeAction {
    /// List the built-in recipes.
    List,
    /// Print the JSON Schema of recipe files, for editors.
    Schema,
    /// Check recipes against their grammar and against the options of the loaded plugins.
    Check {
        /// Recipe files, or names of built-in recipes.
        #[arg(value_name = "FILE.toml|NAME", required = true)]
        recipes: Vec<PathBuf>,
        #[command(flatten)]
        plugins: PluginDirArgs,
    },
    /// Say in sentences what a recipe will do.
    Explain {
        /// A recipe file, or the name of a built-in recipe.
        #[arg(value_name = "FILE.toml|NAME")]
        recipe: PathBuf,
    },
}

/// Show what was run, from the ledger beside a report.
#[derive(Debug, clap::Args)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    pub(crate) action: RunsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsAction {
    /// List the runs of a directory: when, what, how it ended.
    List {
        /// The directory that runs wrote to.
        #[arg(value_name = "DIR", default_value = "tenuis-out")]
        dir: PathBuf,
    },
    /// Show the stages, decisions and figures of a run.
    Show {
        /// The run's name, as `tenuis runs list` shows it.
        run: String,
        /// The directory that runs wrote to.
        #[arg(value_name = "DIR", default_value = "tenuis-out")]
        dir: PathBuf,
    },
    /// Put the figures of two runs beside each other.
    Compare {
        /// A run: its name, or DIR#NAME for one of another directory.
        a: String,
        /// Another one.
        b: String,
        /// The directory of runs that are named without one.
        #[arg(value_name = "DIR", default_value = "tenuis-out")]
        dir: PathBuf,
    },
    /// Write the whole ledger as CSV.
    Export {
        /// The directory that runs wrote to.
        #[arg(value_name = "DIR", default_value = "tenuis-out")]
        dir: PathBuf,
        /// The file [default: standard output].
        #[arg(long, value_name = "FILE.csv")]
        out: Option<PathBuf>,
    },
    /// Remove outputs of stages that are kept for later runs, what was used longest ago first.
    Gc {
        /// The directory that runs wrote to.
        #[arg(value_name = "DIR", default_value = "tenuis-out")]
        dir: PathBuf,
        /// Leave at most so many gigabytes; candidates and reports stay in any case.
        #[arg(long, value_name = "GB", default_value_t = 0.0)]
        limit: f64,
        /// Say what would be removed, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Show a model's architecture, tensors, representations and bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The model's directory.
    pub(crate) dir: PathBuf,
    /// List every tensor.
    #[arg(long)]
    pub(crate) tensors: bool,
    /// Check every tensor against the hashes of the manifest.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}

/// Continue a text with any model that Tenuis can read.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// The model's directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The text to continue.
    #[arg(long)]
    pub(crate) prompt: String,
    /// Tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) max_new_tokens: usize,
    /// 0 takes the most likely token every time; higher values vary more.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) temperature: f64,
    /// Sample among the K most likely tokens only.
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Sample among the most likely tokens that together have this probability.
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f64>,
    /// Makes sampling repeatable.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}

/// Write a model's logits and hidden states for given token ids.
///
/// Reads `input_ids` [batch, seq] (i64) from a safetensors file and writes f32 `logits` [batch, seq, vocab] and
/// `hidden_states.i` [batch, seq, width]: the embedding, each block's output, and last the final norm's output in the
/// place of the last block's, as transformers numbers them.
#[derive(Debug, clap::Args)]
pub(crate) struct LogitsArgs {
    /// The model's directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The file with the token ids.
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) ids: PathBuf,
    /// The file that is written.
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}

/// Write report.md and report.html again from a report.json.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis report tenuis-out")]
pub(crate) struct ReportArgs {
    /// The directory that holds report.json.
    pub(crate) dir: PathBuf,
    /// Add speed and memory that `tenuis measure --json` found on other machines.
    #[arg(long, value_name = "FILE.json", num_args = 1..)]
    pub(crate) merge: Vec<PathBuf>,
    /// Add the candidates of other reports about the same model.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub(crate) with: Vec<PathBuf>,
    /// Put numbers of different protocols side by side all the same; the report says so.
    #[arg(long)]
    pub(crate) force: bool,
}
