//! Passes the version of the compiler on, for reports to name it.

use std::process::Command;

fn main() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let version = text.and_then(|text| String::from_utf8(text).ok());
    let version = version.as_deref().map_or("unknown", str::trim);
    println!("cargo::rustc-env=TENUIS_RUSTC_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
}
