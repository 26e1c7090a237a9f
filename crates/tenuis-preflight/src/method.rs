//! What is known of the techniques by name: what they ask for, what they hold beside the weight, what they compute.

use crate::cut::Unit;
use crate::form::Rank;
use crate::stage::Needs;
use serde_json::{Map, Value};
use tenuis_spec::DimensionKind;

/// Operations per weight of choosing a scale and rounding, in units of the product's rate: a minimum and a maximum of the
/// group, a division, a rounding, an error, a few of them in f64 and all behind memory.
const ROUND: f64 = 200.0;
/// The same of ordering a row and storing what is left. A 4096×4096 matrix takes 0.159 s where a product runs at about 100
/// GFLOP/s (README, Wanda).
const SELECT: f64 = 1000.0;
/// Columns of a block of GPTQ, within which corrections are made one column after the other.
const GPTQ_BLOCK: f64 = 128.0;
/// Candidates of the search for a clipped range: `max_shrink · grid` of the defaults.
const MSE_CANDIDATES: f64 = 80.0;
/// Scales that AWQ tries for each group of Linears.
const AWQ_GRID: f64 = 20.0;
/// Ranges that it tries for each group of columns, and the tokens that each is tried on.
const AWQ_CLIPS: f64 = 10.0;
const AWQ_CLIP_TOKENS: f64 = 512.0;
/// Operations of a whole singular value decomposition, in units of `out·in·min(out, in)`.
const EXACT_SVD: f64 = 14.0;
/// Columns of all products of a randomised decomposition with the matrix or its transpose, for each singular value asked for: seven
/// products with blocks of 5/12 of the rank.
const RANDOMIZED_COLUMNS: f64 = 35.0 / 12.0;
/// Sides from which on it is used, and the rank's share of the smaller side up to which.
const RANDOMIZED_FROM: usize = 1024;
const RANDOMIZED_SHARE: usize = 4;
/// Rows that a panel of GPTQ or SparseGPT works on.
const PANEL_ROWS: u64 = 128;

/// A technique, as far as its costs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Round,
    Int8,
    SmoothQuant,
    Gptq,
    Awq,
    /// Chooses by magnitude.
    Select,
    /// Chooses by magnitude and the input's.
    Wanda,
    SparseGpt,
    Svd,
    Asvd,
    SvdLlm,
    Correct,
    Cast,
    /// Removes channels, heads, experts or blocks.
    Cut(Unit),
    Train,
    Unknown,
}

impl Method {
    pub(crate) fn of(technique: &str) -> Self {
        match technique {
            "rtn" => Self::Round,
            "int8-dynamic" => Self::Int8,
            "smoothquant" => Self::SmoothQuant,
            "gptq" => Self::Gptq,
            "awq" => Self::Awq,
            "magnitude" | "magnitude-global" => Self::Select,
            "wanda" => Self::Wanda,
            "sparsegpt" => Self::SparseGpt,
            "svd" => Self::Svd,
            "asvd" => Self::Asvd,
            "svdllm" | "svdllm-budget" => Self::SvdLlm,
            "correct" => Self::Correct,
            "cast" => Self::Cast,
            "prune-channels" => Self::Cut(Unit::Dimension(DimensionKind::FfnChannels)),
            "prune-heads" => Self::Cut(Unit::Dimension(DimensionKind::KvGroups)),
            "prune-query-heads" => Self::Cut(Unit::Dimension(DimensionKind::QueryHeads)),
            "prune-experts" => Self::Cut(Unit::Experts),
            "prune-blocks" => Self::Cut(Unit::Blocks),
            "distill" => Self::Train,
            _ => Self::Unknown,
        }
    }

    /// What the technique of this name asks for; of an unknown one nothing.
    pub(crate) fn needs(self) -> Needs {
        let dense = Needs { dense: true, ..Needs::default() };
        match self {
            Self::Gptq | Self::SvdLlm => Needs { hessian: true, ..dense },
            Self::SparseGpt | Self::Correct => Needs { hessian: true, original: true, ..dense },
            Self::Awq => Needs { moments: true, inputs: true, out_loss: true, ..dense },
            Self::SmoothQuant | Self::Asvd => Needs { moments: true, ..dense },
            Self::Wanda => Needs { moments: true, original: true, ..dense },
            Self::Select => Needs { original: true, ..dense },
            Self::Round | Self::Int8 | Self::Svd => dense,
            Self::Cast => Needs { any_tensor: true, ..Needs::default() },
            Self::Cut(_) | Self::Train | Self::Unknown => Needs::default(),
        }
    }

