//! Figures that only the user knows how to get.

use crate::error::RunError;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use tenuis_eval::quality::Business;
use tenuis_metrics::Direction;

/// The variable in which a command finds the model's directory.
const MODEL: &str = "TENUIS_MODEL";

/// A command that prints a number about a model: `NAME=COMMAND`, or `NAME:lower=COMMAND` where less is better.
///
/// ```
/// use tenuis_orchestrator::BusinessMetric;
/// let metric: BusinessMetric = "refunds:lower=./count-refunds --model $TENUIS_MODEL".parse()?;
/// assert_eq!((metric.name.as_str(), metric.command.as_str()), ("refunds", "./count-refunds --model $TENUIS_MODEL"));
/// # Ok::<(), tenuis_orchestrator::RunError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessMetric {
    /// What reports call it.
    pub name: String,
    /// Which values are better.
    pub direction: Direction,
    /// What is run, by the system's shell.
    pub command: String,
}

impl FromStr for BusinessMetric {
    type Err = RunError;

    fn from_str(text: &str) -> Result<Self, RunError> {
        let form = || RunError::BusinessForm { text: text.to_owned() };
        let (name, command) = text.split_once('=').ok_or_else(form)?;
        let (name, direction) = match name.trim().split_once(':') {
            None => (name.trim(), Direction::HigherIsBetter),
            Some((name, "higher")) => (name, Direction::HigherIsBetter),
            Some((name, "lower")) => (name, Direction::LowerIsBetter),
            Some(_) => return Err(form()),
        };
        let command = command.trim();
        if name.is_empty() || command.is_empty() {
            return Err(form());
        }
        Ok(Self { name: name.to_owned(), direction, command: command.to_owned() })
    }
}

/// Runs every command for a model; the last line of each that is a number is its figure.
pub(super) fn measure(
    metrics: &[BusinessMetric],
    dir: &Path,
) -> Result<BTreeMap<String, Business>, RunError> {
    metrics.iter().map(|metric| Ok((metric.name.clone(), run(metric, dir)?))).collect()
}

fn run(metric: &BusinessMetric, dir: &Path) -> Result<Business, RunError> {
    let failed = |problem: String| RunError::Business {
        name: metric.name.clone(),
        command: metric.command.clone(),
        problem,
    };
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let output = Command::new(shell)
        .args([flag, &metric.command])
        .env(MODEL, dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}: {}", output.status, said.trim())));
    }
    let mut numbers = text.lines().rev().filter_map(|line| line.trim().parse::<f64>().ok());
    let value = numbers.find(|number| number.is_finite());
    let value =
        value.ok_or_else(|| failed(format!("no line of its output is a number: {:?}", text.trim())))?;
    Ok(Business { value, direction: metric.direction, command: metric.command.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let metric: BusinessMetric = "clicks = echo 1=1".parse().unwrap();
        assert_eq!((metric.name.as_str(), metric.command.as_str()), ("clicks", "echo 1=1"));
        assert_eq!(metric.direction, Direction::HigherIsBetter);
        for bad in ["clicks", "=echo 1", "a:sideways=echo 1", "a="] {
            assert!(matches!(bad.parse::<BusinessMetric>(), Err(RunError::BusinessForm { .. })), "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_last_number_counts_and_failures_are_told() {
        let run_of = |command: &str| {
            let metric: BusinessMetric = format!("x:lower={command}").parse().unwrap();
            run(&metric, Path::new("/some/model"))
        };
        assert_eq!(run_of("echo loading; echo 3; echo 4.5; echo done").unwrap().value, 4.5);
        assert_eq!(run_of("test $TENUIS_MODEL = /some/model && echo 1").unwrap().value, 1.0);
        assert!(run_of("echo none").unwrap_err().to_string().contains("no line"));
        assert!(run_of("echo wrong >&2; exit 3").unwrap_err().to_string().contains("wrong"));
        assert!(run_of("echo NaN").is_err());
    }
}
