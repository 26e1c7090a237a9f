//! Passes the version of the compiler on, for reports to name it.

use std::process::Command;

fn main() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let version = text.and_then(|text| String::from_utf8(text).ok());
    let version = version.as_deref().map_or("unknown", str::trim);
    announce(&format!("rustc-env=TENUIS_RUSTC_VERSION={version}"));
    announce("rerun-if-changed=build.rs");
}

#[expect(clippy::print_stdout, reason = "cargo reads what a build script prints")]
fn announce(instruction: &str) {
    println!("cargo::{instruction}");
}