    /// Whether the Linears that read what is removed get new weights, by a regression on their inputs.
    pub(crate) const fn compensates(self) -> bool {
        matches!(self, Self::Cut(Unit::Dimension(_)))
    }

    /// Operations that a technique of the group scope takes for a group of Linears with so many input features, each of
    /// `outs` output features, in units of the machine's rate for f32 products.
    pub(crate) fn flops(self, outs: &[usize], ins: usize, options: &Map<String, Value>) -> f64 {
        let n = ins as f64;
        let cholesky = n * n * n / 3.0;
        let round = match options.get("mse") {
            Some(mse) if !mse.is_null() => ROUND * MSE_CANDIDATES,
            _ => ROUND,
        };
        let of_linear = |&outs: &usize| -> f64 {
            let weights = outs as f64 * n;
            match self {
                Self::Round | Self::Int8 | Self::SmoothQuant | Self::Cast => round * weights,
                // All corrections from R, those within a block, and the rounding.
                Self::Gptq => weights * n + 3.0 * GPTQ_BLOCK * weights + round * weights,
                Self::SparseGpt => weights * n + 3.0 * GPTQ_BLOCK * weights + SELECT * weights,
                Self::Awq => (AWQ_GRID * round + 2.0 * AWQ_CLIPS * AWQ_CLIP_TOKENS) * weights,
                Self::Select | Self::Wanda => SELECT * weights,
                Self::Svd | Self::Asvd => decomposition([outs, ins], options),
                // Whitening and its undoing are products with a triangle each.
                Self::SvdLlm | Self::Correct => 2.0 * weights * n + decomposition([outs, ins], options),
                // Of what is not known it is assumed that it does what others do with what it asks for.
                Self::Unknown => round * weights + weights * n,
                Self::Cut(_) | Self::Train => 0.0,
            }
        };
        let once = match self {
            Self::Gptq | Self::SparseGpt | Self::SvdLlm | Self::Correct | Self::Unknown => cholesky,
            _ => 0.0,
        };
        once + outs.iter().map(of_linear).sum::<f64>()
    }

    /// Bytes that the technique holds beside what it is given and what it hands back, for a group of Linears.
    pub(crate) fn workspace(
        self,
        outs: &[usize],
        ins: usize,
        options: &Map<String, Value>,
        threads: u64,
    ) -> u64 {
        let n = ins as u64;
        let largest = outs.iter().copied().max().unwrap_or_default() as u64 * n;
        let width = if options.get("precision").and_then(Value::as_str) == Some("f64") { 8 } else { 4 };
        match self {
            // The factor, codes, and the panels in work, each with values and codes.
            Self::Gptq => width * n * n + largest + threads * PANEL_ROWS * n * (width + 1),
            // The same, with kept flags and what is pruned as f32.
            Self::SparseGpt => width * n * n + 6 * largest + threads * PANEL_ROWS * n * (2 * width + 1),
            Self::Round | Self::Int8 | Self::SmoothQuant => largest,
            // A scaled copy and its candidate.
            Self::Awq => 9 * largest,
            Self::Select | Self::Wanda => 10 * largest,
            Self::Svd | Self::Asvd => 52 * largest,
            Self::SvdLlm | Self::Correct => 52 * largest + 28 * n * n,
            Self::Cast => 4 * largest,
            Self::Unknown => 8 * n * n + 8 * largest,
            Self::Cut(_) | Self::Train => 0,
        }
    }
}

/// Operations of the singular vectors that are kept.
fn decomposition(shape: [usize; 2], options: &Map<String, Value>) -> f64 {
    let smaller = shape[0].min(shape[1]);
    let weights = shape[0] as f64 * shape[1] as f64;
    let rank = Rank::read(options).of(shape);
    let method = options.get("solver").and_then(|solver| solver.get("method")).and_then(Value::as_str);
    let randomized = match method {
        Some("exact") => false,
        Some("randomized") => true,
        _ => smaller >= RANDOMIZED_FROM && rank * RANDOMIZED_SHARE <= smaller,
    };
    if randomized {
        return 2.0 * RANDOMIZED_COLUMNS * weights * rank as f64;
    }
    EXACT_SVD * weights * smaller as f64
}
