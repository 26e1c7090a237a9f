//! Evaluation, searches and measurements.

use super::{PluginDirArgs, WorkArgs};
use std::path::PathBuf;

/// Compress a model by one or more recipes, measure all beside the original, and report.
///
/// Without --model it is the demonstration model that the program carries, with its own texts and tasks. Without --recipe
/// the built-in recipes f16, int8-rtn, int4-rtn, int4-gptq and distilled run. Candidates that an earlier run finished with
/// the same model, recipe, plugins and calibration text are reused; training goes on from its last saved state.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis eval --model models/tiny --data val.txt --calib train.txt --max-tokens 50000 --task facts.jsonl")]
pub(crate) struct EvalArgs {
    /// The model's directory, or org/name or org/name@revision in the Hugging Face cache [default: the demonstration model].
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// A recipe file, or the name of a built-in recipe; may be given several times.
    #[arg(long = "recipe", value_name = "FILE.toml|NAME")]
    pub(crate) recipes: Vec<PathBuf>,
    /// Search for the best choices of a recipe with a table `search`, or of the built-in one, for the scenario. The search is
    /// saved after every trial; the same command goes on with it. The best so far is always in OUT/best.
    #[arg(long)]
    pub(crate) search: bool,
    /// Checkpoints that were made elsewhere (ours, GPTQ, AWQ, compressed-tensors, GGUF), to be measured beside the model.
    /// Without --recipe nothing is compressed; without --model the first one is what the others are compared with.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub(crate) compare: Vec<PathBuf>,
    /// A condition that every candidate has to meet, such as "perplexity <= 1.03x baseline", "bytes <= 4e6" or
    /// "task.facts >= 0.95x baseline"; may be given several times. Where one does not hold, or was not measured, the exit
    /// code is 10.
    #[arg(long = "require", value_name = "CONDITION")]
    pub(crate) requirements: Vec<String>,
    /// The UTF-8 text that quality is measured on.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) data: Option<PathBuf>,
    /// The UTF-8 text that gates and searches choose by [default: the first half of --data; what is reported is then
    /// measured on the second half].
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) select: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) found: SearchArgs,
    /// Outputs of stages are kept in OUT/.stages for later runs, up to so many gigabytes.
    #[arg(long, value_name = "GB", default_value_t = 20.0)]
    pub(crate) cache_gb: f64,
    /// A task that every model does; may be given several times.
    ///
    /// A file of questions (JSON lines, JSON or CSV) in a known layout, which its fields tell: MMLU, C-Eval, CMMLU, HellaSwag, ARC,
    /// PIQA, WinoGrande, GSM8K, LAMBADA, SQuAD, translation, summarisation; or NAME=FILE to name the layout; or a TOML file
    /// that defines a task of your own: template, choices or extraction, metric, solved examples (docs/tasks.md).
    /// The file's name without its extension names the result.
    #[arg(long = "task", value_name = "FILE")]
    pub(crate) tasks: Vec<PathBuf>,
    /// The UTF-8 text that techniques such as GPTQ are calibrated on.
    #[arg(long, value_name = "FILE.txt")]
    pub(crate) calib: Option<PathBuf>,
    /// Where report and candidates go: report.json, report.md, report.html and one checkpoint directory per recipe.
    #[arg(long, value_name = "DIR", default_value = "tenuis-out")]
    pub(crate) out: PathBuf,
    /// Tokens per evaluation window [default: 2048 or the model's positions, whichever is less].
    #[arg(long, value_name = "N")]
    pub(crate) seq_len: Option<usize>,
    /// Tokens between the starts of windows. Fewer than --seq-len make windows overlap, each predicting its last N tokens with the
    /// rest as context: slower, and a lower perplexity [default: windows do not overlap].
    #[arg(long, value_name = "N")]
    pub(crate) stride: Option<usize>,
    /// The protocol that figures are usually published under: windows of 2048 tokens that do not overlap, of the whole text
    /// (wikitext2: the raw test text; give it with --data) or 256 of them (c4: validation documents, as .jsonl).
    #[arg(long, value_name = "NAME", conflicts_with_all = ["seq_len", "stride", "max_tokens"])]
    pub(crate) preset: Option<Preset>,
    /// Evaluate at most N tokens, in windows evenly spaced over the text.
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// Measure everything: --robustness, --sweep, --load and --profile.
    #[arg(long)]
    pub(crate) full: bool,
    /// Measure perplexity on misspelt and on longer text as well, and say what of it is left.
    #[arg(long)]
    pub(crate) robustness: bool,
    /// Measure perplexity on these texts of other domains as well.
    #[arg(long, value_name = "FILE.txt", num_args = 1..)]
    pub(crate) ood: Vec<PathBuf>,
    /// How many times the text is misspelt, each time otherwise; the report has mean and deviation.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) seeds: usize,
    /// A figure of your own: a command that prints a number about the model in $TENUIS_MODEL; NAME:lower where less is better.
    #[arg(long = "business", value_name = "NAME=COMMAND")]
    pub(crate) business: Vec<String>,
    /// What counts how much in the score of all [default: accuracy=0.4,latency=0.3,size=0.2,memory=0.1].
    #[arg(long, value_name = "NAME=NUMBER,..")]
    pub(crate) weights: Option<String>,
    /// What an hour of this machine costs; the report then says what a million tokens cost.
    #[arg(long, value_name = "PRICE")]
    pub(crate) price_per_hour: Option<f64>,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

