//! Shows a report on the terminal: `cargo run -p tenuis-report --example terminal report.json [columns]`, coloured where standard
//! output is a terminal.

use std::error::Error;
use std::io::{IsTerminal, Write, stdout};
use std::{env, fs};
use tenuis_report::{TerminalOptions, terminal};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let from = arguments.next().ok_or("give a report.json")?;
    let mut options = TerminalOptions::default();
    options.colour = stdout().is_terminal();
    options.width = arguments.next().map(|columns| columns.parse()).transpose()?;
    let report = serde_json::from_str(&fs::read_to_string(from)?)?;
    stdout().write_all(terminal(&report, options)?.as_bytes())?;
    Ok(())
}
