//! What became of every weight.

use serde::Serialize;
use std::collections::BTreeMap;

/// How near the written weight is to the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// The same codes, zero points and scales, or the same bytes.
    Exact,
    /// The same codes; scales or offsets rounded to f16.
    RoundedScales,
    /// Numbers rounded to another float type.
    Rounded,
}

/// A weight as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportedLayer {
    /// The module.
    pub name: String,
    /// What it was, such as `grouped_int`.
    pub from: String,
    /// What it is in the file, such as `4 bits` or `Q4_0`.
    pub to: String,
    /// How near the two are.
    pub fidelity: Fidelity,
    /// Why it is dense in the file although it was not before.
    pub why_dense: Option<String>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// The format.
    pub format: &'static str,
    /// Every matrix of the network, in the order of the forward pass.
    pub layers: Vec<ExportedLayer>,
    /// Whether any other tensor was rounded to another type.
    pub rounded_rest: bool,
}

impl ExportReport {
    /// How many matrices became what.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for layer in &self.layers {
            *counts.entry(layer.to.as_str()).or_default() += 1;
        }
        counts
    }

    /// The weights that the format could not hold, and why.
    pub fn dense_by_need(&self) -> impl Iterator<Item = (&str, &str)> {
        self.layers.iter().filter_map(|l| Some((l.name.as_str(), l.why_dense.as_deref()?)))
    }

    /// Whether every number is what it was.
    pub fn is_exact(&self) -> bool {
        !self.rounded_rest && self.layers.iter().all(|l| l.fidelity == Fidelity::Exact)
    }
}
