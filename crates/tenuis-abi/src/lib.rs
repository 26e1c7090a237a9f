//! The C structs of the Tenuis plugin ABI, version 1, and nothing else.
//!
//! A plugin is a dynamic library that exports one symbol, [`ENTRY_SYMBOL`] of type [`tn_plugin_entry`]. Everything
//! that crosses is plain C data in the structs of this crate; `include/tenuis_plugin.h` is generated from them.
//!
//! Rules that hold on both sides:
//!
//! - **Versions.** The major version is in the symbol's name. A minor version only appends fields. Every extensible
//!   struct begins with its `struct_size` (in [`tn_plugin`] it follows the magic number) and travels by pointer; a field is read only where `struct_size`
//!   covers it, which is what [`read_covered`] does. `tn_str` and `tn_dtype` are frozen.
//! - **Memory.** No allocation crosses. What a pointer refers to is borrowed for the call, unless it says otherwise;
//!   outputs are written into buffers that the host hands out ([`tn_host::out_alloc`]); errors are written into a
//!   [`tn_err`] of the caller.
//! - **Panics and exceptions** never cross: they become [`TN_PANIC`], after which only `destroy` is legal.
//! - **Threads.** The calls on one job are serialised. `cancelled`, `progress`, `log`, `metric` and `metric_at` may be
//!   called from any thread, and so may `tn_tokens.read` and `tn_checkpoint.decode`; the other functions of the host only from the thread that the host called on. `decode` has no job and may run on many
//!   threads at once.
//! - **Errors.** Functions return a status (`TN_OK`, …). Whoever returns another one describes it in the `tn_err`.
//!
//! Rust authors use `tenuis-plugin`, which wraps all of this safely.

#![expect(non_camel_case_types, reason = "a struct has the same name here and in the header")]

mod constants;
mod data;
mod read;
mod vtable;

pub use constants::*;
pub use data::*;
pub use read::{Extensible, read_covered, read_text, write_error};
pub use vtable::*;

/// The name of the one symbol that a plugin exports.
pub const ENTRY_SYMBOL: &str = "tenuis_plugin_v1";

/// What the names of the symbols of all major versions begin with; the major version follows.
pub const ENTRY_PREFIX: &str = "tenuis_plugin_v";
