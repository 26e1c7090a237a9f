//! The messages between host and worker: JSON, one for each function of the ABI in either direction.

use serde::{Deserialize, Serialize};

/// Differs where host and worker would misunderstand each other; both are the same program as a rule.
pub(crate) const PROTOCOL: u32 = 1;

/// Where the bytes of a tensor lie in the shared region of the frame: offset and length.
pub(crate) type Place = (u64, u64);

/// `tn_tensor`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireTensor {
    pub(crate) name: String,
    /// Code and bits of `tn_dtype`.
    pub(crate) dtype: (u8, u8),
    pub(crate) shape: Vec<i64>,
    /// `None` where only the shape matters.
    pub(crate) place: Option<Place>,
}

/// `tn_weight`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireWeight {
    pub(crate) shape: (u64, u64),
    pub(crate) descriptor: String,
    pub(crate) components: Vec<WireTensor>,
    pub(crate) dense: Option<WireTensor>,
    pub(crate) mask: Option<WireTensor>,
    pub(crate) original: Option<WireTensor>,
}

/// `tn_linear`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireLinear {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) weight: WireWeight,
    pub(crate) bias: Option<WireTensor>,
}

/// `tn_group`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireGroup {
    pub(crate) block: u32,
    pub(crate) n_blocks: u32,
    pub(crate) rows: u64,
    pub(crate) linears: Vec<WireLinear>,
    pub(crate) hessian: Option<WireTensor>,
    pub(crate) moments: Option<WireTensor>,
    pub(crate) producer: Option<WireTensor>,
}

/// `tn_checkpoint`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireCheckpoint {
    pub(crate) config: String,
    pub(crate) spec: String,
    pub(crate) hash: String,
    pub(crate) weights: Vec<WireLinear>,
    pub(crate) tensors: Vec<WireTensor>,
}

/// `tn_tokens`; its sequences are read by [`FromWorker::ReadTokens`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireTokens {
    pub(crate) sequences: u64,
    pub(crate) sequence_length: u64,
    pub(crate) hash: String,
}

/// `tn_model`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireModel {
    pub(crate) student: WireCheckpoint,
    pub(crate) teacher: Option<WireCheckpoint>,
    pub(crate) train: Option<WireTokens>,
    pub(crate) valid: Option<WireTokens>,
    pub(crate) statistics: Vec<WireTensor>,
    pub(crate) state_dir: String,
    pub(crate) eval_loss: bool,
}

/// What a technique of the library is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireTechnique {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) schema: String,
    pub(crate) kinds: Vec<String>,
    pub(crate) scope: u32,
    pub(crate) caps: u64,
    pub(crate) estimates: bool,
}

/// What the host sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// The first message, with the control page; answered by `Described`.
    Hello {
        protocol: u32,
        hash: String,
        address_space: Option<u64>,
    },
    /// `tn_technique.create`; answered by `Done`, as all that follow up to `Destroy`.
    Create {
        technique: String,
        options: String,
        threads: u32,
        seed: u64,
    },
    Accepts {
        descriptor: String,
    },
    Estimate {
        group: WireGroup,
    },
    GroupBegin {
        group: WireGroup,
    },
    GroupTile {
        rows: WireTensor,
    },
    GroupFinish,
    ModelStatistics,
    ModelEstimate {
        model: WireModel,
    },
    ModelRun {
        model: WireModel,
    },
    /// A weight to decode; it stays in the worker until another one is sent.
    Hold {
        weight: WireWeight,
    },
    /// `tn_technique.decode` of the weight that is held, into the region of the frame.
    Decode {
        technique: String,
        row: u64,
        rows: u64,
    },
    Destroy,
    /// The answer to a function of `tn_host`, `tn_tokens`, `tn_checkpoint` or `tn_model`.
    Reply {
        status: i32,
        message: String,
        value: u64,
    },
}

/// What the worker sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    Described {
        abi_minor: u32,
        techniques: Vec<WireTechnique>,
    },
    /// The library could not be loaded.
    Refused {
        problem: String,
    },
    /// A function of the plugin returned.
    Done {
        status: i32,
        message: String,
        value: u64,
    },
    // Functions of the host that answer nothing. Numbers travel as their bits: JSON knows no NaN.
    Progress {
        done: u64,
        total: u64,
        note: String,
    },
    Log {
        level: i32,
        message: String,
    },
    Metric {
        key: String,
        bits: u64,
    },
    MetricAt {
        key: String,
        step: u64,
        bits: u64,
    },
    // Functions that the host answers by `Reply`.
    OutAlloc {
        weight: String,
        component: String,
        dtype: (u8, u8),
        shape: Vec<i64>,
    },
    Emit {
        weight: String,
        descriptor: String,
        components: Vec<String>,
    },
    /// The scale is the frame's tail.
    Fold {
        weight: String,
    },
    OutLoss,
    EmitTensor {
        name: String,
    },
    EmitWeight {
        module: String,
        shape: (u64, u64),
        descriptor: String,
        components: Vec<String>,
    },
    EmitCopy {
        name: String,
        teacher: i32,
        source: String,
    },
    Remove {
        name: String,
    },
    Retract {
        name: String,
    },
    SetConfig {
        config: String,
    },
    EvalLoss,
    /// The tokens are the answer's tail.
    ReadTokens {
        valid: bool,
        first: u64,
        count: u64,
    },
    /// The rows are in the answer's region.
    DecodeRows {
        teacher: bool,
        weight: u32,
        row: u64,
        rows: u64,
    },
}
