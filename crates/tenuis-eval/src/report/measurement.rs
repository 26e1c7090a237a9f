//! Speed and memory alone, measured on the machine that a model is for.

use super::Machine;
use crate::memory::Memory;
use crate::speed::{Speed, SpeedProtocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the form, its field `schema`.
pub const MEASUREMENT_SCHEMA: &str = "tenuis.measurement/1";

/// Speed and memory of some models on one machine: what `tenuis measure --json` writes and `tenuis report --merge` reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Always `tenuis.measurement/1`.
    pub schema: String,
    /// The version of the program that measured.
    pub version: String,
    /// Seconds since 1970-01-01 UTC.
    pub created_unix: u64,
    /// What the machine is called.
    pub target: String,
    /// What it is.
    pub machine: Machine,
    /// How speed was measured.
    pub protocol: SpeedProtocol,
    /// The models.
    pub models: Vec<MeasuredModel>,
}

/// A model on that machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeasuredModel {
    /// Its directory's name; in a report the entry of the same bytes has it.
    pub name: String,
    /// The directory.
    pub checkpoint: String,
    /// blake3 of its weight files' names and lengths and of the manifest, where it has one: whether it is the same checkpoint.
    pub fingerprint: String,
    /// Bytes of the weight files.
    pub bytes: u64,
    /// Its speed.
    pub speed: Speed,
    /// Its memory; null where it was not measured.
    pub memory: Option<Memory>,
}
