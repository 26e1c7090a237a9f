//! What is passed: strings, tensors, weights, groups, models.

use std::ffi::{c_char, c_void};

/// UTF-8 text, not terminated; `ptr` may be anything where `len` is 0. Frozen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_str {
    /// The first byte.
    pub ptr: *const c_char,
    /// The number of bytes.
    pub len: u64,
}

/// An element type in DLPack's numbering. Frozen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct tn_dtype {
    /// One of `TN_DTYPE_*`.
    pub code: u8,
    /// Bits of one lane.
    pub bits: u8,
    /// Always 1.
    pub lanes: u16,
}

/// A message of a failed call; the buffer belongs to the caller, who sets `struct_size`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_err {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// Bytes of `msg` in use.
    pub len: u32,
    /// UTF-8, not terminated.
    pub msg: [c_char; 1016],
}

/// A tensor in host memory. Every extent is at least 0; a tensor without elements may have any `data`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_tensor {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// Reserved, 0.
    pub flags: u32,
    /// The element type.
    pub dtype: tn_dtype,
    /// `TN_DEVICE_CPU`.
    pub device_type: i32,
    /// 0.
    pub device_id: i32,
    /// The number of dimensions.
    pub ndim: i32,
    /// The extents, outermost first.
    pub shape: *const i64,
    /// Strides in elements; NULL = row-major. Version 1.0 passes only row-major tensors.
    pub strides: *const i64,
    /// The first element; little-endian, and not necessarily aligned to the element type.
    pub data: *const c_void,
    /// Bytes at `data`.
    pub byte_len: u64,
    /// The name; for a component its suffix, such as `weight_packed`.
    pub name: tn_str,
}

/// A matrix `[out_features, in_features]` as it is stored now: a JSON descriptor plus its named components,
/// e.g. `{"kind":"grouped_int","bits":4,...}`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_weight {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The number of components.
    pub n_components: u32,
    /// Rows.
    pub out_features: u64,
    /// Columns.
    pub in_features: u64,
    /// A JSON object with a `kind`.
    pub descriptor: tn_str,
    /// The stored tensors.
    pub components: *const *const tn_tensor,
    /// f32 `[out, in]`; NULL without `TN_NEEDS_DENSE`.
    pub dense: *const tn_tensor,
    /// u8 `[out, in]`, 1 = kept; NULL where nothing is pruned.
    pub mask: *const tn_tensor,
    /// f32 `[out, in]` of the uncompressed weight; NULL where it is the same, and without `TN_NEEDS_ORIGINAL`.
    pub original: *const tn_tensor,
}

/// One member of a group.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_linear {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The position in the group.
    pub index: u32,
    /// The name in the checkpoint, such as `model.layers.0.self_attn.q_proj`.
    pub name: tn_str,
    /// The weight.
    pub weight: *const tn_weight,
    /// `[out]`; NULL where there is none.
    pub bias: *const tn_tensor,
}

/// The Linears that share one input (q,k,v; gate,up; or a single one), or one other tensor under `TN_ANY_TENSOR`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_group {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The number of members.
    pub n_linears: u32,
    /// The block of the network that the group is in, from 0; `n_blocks` where it is in none.
    pub block: u32,
    /// The number of blocks.
    pub n_blocks: u32,
    /// The members.
    pub linears: *const *const tn_linear,
    /// XᵀX, f32 `[in, in]`, of which only the upper triangle is valid; NULL without `TN_NEEDS_HESSIAN`.
    pub hessian: *const tn_tensor,
    /// f32 `[3, in]`: Σ|x|, Σx², max|x|; NULL without `TN_NEEDS_MOMENTS`.
    pub moments: *const tn_tensor,
    /// The rows (tokens) that the statistics were taken over.
    pub calib_rows: u64,
    /// i32 `[in]`: the channel of its producer that each input channel comes from. `fold` with a scale that is the same
    /// wherever this is the same leaves nothing to do at run time. NULL where the input's producer takes no scale.
    pub producer: *const tn_tensor,
}

/// Token sequences of one length, such as a training text cut into windows.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_tokens {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The number of sequences.
    pub n_sequences: u64,
    /// The tokens of each.
    pub sequence_length: u64,
    /// A text that differs where the tokens differ, such as their blake3; empty where the host knows none.
    pub hash: tn_str,
    /// The first argument of `read`.
    pub ctx: *mut c_void,
    /// Writes the sequences `first` to `first + count - 1`, u32 `[count, sequence_length]`, to `out`, which belongs to
    /// the plugin and is initialised memory. Any thread.
    pub read: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            first: u64,
            count: u64,
            out: *mut u32,
            err: *mut tn_err,
        ) -> i32,
    >,
}

/// A checkpoint, read-only. The data of its tensors lie in the mapped file as a rule: reading them costs memory only
/// as long as the system keeps the pages.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_checkpoint {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The number of weights.
    pub n_weights: u32,
    /// The number of tensors.
    pub n_tensors: u32,
    /// 0.
    pub reserved: u32,
    /// The checkpoint's `config.json`.
    pub config_json: tn_str,
    /// The network as data: layers, coupled dimensions, shared inputs.
    pub spec_json: tn_str,
    /// A text that differs where the checkpoint differs, such as its blake3; empty where the host knows none.
    pub hash: tn_str,
    /// The matrices of the network by module, sorted by name, as they are stored: descriptor and components. `dense`,
    /// `mask` and `original` are NULL (`decode` gives rows as f32), and so is `bias` (it is one of the tensors).
    pub weights: *const *const tn_linear,
    /// Every stored tensor by its name, sorted; the components of the weights among them (`{module}.{suffix}`, the
    /// same bytes). Tensors of an element type that the host does not know are left out.
    pub tensors: *const *const tn_tensor,
    /// The first argument of `decode`.
    pub ctx: *mut c_void,
    /// Decodes `n_rows` rows from `row` on of `weights[weight]`, whatever its kind, to f32 `[n_rows, in]`; `out`
    /// belongs to the plugin and is initialised memory. Any thread.
    pub decode: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            weight: u32,
            row: u64,
            n_rows: u64,
            out: *mut f32,
            err: *mut tn_err,
        ) -> i32,
    >,
}

/// What the model scope is given. Everything that it points to is valid until `model_run` returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_model {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The number of statistics.
    pub n_statistics: u32,
    /// The checkpoint that is worked on.
    pub student: *const tn_checkpoint,
    /// A second checkpoint to learn from; NULL where there is none, never under `TN_NEEDS_TEACHER`.
    pub teacher: *const tn_checkpoint,
    /// Tokens to train or calibrate on; NULL where there are none, never under `TN_NEEDS_TOKENS`.
    pub train: *const tn_tokens,
    /// Other tokens, to judge by; NULL where there are none.
    pub valid: *const tn_tokens,
    /// What the host measured, by the name of the tensor: what `model_statistics` asked for, and `rows`, i64 `[1]`, the
    /// calibration rows (tokens) behind it. Any of it may be absent.
    pub statistics: *const *const tn_tensor,
    /// The absolute path of a directory that outlives the job, for resuming: the same stage gets it again. Empty where
    /// there is none.
    pub state_dir: tn_str,
    /// The first argument of `eval_loss`.
    pub ctx: *mut c_void,
    /// The loss of the student with what is emitted, removed and configured so far. NULL where the host has none. Only
    /// on the thread that the host called on.
    pub eval_loss: Option<unsafe extern "C" fn(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32>,
}
