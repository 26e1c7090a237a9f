//! `plugin_check FILE [--options JSON]`: runs every conformance test on a plugin, each in a process of its own.
//!
//! FILE is the library or its manifest. JSON is an object of options by technique, for techniques that cannot do with their
//! defaults. One line for each test and a verdict go to standard output; the exit code is 0 where every test passed.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tenuis_host::conformance::{Subject, TESTS, Test, Verdict};

/// What no test of a plugin that works takes, in a debug build on a busy machine either.
const LIMIT: Duration = Duration::from_mins(2);
/// The exit codes of the process of one test.
const FAILED: u8 = 1;
const SKIPPED: u8 = 3;
/// Wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let one = args.first().is_some_and(|arg| arg == "--one");
    let name = if one && args.len() > 2 { args.drain(..2).nth(1) } else { None };
    let (file, options) = match args.as_slice() {
        [file] => (file, None),
        [file, flag, options] if flag == "--options" => (file, options.to_str()),
        _ => {
            say("usage: plugin_check FILE [--options '{\"TECHNIQUE\": {…}}']");
            return ExitCode::from(USAGE);
        }
    };
    let mut subject = Subject::new(PathBuf::from(file));
    if let Some(text) = options {
        match serde_json::from_str(text) {
            Ok(options) => subject.options = options,
            Err(error) => {
                say(&format!("--options {text}: {error}"));
                return ExitCode::from(USAGE);
            }
        }
    }
    match name {
        Some(name) => run_one(&name, &subject),
        None => run_all(&args),
    }
}

/// The child: one test in this process.
fn run_one(name: &OsString, subject: &Subject) -> ExitCode {
    let Some(test) = TESTS.iter().find(|test| *name == *test.name) else { return ExitCode::from(USAGE) };
    let (code, text) = match (test.run)(subject) {
        Verdict::Passed(note) => (0, note),
        Verdict::Skipped(reason) => (SKIPPED, reason),
        Verdict::Failed(problem) => (FAILED, problem),
    };
    say(&text);
    ExitCode::from(code)
}

/// The parent: every test, whatever became of the one before.
fn run_all(args: &[OsString]) -> ExitCode {
    let mut counts = [0; 3];
    for test in TESTS {
        let verdict = in_child(&test, args);
        let (index, word, text) = match &verdict {
            Verdict::Passed(note) => (0, "ok", note.clone()),
            Verdict::Skipped(reason) => (1, "skipped", reason.clone()),
            Verdict::Failed(problem) => (2, "FAILED", format!("{problem} (the rule: {})", test.rule)),
        };
        counts[index] += 1;
        say(format!("{:<14} {word:<8} {text}", test.name).trim_end());
    }
    let [passed, skipped, failed] = counts;
    say(&format!("{passed} passed, {skipped} skipped, {failed} failed"));
    if failed == 0 && passed > 0 {
        say("the plugin conforms");
        return ExitCode::SUCCESS;
    }
    say("the plugin does not conform");
    ExitCode::from(FAILED)
}

/// How a test ended, or how its process did.
fn in_child(test: &Test, args: &[OsString]) -> Verdict {
    let started = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.arg("--one").arg(test.name).args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::null()).spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Verdict::Failed(format!("no process for the test: {error}")),
    };
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Verdict::Failed(format!("hangs: killed after {} s", LIMIT.as_secs()));
            }
        }
    };
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let _ = stdout.read_to_string(&mut text);
    }
    // The verdict is the last line: a plugin may print too.
    let text = text.lines().next_back().unwrap_or_default().to_owned();
    match status.code().map(u8::try_from) {
        Some(Ok(0)) => Verdict::Passed(text),
        Some(Ok(SKIPPED)) => Verdict::Skipped(text),
        Some(Ok(FAILED)) if !text.is_empty() => Verdict::Failed(text),
        _ => Verdict::Failed(format!("its process ended with {status}")),
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn say(text: &str) {
    println!("{text}");
}
