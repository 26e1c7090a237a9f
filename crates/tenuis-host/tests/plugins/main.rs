//! Plugins of every kind, well-behaved and not, through the door that all plugins use.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod c_plugin;
mod loading;
mod models;
mod running;
mod support;
