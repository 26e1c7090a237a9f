//! A worker for the tests: what `tenuis plugin-worker LIBRARY` is in the product.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let library = std::env::args_os().nth(1).unwrap_or_default();
    match tenuis_host::serve(Path::new(&library)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host shows the last line that a worker wrote.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("error: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
