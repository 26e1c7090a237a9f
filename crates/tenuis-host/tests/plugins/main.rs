//! Plugins of every kind, well-behaved and not, through the door that all plugins use.

mod c_plugin;
mod loading;
mod running;
mod support;
