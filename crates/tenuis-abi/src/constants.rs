//! Numbers of the ABI.

/// The first field of a `tn_plugin`: "TENUIS01".
pub const TN_MAGIC: u64 = 0x5445_4e55_4953_3031;
/// The major version that this header describes; also the number in the name of the exported symbol.
pub const TN_ABI_MAJOR: u32 = 1;
/// The minor version that this header describes.
pub const TN_ABI_MINOR: u32 = 1;

/// Status: done.
pub const TN_OK: i32 = 0;
/// Status: stopped because the host asked for it.
pub const TN_CANCELLED: i32 = 1;
/// Status: an argument, option or descriptor is wrong.
pub const TN_INVALID: i32 = 2;
/// Status: well-formed, but this technique or host cannot do it.
pub const TN_UNSUPPORTED: i32 = 3;
/// Status: the numbers do not allow it (overflow, not positive definite, not finite).
pub const TN_NUMERICAL: i32 = 4;
/// Status: not enough memory.
pub const TN_OOM: i32 = 5;
/// Status: reading or writing failed.
pub const TN_IO: i32 = 6;
/// Status: a panic or exception was caught at the border; only `destroy` is legal now.
pub const TN_PANIC: i32 = 7;

/// Scope: the technique works on groups of Linears that share an input.
pub const TN_SCOPE_GROUP: u32 = 1;
/// Scope: the technique works on the whole checkpoint.
pub const TN_SCOPE_MODEL: u32 = 2;

/// Capability: the host accumulates XᵀX (f32, upper triangle) over the calibration rows.
pub const TN_NEEDS_HESSIAN: u64 = 1;
/// Capability: the host streams the group's input as `[rows, in]` f32 tiles through `group_tile`.
pub const TN_NEEDS_INPUTS: u64 = 2;
/// Capability: the host collects per input channel Σ|x|, Σx² and max|x|.
pub const TN_NEEDS_MOMENTS: u64 = 4;
/// Capability: the host lends a loss of the parent module for candidates (`out_loss`).
pub const TN_NEEDS_OUT_LOSS: u64 = 8;
/// Capability: several jobs may run at once on different threads.
pub const TN_PARALLEL_JOBS: u64 = 16;
/// Capability: equal input and options give equal bytes, whatever the thread budget.
pub const TN_DETERMINISTIC: u64 = 32;
/// Capability: takes any floating-point tensor (embeddings, norms, heads), each offered as a group of one member.
pub const TN_ANY_TENSOR: u64 = 64;
/// Capability: the host decodes every weight to f32 (`tn_weight.dense`).
pub const TN_NEEDS_DENSE: u64 = 128;
/// Capability: the host passes the uncompressed weight too where the current one is compressed (`tn_weight.original`).
pub const TN_NEEDS_ORIGINAL: u64 = 256;
/// Capability: entries that the mask prunes stay exactly zero; without it the host refuses masked weights.
pub const TN_KEEPS_MASK: u64 = 512;
/// Capability, model scope: cannot do without a teacher checkpoint (`tn_model.teacher`).
pub const TN_NEEDS_TEACHER: u64 = 1024;
/// Capability, model scope: cannot do without tokens (`tn_model.train`).
pub const TN_NEEDS_TOKENS: u64 = 2048;
/// Capability, model scope: makes use of validation tokens where there are some (`tn_model.valid`).
pub const TN_USES_VALIDATION: u64 = 4096;

/// Statistic, model scope, of every input that Linears share: `moments/{first module}`, f32 `[4, in]`: Σ|x|, Σx²,
/// max|x|, Σx. Since 1.1.
pub const TN_STATISTIC_MOMENTS: u64 = 1;
/// Statistic, model scope, of the input of attention's output projection: `gram/{module}`, XᵀX, f32 `[in, in]`, of which
/// only the upper triangle is valid. Since 1.1.
pub const TN_STATISTIC_GRAM_ATTENTION: u64 = 2;
/// Statistic, model scope, of the input of the feed-forward part's last Linear: as `TN_STATISTIC_GRAM_ATTENTION`. Since
/// 1.1.
pub const TN_STATISTIC_GRAM_FEED_FORWARD: u64 = 4;
/// Statistic, model scope: `block_similarity`, f32 `[n_blocks]`, the mean cosine of what goes into a block and what comes
/// out. Since 1.1.
pub const TN_STATISTIC_BLOCK_SIMILARITY: u64 = 8;
/// Statistic, model scope, of every input that Linears share: `gram/{first module}`, as `TN_STATISTIC_GRAM_ATTENTION`.
/// Since 1.1.
pub const TN_STATISTIC_GRAM_INPUTS: u64 = 16;

/// Element type code: signed integer. The codes are those of DLPack's `DLDataTypeCode`.
pub const TN_DTYPE_INT: u8 = 0;
/// Element type code: unsigned integer.
pub const TN_DTYPE_UINT: u8 = 1;
/// Element type code: IEEE float of 16, 32 or 64 bits.
pub const TN_DTYPE_FLOAT: u8 = 2;
/// Element type code: bfloat16.
pub const TN_DTYPE_BFLOAT: u8 = 4;
/// Element type code: truth value of 8 bits.
pub const TN_DTYPE_BOOL: u8 = 6;
/// Element type code: 8-bit float E4M3 without infinities.
pub const TN_DTYPE_F8_E4M3: u8 = 10;
/// Element type code: 8-bit float E5M2.
pub const TN_DTYPE_F8_E5M2: u8 = 12;

/// Device type: host memory, as in DLPack. Version 1 passes nothing else.
pub const TN_DEVICE_CPU: i32 = 1;

/// Log level: something failed.
pub const TN_LOG_ERROR: i32 = 1;
/// Log level: something that the user should know.
pub const TN_LOG_WARN: i32 = 2;
/// Log level: what was decided.
pub const TN_LOG_INFO: i32 = 3;
/// Log level: for the plugin's author.
pub const TN_LOG_DEBUG: i32 = 4;
