//! Metrics and ratings.

use clap::Subcommand;
use std::path::PathBuf;

/// Score predictions, whatever made them, by a metric.
///
/// A file of predictions has one JSON object on each line, or is CSV with a header (.csv, .tsv). What fields a metric reads
/// stands in the list of metrics; other names, averages, tokenizers and so on are options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tenuis metrics list
  tenuis metrics compute bleu translations.jsonl --interval
  tenuis metrics compare f1 dense.csv int4.csv --options scoring.toml")]
pub(crate) struct MetricsArgs {
    #[command(subcommand)]
    pub(crate) action: MetricsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MetricsAction {
    /// List every metric with its direction, its range and the fields that it reads.
    List,
    /// Compute a metric of a file.
    Compute {
        /// The metric.
        metric: String,
        /// The predictions.
        file: PathBuf,
        /// Add an interval from bootstrap resamples of the items.
        #[arg(long)]
        interval: bool,
        #[command(flatten)]
        scoring: ScoringArgs,
    },
    /// Compare a metric of two files that answer the same items, with an interval of the difference.
    Compare {
        /// The metric.
        metric: String,
        /// The predictions of what is compared with.
        baseline: PathBuf,
        /// The predictions of what is judged.
        candidate: PathBuf,
        #[command(flatten)]
        scoring: ScoringArgs,
    },
}

/// How predictions are scored, and what is printed.
#[derive(Debug, clap::Args)]
pub(crate) struct ScoringArgs {
    /// Options of the metric, such as `bleu = { tokenizer = "zh" }` or `fields = { label = "gold" }`.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) options: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Let people rate the outputs of two models without knowing whose they are.
///
/// `sheet` writes a CSV file to fill in and a key that stays with you; `read` takes the filled sheets back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis ratings sheet --first dense=dense.jsonl --second int4=int4.jsonl --sheet sheet.csv --key key.csv
  tenuis ratings read --key key.csv --rater ada=sheet-ada.csv --rater bob=sheet-bob.csv")]
pub(crate) struct RatingsArgs {
    #[command(subcommand)]
    pub(crate) action: RatingsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RatingsAction {
    /// Write a sheet in which outputs are paired, shuffled and nameless.
    Sheet {
        /// A name and a file of outputs, one JSON object {"item", "prompt", "prediction"} on each line.
        #[arg(long, value_name = "NAME=FILE.jsonl")]
        first: String,
        /// The same of the other model, with the same items.
        #[arg(long, value_name = "NAME=FILE.jsonl")]
        second: String,
        /// The sheet, to be filled in with numbers from 1 to 5.
        #[arg(long, value_name = "FILE.csv")]
        sheet: PathBuf,
        /// Which output is whose.
        #[arg(long, value_name = "FILE.csv")]
        key: PathBuf,
        /// Decides order and sides; take another for each rater.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Read filled sheets: means with intervals, differences, and how far raters agree.
    Read {
        /// The key of the sheets; give one for each rater where their seeds differ.
        #[arg(long = "key", value_name = "FILE.csv", required = true)]
        keys: Vec<PathBuf>,
        /// A rater's name and sheet; may be given several times.
        #[arg(long = "rater", value_name = "NAME=FILE.csv", required = true)]
        raters: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}