/// What to search for.
#[derive(Debug, clap::Args)]
pub(crate) struct SearchArgs {
    /// What is wanted: cloud, phone, iot, realtime, quality-first, cost-first, or a scenario file (docs/planning.md)
    /// [default: the most quality in half of the bytes].
    #[arg(long, value_name = "NAME|FILE.toml", requires = "search")]
    pub(crate) scenario: Option<String>,
    /// How many trials at most [default: what the recipe says].
    #[arg(long, value_name = "N", requires = "search")]
    pub(crate) trials: Option<usize>,
    /// Begin no further trial after so many minutes, those of earlier runs included.
    #[arg(long, value_name = "N", requires = "search")]
    pub(crate) search_minutes: Option<f64>,
    /// How many of the best trials are measured in full.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "search")]
    pub(crate) finalists: usize,
    /// Seeds what the search draws.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "search")]
    pub(crate) search_seed: u64,
}

/// A published protocol of perplexity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// WikiText-2 raw, test.
    Wikitext2,
    /// C4, validation.
    C4,
}

/// How speed and memory are measured.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct ResourceArgs {
    /// Counted rounds of the speed measurement; 0 leaves it out [default: 10].
    #[arg(long, value_name = "N")]
    pub(crate) speed_repeats: Option<usize>,
    /// Tokens of the prompt and of the generation that are timed [default: 128,32, or what fits the model].
    #[arg(long, value_name = "PROMPT,NEW")]
    pub(crate) speed_lengths: Option<String>,
    /// Time other batch sizes and prompt lengths as well.
    #[arg(long)]
    pub(crate) sweep: bool,
    /// Time requests that come by themselves, steadily, at random and in bursts: latency under load.
    #[arg(long)]
    pub(crate) load: bool,
    /// Requests per second under --load [default: so many that the baseline is busy for 70 % of the time].
    #[arg(long, value_name = "N", requires = "load")]
    pub(crate) load_rate: Option<f64>,
    /// Say which operations prefill and decoding spend their time and bytes on.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Do not measure peak memory.
    #[arg(long)]
    pub(crate) no_memory: bool,
    /// Do not time fresh processes to their first token.
    #[arg(long)]
    pub(crate) no_cold_start: bool,
}

/// Measure speed and memory of models on this machine, without any text.
///
/// On the device that a model is meant for, the output file is what `tenuis report --merge` adds to a report made elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, on the device and then where the report is:
  tenuis measure tenuis-out/int4-gptq tenuis-out/int8-rtn --target phone --json > phone.json
  tenuis report tenuis-out --merge phone.json")]
pub(crate) struct MeasureArgs {
    /// The models' directories; what they are measured beside each other.
    #[arg(value_name = "DIR", required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// What this machine is called in reports [default: its processor].
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// Print JSON (tenuis.measurement/1) instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    #[command(flatten)]
    pub(crate) plugins: PluginDirArgs,
}
