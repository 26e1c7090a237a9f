//! `tenuis schema`.

use super::print;
use crate::exit::{Code, Failure};
use tenuis_eval::report::Report;

pub(crate) fn run() -> Result<(), Failure> {
    let schema =
        serde_json::to_string_pretty(&Report::json_schema()).map_err(|e| Failure::new(Code::Internal, e))?;
    print(&format!("{schema}\n"))
}
