//! What a model takes (memory, time to start, energy, money), and on which machine that was.

use super::{Distribution, Entry, Machine, Memory, Size, Speed, SpeedProtocol, or_default};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a peak of memory is made of, in bytes.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct MemorySplit {
    /// The peak.
    pub peak_bytes: Option<u64>,
    /// The program without a model.
    pub program_bytes: Option<u64>,
    /// Pages of the checkpoint that lie in memory.
    pub mapped_file_bytes: Option<u64>,
    /// Weights that were copied or unpacked.
    pub weight_bytes: Option<u64>,
    /// The cache of keys and values.
    pub kv_cache_bytes: Option<u64>,
    /// Activations.
    pub activation_bytes: Option<u64>,
    /// What nothing of that explains.
    pub unexplained_bytes: Option<u64>,
    /// What to know of it.
    #[serde(default, deserialize_with = "or_default")]
    pub notes: Vec<String>,
}

/// Starts with the files on disk and with the files in memory.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Starts {
    /// With the files put out of memory before.
    pub cold: Option<Start>,
    /// With the files in memory.
    pub warm: Option<Start>,
}

/// How long starts took.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Start {
    /// Seconds until the model could answer.
    pub ready_seconds: Option<Distribution>,
    /// The share of the files that was in memory before.
    pub cached_share: Option<f64>,
}

/// Energy, or why it is not known.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Energy {
    /// `measured` or `unavailable`.
    pub state: Option<String>,
    /// Joules of the processor's package.
    pub package_joules: Option<f64>,
    /// Joules of the memory.
    pub dram_joules: Option<f64>,
    /// Seconds over which they were counted.
    pub seconds: Option<f64>,
    /// Why there are none.
    pub reason: Option<String>,
}

/// What a million tokens cost.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// In what.
    pub currency: Option<String>,
    /// Machine and energy.
    pub per_million_tokens: Option<f64>,
    /// The machine alone.
    pub machine_per_million_tokens: Option<f64>,
    /// The energy alone.
    pub energy_per_million_tokens: Option<f64>,
}

/// Whether a machine was quiet.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Noise {
    /// Seconds of one fixed piece of arithmetic.
    pub probe_seconds: Option<Distribution>,
    /// Why the machine counts as noisy; none where it does not.
    #[serde(rename = "verdict", default, deserialize_with = "noisy")]
    pub noisy: Option<Vec<String>>,
    /// What could not be seen.
    #[serde(default, deserialize_with = "or_default")]
    pub unseen: Vec<String>,
}

/// A verdict is a word, or an object with the word and its reasons.
fn noisy<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let verdict = Value::deserialize(from)?;
    let word = verdict.get("verdict").unwrap_or(&verdict).as_str();
    let reasons = verdict.get("reasons").and_then(Value::as_array).into_iter().flatten();
    let reasons = reasons.filter_map(|reason| reason.as_str().map(str::to_owned)).collect();
    Ok((word == Some("noisy")).then_some(reasons))
}

/// What is known of a machine, in the report's own form: `machine`, `load`, `threads` and `versions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Environment {
    /// Processor, memory, limits and system.
    #[serde(default, deserialize_with = "or_default")]
    pub machine: Value,
    /// How many processes wanted to run.
    #[serde(default, deserialize_with = "or_default")]
    pub load: Value,
    /// Versions by program.
    #[serde(default, deserialize_with = "or_default")]
    pub versions: BTreeMap<String, String>,
}

/// The same models on another machine.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Elsewhere {
    /// The name of that machine.
    pub target: String,
    /// What is known of it.
    pub machine: Option<Machine>,
    /// How speed was measured there.
    pub protocol: Option<SpeedProtocol>,
    /// The models.
    #[serde(default, deserialize_with = "entries")]
    pub models: Vec<Entry>,
}

/// A model as it was measured elsewhere.
#[derive(Deserialize)]
struct MeasuredModel {
    name: String,
    bytes: u64,
    checkpoint: Option<String>,
    speed: Option<Speed>,
    memory: Option<Memory>,
}

fn entries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    let models: Vec<MeasuredModel> = or_default(from)?;
    let entry = |model: MeasuredModel| Entry {
        name: model.name,
        recipe: None,
        checkpoint: model.checkpoint,
        size: Size { params: None, nonzero_params: None, bytes: model.bytes, tensor_bytes: None, work: None },
        quality: None,
        speed: model.speed,
        memory: model.memory,
        compression: None,
        figures: None,
        cost: None,
    };
    Ok(models.into_iter().map(entry).collect())
}
