//! The `tenuis` binary.
fn main() {}
