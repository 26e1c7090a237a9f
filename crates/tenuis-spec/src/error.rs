//! What can be wrong with a configuration, or between it and the tensors.

use crate::coupled::DimensionKind;
use thiserror::Error;

/// Why a configuration gives no spec, or a checkpoint does not fit its spec.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// The configuration is not a JSON object.
    #[error("config.json is not a JSON object")]
    NotAnObject,
    /// A field that has no default is absent or null.
    #[error("config.json: field {field:?} is missing")]
    MissingField {
        /// The field.
        field: String,
    },
    /// A field has a value that is not allowed.
    #[error("config.json: field {field:?} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: String,
        /// What is there, as JSON.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// No family is known for the model type.
    #[error(
        "config.json: field \"model_type\" decides the family and is {found:?}; known model types: {known}"
    )]
    UnknownModelType {
        /// What is there.
        found: String,
        /// The model types that have a family.
        known: String,
    },
    /// Tensors that the configuration calls for are not in the checkpoint.
    #[error("the checkpoint lacks {}: {}", count(names), shorten(names))]
    MissingTensors {
        /// All of them.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration calls for.
    #[error("tensor {name:?} has shape {found:?}, but config.json calls for {expected:?}")]
    Shape {
        /// The tensor, or the module where it is stored in compressed form.
        name: String,
        /// What the configuration calls for.
        expected: Vec<usize>,
        /// What is stored.
        found: Vec<usize>,
    },
    /// A layer is asked for that the network does not have.
    #[error("layer {layer} is not there; the network has layers 0 to {}", layers.saturating_sub(1))]
    NoLayer {
        /// The layer.
        layer: usize,
        /// How many there are.
        layers: usize,
    },
    /// A network without layers is asked for.
    #[error("at least one layer has to be kept")]
    NoLayers,
    /// A layer would be another one under its new number.
    #[error("layer {layer} cannot be layer {place}: this family computes a layer differently by its number")]
    LayerChanges {
        /// The layer.
        layer: usize,
        /// Its new number.
        place: usize,
    },
    /// What is kept is not given for every dimension.
    #[error("what is kept has to be given {lists} times, once for each layer or expert, not {found} times")]
    KeepLists {
        /// How many lists are needed.
        lists: usize,
        /// How many lists were given.
        found: usize,
    },
    /// Nothing would be left of a dimension.
    #[error("layer {layer}: all {kind} would be removed; keep at least one")]
    NoUnits {
        /// The dimension.
        kind: DimensionKind,
        /// The layer.
        layer: usize,
    },
    /// Something is to be kept that is not there.
    #[error("layer {layer}: there is no {unit} among the {kind}, which are 0 to {}", units.saturating_sub(1))]
    NoUnit {
        /// The dimension.
        kind: DimensionKind,
        /// The layer.
        layer: usize,
        /// What was asked for.
        unit: usize,
        /// How many there are.
        units: usize,
    },
    /// What is kept is not in ascending order, or named twice.
    #[error("layer {layer}: the {kind} to keep have to be given in ascending order, each once")]
    UnitOrder {
        /// The dimension.
        kind: DimensionKind,
        /// The layer.
        layer: usize,
    },
    /// Experts are to be dropped where there are none.
    #[error("layer {layer} has no experts")]
    NoExperts {
        /// The layer.
        layer: usize,
    },
    /// All experts of a layer are to be dropped.
    #[error("layer {layer}: all experts would be dropped; keep at least one")]
    NoExpertsLeft {
        /// The layer.
        layer: usize,
    },
    /// A list of experts names one that is not there, or does not ascend.
    #[error("layer {layer} has {experts} experts; {found:?} is no ascending list of some of them")]
    ExpertList {
        /// The layer.
        layer: usize,
        /// How many it has.
        experts: usize,
        /// What was asked for.
        found: Vec<usize>,
    },
    /// The configuration of the family cannot describe what is left.
    #[error("the configuration of this family cannot describe fewer {kind}: {problem}")]
    Unsayable {
        /// The dimension.
        kind: DimensionKind,
        /// What would go wrong.
        problem: String,
    },
}

/// How many names a message lists before it only counts them.
const LISTED: usize = 8;

fn count(names: &[String]) -> String {
    if names.len() == 1 { "a tensor".to_owned() } else { format!("{} tensors", names.len()) }
}

fn shorten(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(", …");
    }
    text
}
