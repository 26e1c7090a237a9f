//! The command line.

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
    Eval(EvalArgs),
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

/// Compress a model by one or more recipes, measure all beside the original, and report.
///
/// Without --model it is the demonstration model that the program carries, with its own texts and tasks. Without --recipe
/// the built-in recipes f16, int8-rtn, int4-rtn, int4-gptq and distilled run. Candidates that an earlier run finished with
/// the same model, recipe, plugins and calibration text are reused; training goes on from its last saved state.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tenuis eval --model models/tiny --data val.txt --calib train.txt --max-tokens 50000 --task facts.jsonl")]
pub(crate) struct EvalArgs {
    /// The model's directory [default: the demonstration model].
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// A recipe file, or the name of a built-in recipe; may be given several times.
    #[arg(long = "recipe", value_name = "FILE.toml|NAME")]
    pub(crate) recipes: Vec<PathBuf>,
    /// Search for the best choices of a recipe with a [search] table, or of the built-in one, for the scenario. The search is
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

/// What every command that compresses shares.
#[derive(Debug, clap::Args)]
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

/// Where plugins are looked for.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginDirArgs {
    /// Look for plugins in this directory only; may be given several times [default: TENUIS_PLUGIN_DIR, else
    /// `plugins` beside the program and `../lib/tenuis/plugins`].
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// Where the code of plugins runs: `auto` gives those from outside the installation processes of their own, `process`
    /// every one, `none` no one.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) isolation: IsolationArg,
}

/// Where the code of plugins runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IsolationArg {
    /// Plugins from outside the installation, and those whose manifest asks for it, in processes of their own.
    Auto,
    /// Every plugin in processes of its own.
    Process,
    /// Every plugin in this process.
    None,
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

/// Show the plugins and their techniques.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginsArgs {
    #[command(subcommand)]
    pub(crate) action: PluginsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsAction {
    /// List what was found where.
    List {
        #[command(flatten)]
        plugins: PluginDirArgs,
    },
    /// Pin the plugins of a directory: write the hashes of their libraries to its plugins.lock.
    Lock {
        /// The directory.
        dir: PathBuf,
    },
    /// Print the JSON Schema of a technique's options.
    Schema {
        /// The technique.
        technique: String,
        #[command(flatten)]
        plugins: PluginDirArgs,
    },
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

/// Runs one plugin for the host at the other end of standard input.
#[derive(Debug, clap::Args)]
pub(crate) struct PluginWorkerArgs {
    /// The plugin's library.
    pub(crate) library: PathBuf,
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
