//! The `tenuis` binary: compress, evaluate and run models from the command line.

mod args;
mod commands;
mod demo;
mod detach;
mod exit;
mod plugin_dirs;
mod progress;
mod sigbus;
mod signals;
mod training;

use args::{Args, Command};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// Training and evaluation free and take the same buffers over and over; pages that are given back in between are
/// faulted in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    // A plugin's process maps no weight files of ours; how it ends is its host's to say.
    if !matches!(args.command, Command::PluginWorker(_)) {
        sigbus::install();
    }
    if let Some(threads) = args.threads {
        // Fails only where a pool exists already, which nothing before this line can have made.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global();
    }
    let result = match args.command {
        Command::Eval(eval) => commands::eval::run(*eval),
        Command::Measure(measure) => commands::measure::run(&measure),
        Command::Compress(compress) => commands::compress::run(&compress),
        Command::Allocate(allocate) => commands::allocate::run(&allocate),
        Command::Export(export) => commands::export::run(&export),
        Command::Inspect(inspect) => commands::inspect::run(&inspect),
        Command::Generate(generate) => commands::generate::run(&generate),
        Command::Logits(logits) => commands::logits::run(&logits),
        Command::Train(train) => commands::train::run(&train),
        Command::Plugins(plugins) => commands::plugins::run(&plugins),
        Command::Report(report) => commands::report::run(&report),
        Command::Recipe(recipe) => commands::recipe::run(&recipe),
        Command::Runs(runs) => commands::runs::run(&runs),
        Command::Metrics(metrics) => commands::metrics::run(&metrics),
        Command::Ratings(ratings) => commands::ratings::run(&ratings),
        Command::Schema => commands::schema::run(),
        Command::ProbeMemory(probe) => commands::probe::run(&probe),
        Command::PluginWorker(worker) => commands::plugin_worker::run(&worker),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough closes the pipe; that is no failure.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
