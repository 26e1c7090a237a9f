//! What can go wrong in structured pruning.

use thiserror::Error;

/// Why nothing was pruned.
#[derive(Debug, Error, Clone, PartialEq)]
#[non_exhaustive]
pub enum StructuredError {
    /// An option has a value that makes no sense.
    #[error("{option} is {value}, but must be {allowed}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Two options say how much to keep.
    #[error("{first} and {second} both say how much is kept; give one of them")]
    Both {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Nothing would be left of a layer.
    #[error(
        "layer {layer}: nothing would be left of {units} units: {wanted:.2} of them, in whole multiples of {round_to}; \
         prune less, or round to less"
    )]
    Everything {
        /// The layer.
        layer: usize,
        /// Units that it has.
        units: usize,
        /// Units that it would keep before rounding.
        wanted: f64,
        /// The multiple.
        round_to: usize,
    },
    /// Every layer would stay as it is.
    #[error(
        "nothing would be removed: what is asked for rounds to all {units} units of every layer; prune more, or round \
         to less"
    )]
    Nothing {
        /// Units of the first layer.
        units: usize,
    },
    /// A layer has fewer units than are to be kept.
    #[error("layer {layer} has {units} units, fewer than the {keep} to keep")]
    TooFew {
        /// The layer.
        layer: usize,
        /// Units that it has.
        units: usize,
        /// What was asked for.
        keep: usize,
    },
    /// No layer is to be pruned.
    #[error("no layer is chosen, so there is nothing to prune")]
    NoLayers,
    /// A layer is asked for that is not there, or twice.
    #[error("layer {layer} is not there or named twice; the network has layers 0 to {}", layers.saturating_sub(1))]
    NoLayer {
        /// The layer.
        layer: usize,
        /// How many there are.
        layers: usize,
    },
    /// So many blocks would be removed that none is left.
    #[error("{remove} of {blocks} blocks would be removed; at least one has to stay")]
    AllBlocks {
        /// Blocks to remove.
        remove: usize,
        /// How many there are.
        blocks: usize,
    },
    /// A score is a NaN or an infinity.
    #[error(
        "the score of unit {unit} of layer {layer} is {value}; look for weights or activations that are not finite"
    )]
    NonFinite {
        /// The layer.
        layer: usize,
        /// The unit.
        unit: usize,
        /// What is there.
        value: f64,
    },
    /// A buffer has another length than its shape calls for.
    #[error("{what} has {found} values, expected {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// What its shape calls for.
        expected: usize,
        /// Values in it.
        found: usize,
    },
    /// What is kept is no ascending list of columns.
    #[error("the columns to keep have to be in ascending order, each once, and below {columns}")]
    Columns {
        /// Columns of the weight.
        columns: usize,
    },
    /// The statistics cover no row.
    #[error("the statistics cover no calibration row; pass a text to calibrate on")]
    NoRows,
    /// The normal equations could not be solved.
    #[error(
        "the statistics of the kept inputs are not positive definite with {damp_percent} of their mean diagonal added, \
         tried {attempts} times: {problem}"
    )]
    Singular {
        /// The last damping that was tried.
        damp_percent: f64,
        /// Factorisations.
        attempts: u32,
        /// What was wrong the last time.
        problem: String,
    },
}
