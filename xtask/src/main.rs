//! `cargo xtask`: builds, runs, tests, checks and installs the workspace from a fresh clone.

mod artifacts;
mod curve;
mod demo;
mod error;
mod files;
mod hand_over;
mod install;
mod plugin;
mod results;
mod tests_and_benches;
mod tidy;
mod workspace;
mod world;

use artifacts::Scope;
use cargo_metadata::camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand};
use error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use workspace::Workspace;

/// Builds Tenuis and runs it; tests, checks and installs it.
///
/// The commands that take any arguments build the `tenuis` binary and every plugin in release, put the plugins beside
/// it and hand the arguments over: `cargo xtask eval …` is `tenuis eval …` on what the sources say now.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask eval                           compress the demonstration model and compare
  cargo xtask eval --model DIR --data TEXT --calib TEXT
                                             the same with a model of your own
  cargo xtask eval --help                    what `tenuis eval` takes
  cargo xtask run -- plugins list            any command of the program
  cargo xtask test                           every test of the workspace, doc tests too
  cargo xtask test -p tenuis-quant golden    tests of one crate whose names match
  cargo xtask test -- --nocapture            arguments for the test binaries
  cargo xtask tidy                           what the compiler does not check
  cargo xtask bench gptq                     the benchmarks whose names match
  cargo xtask plugin new my-plugin           the crate of a plugin of your own, beside this checkout
  cargo xtask plugin check LIBRARY           whether a plugin conforms
  cargo xtask install --prefix ~/.local      bin/tenuis and lib/tenuis/plugins

Build output goes to `target/` or to CARGO_TARGET_DIR. Tests of real models read the
directory that TENUIS_SHARED names (by default `../shared`, where there is one).";

