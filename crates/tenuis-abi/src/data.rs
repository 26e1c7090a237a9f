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
}

/// A checkpoint as the model scope sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_model {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The number of weights.
    pub n_weights: u32,
    /// The checkpoint's `config.json`.
    pub config_json: tn_str,
    /// The network as data: layers, coupled dimensions, shared inputs.
    pub spec_json: tn_str,
    /// The first argument of the functions of this struct.
    pub ctx: *mut c_void,
    /// The `i`-th weight and its name, valid until the next call; NULL where `i` is out of range.
    pub weight: Option<unsafe extern "C" fn(ctx: *mut c_void, i: u32, name: *mut tn_str) -> *const tn_weight>,
    /// A token batch, i32 `[batch, seq]`; NULL at the end.
    pub tokens: Option<unsafe extern "C" fn(ctx: *mut c_void, batch: u64) -> *const tn_tensor>,
    /// A statistic that the host collected, such as moments or block similarity; NULL where it has none.
    pub statistic: Option<unsafe extern "C" fn(ctx: *mut c_void, key: tn_str) -> *const tn_tensor>,
    /// The loss of what has been emitted so far.
    pub eval_loss: Option<unsafe extern "C" fn(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32>,
    /// A second checkpoint; NULL where there is none.
    pub teacher: *const tn_model,
    /// A directory for resuming; empty where there is none.
    pub state_dir: tn_str,
}
