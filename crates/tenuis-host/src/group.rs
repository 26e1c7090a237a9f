//! What a group technique is given and what it gives back.

use crate::events::LogLevel;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use tenuis_core::{Tensor, Weight};

/// One member of a group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinearInput {
    /// The name in the checkpoint; also the key of the result.
    pub name: String,
    /// The weight as it is now.
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Tensor>,
    /// u8 or bool `[out, in]`, 1 = kept; `None` where nothing is pruned.
    pub mask: Option<Tensor>,
    /// The uncompressed weight, where `weight` is compressed already.
    pub original: Option<Weight>,
}

impl LinearInput {
    /// A weight without bias, mask or another original.
    pub fn new(name: impl Into<String>, weight: Weight) -> Self {
        Self { name: name.into(), weight, bias: None, mask: None, original: None }
    }
}

/// Per input channel, over all calibration rows; each slice has `in_features` values.
#[derive(Clone, Copy, Debug)]
pub struct Moments<'a> {
    /// Σ|x|.
    pub sum_abs: &'a [f32],
    /// Σx².
    pub sum_sq: &'a [f32],
    /// max|x|.
    pub max_abs: &'a [f32],
}

/// Scores a candidate by the output error of the parent module.
pub type OutLoss<'a> = dyn Fn(&GroupOutput) -> Result<f64, Box<dyn Error + Send + Sync>> + 'a;

/// The Linears that share an input, with the statistics of that input.
#[non_exhaustive]
pub struct GroupInput<'a> {
    /// The block that the group is in; `n_blocks` where it is in none.
    pub block: u32,
    /// The number of blocks.
    pub n_blocks: u32,
    /// The members.
    pub linears: Vec<LinearInput>,
    /// XᵀX, `[in, in]`, of which the upper triangle is valid.
    pub hessian: Option<&'a [f32]>,
    /// Channel moments.
    pub moments: Option<Moments<'a>>,
    /// The rows that the statistics were taken over.
    pub rows: u64,
    /// The channel of its producer that each input channel comes from, `[in]`, where that takes a scale.
    pub producer: Option<&'a [i32]>,
    /// The input itself in tiles `[rows, in]`, for techniques that need it.
    pub tiles: Option<&'a mut dyn Iterator<Item = Vec<f32>>>,
    /// The loss of the parent module, for techniques that search by it.
    pub out_loss: Option<&'a OutLoss<'a>>,
}

impl GroupInput<'_> {
    /// A group without statistics.
    pub fn new(linears: Vec<LinearInput>) -> Self {
        Self {
            block: 0,
            n_blocks: 0,
            linears,
            hessian: None,
            moments: None,
            rows: 0,
            producer: None,
            tiles: None,
            out_loss: None,
        }
    }
}

impl fmt::Debug for GroupInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupInput")
            .field("block", &self.block)
            .field("linears", &self.linears.iter().map(|l| &l.name).collect::<Vec<_>>())
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// A line that a plugin logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud it is.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// What a technique made of a group, checked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GroupOutput {
    /// The new weight of every member.
    pub weights: BTreeMap<String, Weight>,
    /// Where the new weight of a member was made for the input x / scale: that scale, `[in]`.
    pub folds: BTreeMap<String, Vec<f32>>,
    /// Numbers for the report, in the order in which they were reported.
    pub metrics: Vec<(String, f64)>,
    /// What was logged.
    pub log: Vec<LogLine>,
}
