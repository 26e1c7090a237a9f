//! What is called: the host's functions, a technique's, and the plugin that lists techniques.

use crate::data::{tn_dtype, tn_err, tn_group, tn_model, tn_str, tn_tensor, tn_weight};
use std::ffi::c_void;

/// What the host lends to a job. It outlives the job.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_host {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// The host's minor version.
    pub abi_minor: u32,
    /// The first argument of the functions of this struct.
    pub ctx: *mut c_void,
    /// Threads that a plugin may use that brings its own.
    pub thread_budget: u32,
    /// 0.
    pub reserved: u32,
    /// 1 once the job should stop with `TN_CANCELLED`. Poll it at least every 100 ms. Any thread.
    pub cancelled: Option<unsafe extern "C" fn(ctx: *mut c_void) -> i32>,
    /// Reports progress within the current group or model. Any thread.
    pub progress: Option<unsafe extern "C" fn(ctx: *mut c_void, done: u64, total: u64, note: tn_str)>,
    /// Logs a line under one of `TN_LOG_*`. Any thread.
    pub log: Option<unsafe extern "C" fn(ctx: *mut c_void, level: i32, msg: tn_str)>,
    /// Records a number for the report. Any thread.
    pub metric: Option<unsafe extern "C" fn(ctx: *mut c_void, key: tn_str, value: f64)>,
    /// Records a point of a curve, such as the loss of a training step. Any thread.
    pub metric_at: Option<unsafe extern "C" fn(ctx: *mut c_void, key: tn_str, step: u64, value: f64)>,
    /// Calls `body(user, i)` for every `i < n` on the host's threads; stops early on, and returns, a status
    /// that is not `TN_OK`.
    pub parallel_for: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            n: u64,
            body: Option<unsafe extern "C" fn(user: *mut c_void, i: u64) -> i32>,
            user: *mut c_void,
        ) -> i32,
    >,
    /// Lends a buffer for a component of `weight_name`, 64-byte aligned. Every byte of it must be written before
    /// `emit`, and none after. A second buffer for the same component replaces the first. Model scope: `weight_name` is
    /// a module, or the name of a tensor if `component` is empty.
    pub out_alloc: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            weight_name: tn_str,
            component: tn_str,
            dtype: tn_dtype,
            ndim: i32,
            shape: *const i64,
            data: *mut *mut c_void,
            byte_len: *mut u64,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Group scope: joins a descriptor and the named buffers into the new `weight_name`. The host checks and takes them; what was
    /// emitted before for the same weight is replaced.
    pub emit: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            weight_name: tn_str,
            descriptor: tn_str,
            n_components: u32,
            components: *const tn_str,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Group scope: says that `weight_name` was made for the input x / scale: `n` = in_features positive scales, which the host
    /// folds into whatever produces the input, or applies at run time.
    pub fold: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            weight_name: tn_str,
            n: u64,
            scale: *const f32,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Group scope: the parent module's output error with what is emitted so far; only under `TN_NEEDS_OUT_LOSS`.
    pub out_loss: Option<unsafe extern "C" fn(ctx: *mut c_void, loss: *mut f64, err: *mut tn_err) -> i32>,
    /// Model scope: takes the buffer of `name` as a tensor of the student, new or in the place of the one of that name.
    /// The components of a compressed weight cannot be replaced singly.
    pub emit_tensor: Option<unsafe extern "C" fn(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32>,
    /// Model scope: joins a descriptor and the named buffers into a matrix `[out_features, in_features]` of the student,
    /// new or in the place of all components that `module` has.
    pub emit_weight: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            module: tn_str,
            out_features: u64,
            in_features: u64,
            descriptor: tn_str,
            n_components: u32,
            components: *const tn_str,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Model scope: as `emit_tensor` or `emit_weight`, with the bytes of the tensor or module `source` of the student, or
    /// of the teacher if `teacher` is 1. Nothing is copied in memory.
    pub emit_copy: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            name: tn_str,
            teacher: i32,
            source: tn_str,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Model scope: drops a tensor of the student, or a module's weight with all of its components.
    pub remove: Option<unsafe extern "C" fn(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32>,
    /// Model scope: takes back what was emitted, removed or refused under a name; the empty name takes back all, the
    /// configuration too. No name may be emitted twice without it.
    pub retract: Option<unsafe extern "C" fn(ctx: *mut c_void, name: tn_str, err: *mut tn_err) -> i32>,
    /// Model scope: replaces `config.json` by another object.
    pub set_config:
        Option<unsafe extern "C" fn(ctx: *mut c_void, config_json: tn_str, err: *mut tn_err) -> i32>,
    /// An optional interface by name, such as "tenuis.linalg/1"; NULL = unsupported.
    pub ext: Option<unsafe extern "C" fn(ctx: *mut c_void, id: tn_str) -> *const c_void>,
    /// Seeds whatever is drawn at random, unless the options say otherwise. Since 1.1.
    pub seed: u64,
}

/// One technique. All of it lives as long as the library, that is for ever.
///
/// Life of a job of scope group: `create`, then any number of `accepts`, `estimate` and groups, then `destroy`. A group is
/// `group_begin`, `group_tile` for every tile of rows (only under `TN_NEEDS_INPUTS`), `group_finish`. A status other than `TN_OK`
/// abandons the group; unless it is `TN_PANIC` another group may begin.
///
/// Of scope model: `create`, any number of `accepts`, `model_estimate` and `model_run`, `destroy`. A status other than
/// `TN_OK` drops what was emitted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_technique {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// `TN_SCOPE_GROUP` or `TN_SCOPE_MODEL`.
    pub scope: u32,
    /// `TN_NEEDS_HESSIAN` and so on.
    pub caps: u64,
    /// The name by which recipes call it.
    pub id: tn_str,
    /// The version, which enters the key of cached results.
    pub version: tn_str,
    /// The JSON Schema (2020-12, self-contained, `additionalProperties: false`) of the options.
    pub config_schema: tn_str,
    /// The number of kinds.
    pub n_kinds: u32,
    /// 0.
    pub reserved: u32,
    /// The representation kinds of its own, which `decode` reads; none of the host's.
    pub kinds: *const tn_str,
    /// Makes a job of options that satisfy the schema.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const tn_host,
            config_json: tn_str,
            job: *mut *mut c_void,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Whether it takes weights of this descriptor; asked when a recipe is checked. NULL = every descriptor.
    pub accepts: Option<unsafe extern "C" fn(job: *mut c_void, descriptor: tn_str, err: *mut tn_err) -> i32>,
    /// Peak bytes of RAM that the group will take beside inputs and outputs. Shapes and descriptors are set, `data` is
    /// NULL. NULL, or `TN_UNSUPPORTED` = unknown.
    pub estimate: Option<
        unsafe extern "C" fn(
            job: *mut c_void,
            group: *const tn_group,
            ram_bytes: *mut u64,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Begins a group.
    pub group_begin:
        Option<unsafe extern "C" fn(job: *mut c_void, group: *const tn_group, err: *mut tn_err) -> i32>,
    /// Takes a tile of the group's input, f32 `[rows, in]`.
    pub group_tile:
        Option<unsafe extern "C" fn(job: *mut c_void, rows: *const tn_tensor, err: *mut tn_err) -> i32>,
    /// Emits every member of the group, which is passed again.
    pub group_finish:
        Option<unsafe extern "C" fn(job: *mut c_void, group: *const tn_group, err: *mut tn_err) -> i32>,
    /// Model scope: does the whole work.
    pub model_run:
        Option<unsafe extern "C" fn(job: *mut c_void, model: *const tn_model, err: *mut tn_err) -> i32>,
    /// Model scope: as `estimate`, for a `model_run` with this model. Nothing may be emitted.
    pub model_estimate: Option<
        unsafe extern "C" fn(
            job: *mut c_void,
            model: *const tn_model,
            ram_bytes: *mut u64,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// Frees the job.
    pub destroy: Option<unsafe extern "C" fn(job: *mut c_void)>,
    /// Decodes `n_rows` rows from `row` on of a weight of one of `kinds` to f32 `[n_rows, in]`; `out` is
    /// initialised memory. No job, any thread, a pure function.
    pub decode: Option<
        unsafe extern "C" fn(
            weight: *const tn_weight,
            row: u64,
            n_rows: u64,
            out: *mut f32,
            err: *mut tn_err,
        ) -> i32,
    >,
    /// An optional interface by name; NULL = unsupported.
    pub ext: Option<unsafe extern "C" fn(id: tn_str) -> *const c_void>,
    /// Model scope: which of `TN_STATISTIC_*` a `model_run` with these options makes use of; the host measures them on the
    /// calibration text, and `tn_model.statistics` has them. NULL = none. Since 1.1.
    pub model_statistics:
        Option<unsafe extern "C" fn(job: *mut c_void, wanted: *mut u64, err: *mut tn_err) -> i32>,
}

/// What the exported symbol returns; it lives as long as the library.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tn_plugin {
    /// `TN_MAGIC`.
    pub magic: u64,
    /// Bytes of this struct.
    pub struct_size: u32,
    /// `TN_ABI_MAJOR`.
    pub abi_major: u32,
    /// The minor version that the plugin was built for.
    pub abi_minor: u32,
    /// The least minor version of a host that it works with.
    pub min_host_minor: u32,
    /// The number of techniques.
    pub n_techniques: u64,
    /// The techniques.
    pub techniques: *const *const tn_technique,
}

/// The type of the exported symbol. NULL = does not work with this host.
pub type tn_plugin_entry = unsafe extern "C" fn(host_minor: u32) -> *const tn_plugin;