#[derive(Subcommand)]
enum Task {
    /// Compress with recipes, evaluate and report (`tenuis eval`)
    #[command(disable_help_flag = true)]
    Eval(Rest),
    /// Measure speed and memory of models on this machine (`tenuis measure`)
    #[command(disable_help_flag = true)]
    Measure(Rest),
    /// Compress with one recipe, without evaluation (`tenuis compress`)
    #[command(disable_help_flag = true)]
    Compress(Rest),
    /// Choose a technique for every Linear within a budget (`tenuis allocate`)
    #[command(disable_help_flag = true)]
    Allocate(Rest),
    /// Check, explain and list recipes (`tenuis recipe`)
    #[command(disable_help_flag = true)]
    Recipe(Rest),
    /// Show what was run (`tenuis runs`)
    #[command(disable_help_flag = true)]
    Runs(Rest),
    /// Write a checkpoint in the format of another program (`tenuis export`)
    #[command(disable_help_flag = true)]
    Export(Rest),
    /// Show what a checkpoint holds (`tenuis inspect`)
    #[command(disable_help_flag = true)]
    Inspect(Rest),
    /// Continue a prompt with any checkpoint (`tenuis generate`)
    #[command(disable_help_flag = true)]
    Generate(Rest),
    /// Write the logits of given token ids (`tenuis logits`)
    #[command(disable_help_flag = true)]
    Logits(Rest),
    /// Train a model on a text (`tenuis train`)
    #[command(disable_help_flag = true)]
    Train(Rest),
    /// Write a report's pages again (`tenuis report`)
    #[command(disable_help_flag = true)]
    Report(Rest),
    /// Score predictions by a metric (`tenuis metrics`)
    #[command(disable_help_flag = true)]
    Metrics(Rest),
    /// Let people rate outputs without knowing whose they are (`tenuis ratings`)
    #[command(disable_help_flag = true)]
    Ratings(Rest),
    /// Show which plugins are found where (`tenuis plugins`)
    #[command(disable_help_flag = true)]
    Plugins(Rest),
    /// Begin a plugin of your own, or check that one conforms
    #[command(subcommand)]
    Plugin(plugin::Action),
    /// Build, then run `tenuis` with the arguments after `--`
    #[command(disable_help_flag = true)]
    Run(Rest),
    /// Build the binary and the plugins in release and say where they are
    Build,
    /// Build the plugins, then run every test in release; arguments go to `cargo test`
    Test(TestArgs),
    /// Check layers, file sizes, docs and words; list every problem and how to mend it
    Tidy,
    /// Run the criterion benchmarks; arguments (a filter, `--save-baseline NAME`) go to criterion
    Bench(Rest),
    /// Copy the binary and the plugins under a prefix, each file at once or not at all
    Install {
        /// The directory that gets `bin/tenuis` and `lib/tenuis/plugins/`
        #[arg(long, value_name = "DIR")]
        prefix: Utf8PathBuf,
        /// Print what would be copied and change nothing under the prefix
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the texts of the demonstration model's world: training text and evaluation sets
    World {
        /// The directory that gets `train-1.txt` to `train-4.txt`, `text.txt`, `facts.jsonl`, `problems.jsonl` and `cloze.jsonl`
        #[arg(long, value_name = "DIR")]
        out: Utf8PathBuf,
        /// The least size of each training text
        #[arg(long, value_name = "N", default_value_t = 32_000_000)]
        bytes: u64,
    },
    /// Train the demonstration model anew and put it into `assets/demo` (under two hours on two cores)
    TrainDemo {
        /// Where texts and state are kept, so that an interrupted run goes on [default: `demo` in the build directory]
        #[arg(long, value_name = "DIR")]
        work: Option<Utf8PathBuf>,
    },
    /// Measure every technique on the demonstration model and others, and write `docs/results.md`
    Results {
        /// Where recipes, candidates and reports are kept; what is there is not made again [default: `results` in the
        /// build directory]
        #[arg(long, value_name = "DIR")]
        work: Option<Utf8PathBuf>,
        /// Measure one model alone: `demo`, `tiny1m` or `stories260k`
        #[arg(long, value_name = "MODEL")]
        only: Option<String>,
    },
}

/// Everything after the command, untouched.
#[derive(Args)]
struct Rest {
    /// Passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// The arguments of `cargo test`, which mean different things on either side of the dashes.
#[derive(Args)]
struct TestArgs {
    /// For `cargo test`: `-p CRATE`, `--test NAME`, part of a test's name
    #[arg(allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
    /// For the test binaries: `--nocapture`, `--test-threads 1`
    #[arg(last = true, value_name = "ARGS")]
    harness: Vec<OsString>,
}

impl TestArgs {
    /// The arguments before and after the dashes. The parser takes `--` for one more value where others precede it.
    fn sides(&self) -> (&[OsString], &[OsString]) {
        match self.args.iter().position(|arg| arg == "--") {
            Some(at) => (&self.args[..at], &self.args[at + 1..]),
            None => (&self.args, &self.harness),
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            report(&format!("error: {error}"));
            ExitCode::from(error.code())
        }
    }
}

fn run(task: Task) -> Result<ExitCode, Error> {
    match task {
        Task::Eval(rest) => tenuis(Some("eval"), rest),
        Task::Measure(rest) => tenuis(Some("measure"), rest),
        Task::Compress(rest) => tenuis(Some("compress"), rest),
        Task::Allocate(rest) => tenuis(Some("allocate"), rest),
        Task::Recipe(rest) => tenuis(Some("recipe"), rest),
        Task::Runs(rest) => tenuis(Some("runs"), rest),
        Task::Export(rest) => tenuis(Some("export"), rest),
        Task::Inspect(rest) => tenuis(Some("inspect"), rest),
        Task::Generate(rest) => tenuis(Some("generate"), rest),
        Task::Logits(rest) => tenuis(Some("logits"), rest),
        Task::Train(rest) => tenuis(Some("train"), rest),
        Task::Report(rest) => tenuis(Some("report"), rest),
        Task::Metrics(rest) => tenuis(Some("metrics"), rest),
        Task::Ratings(rest) => tenuis(Some("ratings"), rest),
        Task::Plugins(rest) => tenuis(Some("plugins"), rest),
        Task::Plugin(action) => plugin::run(action, say),
        Task::Run(rest) => tenuis(None, rest),
        Task::Build => {
            let artifacts = artifacts::build(&Workspace::members_only()?, Scope::Product)?;
            say(&format!("{}\n{}", artifacts.program, artifacts.plugin_dir));
            Ok(ExitCode::SUCCESS)
        }
        Task::Test(rest) => {
            let (args, harness) = rest.sides();
            tests_and_benches::test(args, harness).map(|()| ExitCode::SUCCESS)
        }
        Task::Bench(rest) => tests_and_benches::bench(&rest.args).map(|()| ExitCode::SUCCESS),
        Task::Tidy => check_tidiness(),
        Task::Install { prefix, dry_run } => install(&prefix, dry_run),
        Task::World { out, bytes } => write_world(&out, bytes),
        Task::TrainDemo { work } => demo::train(work).map(|()| ExitCode::SUCCESS),
        Task::Results { work, only } => results::write(work, only.as_deref()).map(|()| ExitCode::SUCCESS),
    }
}

fn tenuis(command: Option<&str>, rest: Rest) -> Result<ExitCode, Error> {
    let artifacts = artifacts::build(&Workspace::members_only()?, Scope::Product)?;
    let args = command.map(OsString::from).into_iter().chain(rest.args);
    hand_over::become_program(&artifacts.program, args)
}

fn check_tidiness() -> Result<ExitCode, Error> {
    let checked = tidy::check(&Workspace::resolved()?)?;
    for problem in &checked.problems {
        say(&problem.to_string());
    }
    match checked.problems.len() {
        0 => {
            say(&format!("tidy: {} files, {} crates, nothing to mend", checked.files, checked.crates));
            Ok(ExitCode::SUCCESS)
        }
        1 => Err(Error::Untidy("1 problem".into())),
        n => Err(Error::Untidy(format!("{n} problems"))),
    }
}

fn install(prefix: &Utf8PathBuf, dry_run: bool) -> Result<ExitCode, Error> {
    let artifacts = artifacts::build(&Workspace::members_only()?, Scope::Product)?;
    for step in install::plan(&artifacts, prefix) {
        let note = match dry_run {
            true => " (dry run)",
            false if step.carry_out()? => "",
            false => " (unchanged)",
        };
        say(&format!("{}{note}", step.describe()));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_world(out: &Utf8PathBuf, bytes: u64) -> Result<ExitCode, Error> {
    let written = world::write(out, bytes)?;
    let [facts, problems, stories] = written.items;
    say(&format!("{out}: {} documents, {} bytes to train on", written.documents, written.bytes));
    say(&format!("{out}/text.txt: {} bytes", written.text_bytes));
    say(&format!("{out}: {facts} facts, {problems} problems, {stories} stories, none of them in those"));
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "xtask is a program for the terminal")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "xtask is a program for the terminal")]
fn report(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn arguments(line: &[&str]) -> (String, Vec<String>) {
        let matches = Cli::command().try_get_matches_from([&["cargo xtask"], line].concat()).unwrap();
        let (name, sub) = matches.subcommand().unwrap();
        let rest = sub.get_many::<OsString>("args").unwrap_or_default();
        (name.to_owned(), rest.map(|a| a.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_the_program_pass_untouched() {
        for line in [
            &["--help"][..],
            &["-h"],
            &["--model", "dir", "--recipe", "a.toml", "--recipe", "b.toml"],
            &["dir", "--", "-x"],
            &["--prompt=-1", "--seed", "-3", "--version"],
        ] {
            let (name, rest) = arguments(&[&["eval"], line].concat());
            assert_eq!((name.as_str(), rest), ("eval", line.iter().map(|&a| a.to_owned()).collect()));
        }
    }

    #[test]
    fn run_takes_a_whole_command_line_after_the_dashes() {
        assert_eq!(arguments(&["run", "--", "plugins", "list", "--help"]).1, ["plugins", "list", "--help"]);
        assert_eq!(arguments(&["run", "inspect", "dir"]).1, ["inspect", "dir"]);
    }

    #[test]
    fn arguments_of_tests_keep_their_side_of_the_dashes() {
        let parse = |line: &[&str]| match Cli::try_parse_from([&["cargo xtask", "test"], line].concat()) {
            Ok(Cli { command: Task::Test(rest) }) => {
                let (args, harness) = rest.sides();
                (args.to_vec(), harness.to_vec())
            }
            Ok(_) => panic!("another command"),
            Err(error) => panic!("{error}"),
        };
        let words = |line: &[&str]| line.iter().map(OsString::from).collect::<Vec<_>>();
        let both = parse(&["-p", "tenuis-core", "golden", "--", "--nocapture", "-q"]);
        assert_eq!(both, (words(&["-p", "tenuis-core", "golden"]), words(&["--nocapture", "-q"])));
        assert_eq!(parse(&["--", "--nocapture"]), (vec![], words(&["--nocapture"])));
        assert_eq!(parse(&[]), (vec![], vec![]));
    }

    #[test]
    fn help_shows_each_command() {
        let help = Cli::command().render_long_help().to_string();
        for command in [
            "eval", "compress", "inspect", "generate", "logits", "plugins", "plugin", "run", "build", "test",
            "tidy", "world",
        ] {
            assert!(help.contains(&format!("\n  {command}")), "{command} is missing from\n{help}");
        }
    }
}
