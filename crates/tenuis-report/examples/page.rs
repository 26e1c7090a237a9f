//! Makes the page of a report: `cargo run -p tenuis-report --example page report.json report.html`.

use std::error::Error;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("give a report.json and where its page goes".into());
    };
    fs::write(to, tenuis_report::render_str(&fs::read_to_string(from)?)?)?;
    Ok(())
}
