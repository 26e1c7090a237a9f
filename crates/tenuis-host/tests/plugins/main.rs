//! Plugins of every kind, well-behaved and not, through the door that all plugins use.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod c_plugin;
mod conformance;
#[cfg(unix)]
mod isolation;
mod loading;
mod support;

/// What holds in this process.
#[path = "."]
mod in_process {
    use crate::support::fixture;

    mod models;
    mod running;
}

/// The same tests again: what holds in this process holds in workers.
#[cfg(unix)]
#[path = "."]
mod in_workers {
    use crate::support::isolated_fixture as fixture;

    #[expect(clippy::duplicate_mod, reason = "on purpose: each test runs in both places")]
    mod models;
    #[expect(clippy::duplicate_mod, reason = "on purpose: each test runs in both places")]
    mod running;
}
