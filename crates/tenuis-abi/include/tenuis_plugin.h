/* The plugin ABI of Tenuis, version 1. Generated from crates/tenuis-abi; do not edit.
 *
 * A plugin exports one symbol, tenuis_plugin_v1. The rules are in docs/plugins.md; in short:
 * - Structs with a struct_size may grow at their end. Set it to sizeof; read a field only if TN_HAS says that it is
 *   there.
 * - Pointers are borrowed for the call. Results go into buffers of out_alloc, messages into the caller's tn_err.
 * - Nothing may unwind or longjmp across the border.
 */

#ifndef TENUIS_PLUGIN_H
#define TENUIS_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define TN_EXPORT __declspec(dllexport)
#else
#define TN_EXPORT __attribute__((visibility("default")))
#endif

/* Whether the struct that p points to is long enough to have field f of type T. */
#define TN_HAS(p, T, f) ((p)->struct_size >= offsetof(T, f) + sizeof((p)->f))


/*
 The first field of a `tn_plugin`: "TENUIS01".
 */
#define TN_MAGIC 6072345800788357169

/*
 The major version that this header describes; also the number in the name of the exported symbol.
 */
#define TN_ABI_MAJOR 1

/*
 The minor version that this header describes.
 */
#define TN_ABI_MINOR 1

/*
 Status: done.
 */
#define TN_OK 0

/*
 Status: stopped because the host asked for it.
 */
#define TN_CANCELLED 1

/*
 Status: an argument, option or descriptor is wrong.
 */
#define TN_INVALID 2

/*
 Status: well-formed, but this technique or host cannot do it.
 */
#define TN_UNSUPPORTED 3

/*
 Status: the numbers do not allow it (overflow, not positive definite, not finite).
 */
#define TN_NUMERICAL 4

/*
 Status: not enough memory.
 */
#define TN_OOM 5

/*
 Status: reading or writing failed.
 */
#define TN_IO 6

/*
 Status: a panic or exception was caught at the border; only `destroy` is legal now.
 */
#define TN_PANIC 7

/*
 Scope: the technique works on groups of Linears that share an input.
 */
#define TN_SCOPE_GROUP 1

/*
 Scope: the technique works on the whole checkpoint.
 */
#define TN_SCOPE_MODEL 2

/*
 Capability: the host accumulates XᵀX (f32, upper triangle) over the calibration rows.
 */
#define TN_NEEDS_HESSIAN 1

/*
 Capability: the host streams the group's input as `[rows, in]` f32 tiles through `group_tile`.
 */
#define TN_NEEDS_INPUTS 2

/*
 Capability: the host collects per input channel Σ|x|, Σx² and max|x|.
 */
#define TN_NEEDS_MOMENTS 4

/*
 Capability: the host lends a loss of the parent module for candidates (`out_loss`).
 */
#define TN_NEEDS_OUT_LOSS 8

/*
 Capability: several jobs may run at once on different threads.
 */
#define TN_PARALLEL_JOBS 16

/*
 Capability: equal input and options give equal bytes, whatever the thread budget.
 */
#define TN_DETERMINISTIC 32

/*
 Capability: takes any floating-point tensor (embeddings, norms, heads), each offered as a group of one member.
 */
#define TN_ANY_TENSOR 64

/*
 Capability: the host decodes every weight to f32 (`tn_weight.dense`).
 */
#define TN_NEEDS_DENSE 128

/*
 Capability: the host passes the uncompressed weight too where the current one is compressed (`tn_weight.original`).
 */
#define TN_NEEDS_ORIGINAL 256

/*
 Capability: entries that the mask prunes stay exactly zero; without it the host refuses masked weights.
 */
#define TN_KEEPS_MASK 512

/*
 Capability, model scope: cannot do without a teacher checkpoint (`tn_model.teacher`).
 */
#define TN_NEEDS_TEACHER 1024

/*
 Capability, model scope: cannot do without tokens (`tn_model.train`).
 */
#define TN_NEEDS_TOKENS 2048

/*
 Capability, model scope: makes use of validation tokens where there are some (`tn_model.valid`).
 */
#define TN_USES_VALIDATION 4096

/*
 Statistic, model scope, of every input that Linears share: `moments/{first module}`, f32 `[4, in]`: Σ|x|, Σx²,
 max|x|, Σx. Since 1.1.
 */
#define TN_STATISTIC_MOMENTS 1

/*
 Statistic, model scope, of the input of attention's output projection: `gram/{module}`, XᵀX, f32 `[in, in]`, of which
 only the upper triangle is valid. Since 1.1.
 */
#define TN_STATISTIC_GRAM_ATTENTION 2

/*
 Statistic, model scope, of the input of the feed-forward part's last Linear: as `TN_STATISTIC_GRAM_ATTENTION`. Since
 1.1.
 */
#define TN_STATISTIC_GRAM_FEED_FORWARD 4

/*
 Statistic, model scope: `block_similarity`, f32 `[n_blocks]`, the mean cosine of what goes into a block and what comes
 out. Since 1.1.
 */
#define TN_STATISTIC_BLOCK_SIMILARITY 8

/*
 Statistic, model scope, of every input that Linears share: `gram/{first module}`, as `TN_STATISTIC_GRAM_ATTENTION`.
 Since 1.1.
 */
#define TN_STATISTIC_GRAM_INPUTS 16

/*
 Element type code: signed integer. The codes are those of DLPack's `DLDataTypeCode`.
 */
#define TN_DTYPE_INT 0

/*
 Element type code: unsigned integer.
 */
#define TN_DTYPE_UINT 1

/*
 Element type code: IEEE float of 16, 32 or 64 bits.
 */
#define TN_DTYPE_FLOAT 2

/*
 Element type code: bfloat16.
 */
#define TN_DTYPE_BFLOAT 4

/*
 Element type code: truth value of 8 bits.
 */
#define TN_DTYPE_BOOL 6

/*
 Element type code: 8-bit float E4M3 without infinities.
 */
#define TN_DTYPE_F8_E4M3 10

/*
 Element type code: 8-bit float E5M2.
 */
#define TN_DTYPE_F8_E5M2 12

/*
 Device type: host memory, as in DLPack. Version 1 passes nothing else.
 */
#define TN_DEVICE_CPU 1

/*
 Log level: something failed.
 */
#define TN_LOG_ERROR 1

/*
 Log level: something that the user should know.
 */
#define TN_LOG_WARN 2

/*
 Log level: what was decided.
 */
#define TN_LOG_INFO 3

/*
 Log level: for the plugin's author.
 */
#define TN_LOG_DEBUG 4

/*
 UTF-8 text, not terminated; `ptr` may be anything where `len` is 0. Frozen.
 */
typedef struct tn_str {
  /*
   The first byte.
   */
  const char *ptr;
  /*
   The number of bytes.
   */
  uint64_t len;
} tn_str;

/*
 An element type in DLPack's numbering. Frozen.
 */
typedef struct tn_dtype {
  /*
   One of `TN_DTYPE_*`.
   */
  uint8_t code;
  /*
   Bits of one lane.
   */
  uint8_t bits;
  /*
   Always 1.
   */
  uint16_t lanes;
} tn_dtype;

/*
 A message of a failed call; the buffer belongs to the caller, who sets `struct_size`.
 */
typedef struct tn_err {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   Bytes of `msg` in use.
   */
  uint32_t len;
  /*
   UTF-8, not terminated.
   */
  char msg[1016];
} tn_err;

/*
 What the host lends to a job. It outlives the job.
 */
typedef struct tn_host {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   The host's minor version.
   */
  uint32_t abi_minor;
  /*
   The first argument of the functions of this struct.
   */
  void *ctx;
  /*
   Threads that a plugin may use that brings its own.
   */
  uint32_t thread_budget;
  /*
   0.
   */
  uint32_t reserved;
  /*
   1 once the job should stop with `TN_CANCELLED`. Poll it at least every 100 ms. Any thread.
   */
  int32_t (*cancelled)(void *ctx);
  /*
   Reports progress within the current group or model. Any thread.
   */
  void (*progress)(void *ctx, uint64_t done, uint64_t total, struct tn_str note);
  /*
   Logs a line under one of `TN_LOG_*`. Any thread.
   */
  void (*log)(void *ctx, int32_t level, struct tn_str msg);
  /*
   Records a number for the report. Any thread.
   */
  void (*metric)(void *ctx, struct tn_str key, double value);
  /*
   Records a point of a curve, such as the loss of a training step. Any thread.
   */
  void (*metric_at)(void *ctx, struct tn_str key, uint64_t step, double value);
  /*
   Calls `body(user, i)` for every `i < n` on the host's threads; stops early on, and returns, a status
   that is not `TN_OK`.
   */
  int32_t (*parallel_for)(void *ctx, uint64_t n, int32_t (*body)(void *user, uint64_t i), void *user);
  /*
   Lends a buffer for a component of `weight_name`, 64-byte aligned. Every byte of it must be written before
   `emit`, and none after. A second buffer for the same component replaces the first. Model scope: `weight_name` is
   a module, or the name of a tensor if `component` is empty.
   */
  int32_t (*out_alloc)(void *ctx,
                       struct tn_str weight_name,
                       struct tn_str component,
                       struct tn_dtype dtype,
                       int32_t ndim,
                       const int64_t *shape,
                       void **data,
                       uint64_t *byte_len,
                       struct tn_err *err);
  /*
   Group scope: joins a descriptor and the named buffers into the new `weight_name`. The host checks and takes them; what was
   emitted before for the same weight is replaced.
   */
  int32_t (*emit)(void *ctx,
                  struct tn_str weight_name,
                  struct tn_str descriptor,
                  uint32_t n_components,
                  const struct tn_str *components,
                  struct tn_err *err);
  /*
   Group scope: says that `weight_name` was made for the input x / scale: `n` = in_features positive scales, which the host
   folds into whatever produces the input, or applies at run time.
   */
  int32_t (*fold)(void *ctx, struct tn_str weight_name, uint64_t n, const float *scale, struct tn_err *err);
  /*
   Group scope: the parent module's output error with what is emitted so far; only under `TN_NEEDS_OUT_LOSS`.
   */
  int32_t (*out_loss)(void *ctx, double *loss, struct tn_err *err);
  /*
   Model scope: takes the buffer of `name` as a tensor of the student, new or in the place of the one of that name.
   The components of a compressed weight cannot be replaced singly.
   */
  int32_t (*emit_tensor)(void *ctx, struct tn_str name, struct tn_err *err);
  /*
   Model scope: joins a descriptor and the named buffers into a matrix `[out_features, in_features]` of the student,
   new or in the place of all components that `module` has.
   */
  int32_t (*emit_weight)(void *ctx,
                         struct tn_str module,
                         uint64_t out_features,
                         uint64_t in_features,
                         struct tn_str descriptor,
                         uint32_t n_components,
                         const struct tn_str *components,
                         struct tn_err *err);
  /*
   Model scope: as `emit_tensor` or `emit_weight`, with the bytes of the tensor or module `source` of the student, or
   of the teacher if `teacher` is 1. Nothing is copied in memory.
   */
  int32_t (*emit_copy)(void *ctx,
                       struct tn_str name,
                       int32_t teacher,
                       struct tn_str source,
                       struct tn_err *err);
  /*
   Model scope: drops a tensor of the student, or a module's weight with all of its components.
   */
  int32_t (*remove)(void *ctx, struct tn_str name, struct tn_err *err);
  /*
   Model scope: takes back what was emitted, removed or refused under a name; the empty name takes back all, the
   configuration too. No name may be emitted twice without it.
   */
  int32_t (*retract)(void *ctx, struct tn_str name, struct tn_err *err);
  /*
   Model scope: replaces `config.json` by another object.
   */
  int32_t (*set_config)(void *ctx, struct tn_str config_json, struct tn_err *err);
  /*
   An optional interface by name, such as "tenuis.linalg/1"; NULL = unsupported.
   */
  const void *(*ext)(void *ctx, struct tn_str id);
  /*
   Seeds whatever is drawn at random, unless the options say otherwise. Since 1.1.
   */
  uint64_t seed;
} tn_host;

/*
 A tensor in host memory. Every extent is at least 0; a tensor without elements may have any `data`.
 */
typedef struct tn_tensor {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   Reserved, 0.
   */
  uint32_t flags;
  /*
   The element type.
   */
  struct tn_dtype dtype;
  /*
   `TN_DEVICE_CPU`.
   */
  int32_t device_type;
  /*
   0.
   */
  int32_t device_id;
  /*
   The number of dimensions.
   */
  int32_t ndim;
  /*
   The extents, outermost first.
   */
  const int64_t *shape;
  /*
   Strides in elements; NULL = row-major. Version 1.0 passes only row-major tensors.
   */
  const int64_t *strides;
  /*
   The first element; little-endian, and not necessarily aligned to the element type.
   */
  const void *data;
  /*
   Bytes at `data`.
   */
  uint64_t byte_len;
  /*
   The name; for a component its suffix, such as `weight_packed`.
   */
  struct tn_str name;
} tn_tensor;

/*
 A matrix `[out_features, in_features]` as it is stored now: a JSON descriptor plus its named components,
 e.g. `{"kind":"grouped_int","bits":4,...}`.
 */
typedef struct tn_weight {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   The number of components.
   */
  uint32_t n_components;
  /*
   Rows.
   */
  uint64_t out_features;
  /*
   Columns.
   */
  uint64_t in_features;
  /*
   A JSON object with a `kind`.
   */
  struct tn_str descriptor;
  /*
   The stored tensors.
   */
  const struct tn_tensor *const *components;
  /*
   f32 `[out, in]`; NULL without `TN_NEEDS_DENSE`.
   */
  const struct tn_tensor *dense;
  /*
   u8 `[out, in]`, 1 = kept; NULL where nothing is pruned.
   */
  const struct tn_tensor *mask;
  /*
   f32 `[out, in]` of the uncompressed weight; NULL where it is the same, and without `TN_NEEDS_ORIGINAL`.
   */
  const struct tn_tensor *original;
} tn_weight;

/*
 One member of a group.
 */
typedef struct tn_linear {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   The position in the group.
   */
  uint32_t index;
  /*
   The name in the checkpoint, such as `model.layers.0.self_attn.q_proj`.
   */
  struct tn_str name;
  /*
   The weight.
   */
  const struct tn_weight *weight;
  /*
   `[out]`; NULL where there is none.
   */
  const struct tn_tensor *bias;
} tn_linear;

/*
 The Linears that share one input (q,k,v; gate,up; or a single one), or one other tensor under `TN_ANY_TENSOR`.
 */
typedef struct tn_group {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   The number of members.
   */
  uint32_t n_linears;
  /*
   The block of the network that the group is in, from 0; `n_blocks` where it is in none.
   */
  uint32_t block;
  /*
   The number of blocks.
   */
  uint32_t n_blocks;
  /*
   The members.
   */
  const struct tn_linear *const *linears;
  /*
   XᵀX, f32 `[in, in]`, of which only the upper triangle is valid; NULL without `TN_NEEDS_HESSIAN`.
   */
  const struct tn_tensor *hessian;
  /*
   f32 `[3, in]`: Σ|x|, Σx², max|x|; NULL without `TN_NEEDS_MOMENTS`.
   */
  const struct tn_tensor *moments;
  /*
   The rows (tokens) that the statistics were taken over.
   */
  uint64_t calib_rows;
  /*
   i32 `[in]`: the channel of its producer that each input channel comes from. `fold` with a scale that is the same
   wherever this is the same leaves nothing to do at run time. NULL where the input's producer takes no scale.
   */
  const struct tn_tensor *producer;
} tn_group;

/*
 A checkpoint, read-only. The data of its tensors lie in the mapped file as a rule: reading them costs memory only
 as long as the system keeps the pages.
 */
typedef struct tn_checkpoint {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   The number of weights.
   */
  uint32_t n_weights;
  /*
   The number of tensors.
   */
  uint32_t n_tensors;
  /*
   0.
   */
  uint32_t reserved;
  /*
   The checkpoint's `config.json`.
   */
  struct tn_str config_json;
  /*
   The network as data: layers, coupled dimensions, shared inputs.
   */
  struct tn_str spec_json;
  /*
   A text that differs where the checkpoint differs, such as its blake3; empty where the host knows none.
   */
  struct tn_str hash;
  /*
   The matrices of the network by module, sorted by name, as they are stored: descriptor and components. `dense`,
   `mask` and `original` are NULL (`decode` gives rows as f32), and so is `bias` (it is one of the tensors).
   */
  const struct tn_linear *const *weights;
  /*
   Every stored tensor by its name, sorted; the components of the weights among them (`{module}.{suffix}`, the
   same bytes). Tensors of an element type that the host does not know are left out.
   */
  const struct tn_tensor *const *tensors;
  /*
   The first argument of `decode`.
   */
  void *ctx;
  /*
   Decodes `n_rows` rows from `row` on of `weights[weight]`, whatever its kind, to f32 `[n_rows, in]`; `out`
   belongs to the plugin and is initialised memory. Any thread.
   */
  int32_t (*decode)(void *ctx, uint32_t weight, uint64_t row, uint64_t n_rows, float *out, struct tn_err *err);
} tn_checkpoint;

/*
 Token sequences of one length, such as a training text cut into windows.
 */
typedef struct tn_tokens {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   0.
   */
  uint32_t reserved;
  /*
   The number of sequences.
   */
  uint64_t n_sequences;
  /*
   The tokens of each.
   */
  uint64_t sequence_length;
  /*
   A text that differs where the tokens differ, such as their blake3; empty where the host knows none.
   */
  struct tn_str hash;
  /*
   The first argument of `read`.
   */
  void *ctx;
  /*
   Writes the sequences `first` to `first + count - 1`, u32 `[count, sequence_length]`, to `out`, which belongs to
   the plugin and is initialised memory. Any thread.
   */
  int32_t (*read)(void *ctx, uint64_t first, uint64_t count, uint32_t *out, struct tn_err *err);
} tn_tokens;

/*
 What the model scope is given. Everything that it points to is valid until `model_run` returns.
 */
typedef struct tn_model {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   The number of statistics.
   */
  uint32_t n_statistics;
  /*
   The checkpoint that is worked on.
   */
  const struct tn_checkpoint *student;
  /*
   A second checkpoint to learn from; NULL where there is none, never under `TN_NEEDS_TEACHER`.
   */
  const struct tn_checkpoint *teacher;
  /*
   Tokens to train or calibrate on; NULL where there are none, never under `TN_NEEDS_TOKENS`.
   */
  const struct tn_tokens *train;
  /*
   Other tokens, to judge by; NULL where there are none.
   */
  const struct tn_tokens *valid;
  /*
   What the host measured, by the name of the tensor: what `model_statistics` asked for, and `rows`, i64 `[1]`, the
   calibration rows (tokens) behind it. Any of it may be absent.
   */
  const struct tn_tensor *const *statistics;
  /*
   The absolute path of a directory that outlives the job, for resuming: the same stage gets it again. Empty where
   there is none.
   */
  struct tn_str state_dir;
  /*
   The first argument of `eval_loss`.
   */
  void *ctx;
  /*
   The loss of the student with what is emitted, removed and configured so far. NULL where the host has none. Only
   on the thread that the host called on.
   */
  int32_t (*eval_loss)(void *ctx, double *loss, struct tn_err *err);
} tn_model;

/*
 One technique. All of it lives as long as the library, that is for ever.

 Life of a job of scope group: `create`, then any number of `accepts`, `estimate` and groups, then `destroy`. A group is
 `group_begin`, `group_tile` for every tile of rows (only under `TN_NEEDS_INPUTS`), `group_finish`. A status other than `TN_OK`
 abandons the group; unless it is `TN_PANIC` another group may begin.

 Of scope model: `create`, any number of `accepts`, `model_estimate` and `model_run`, `destroy`. A status other than
 `TN_OK` drops what was emitted.
 */
typedef struct tn_technique {
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   `TN_SCOPE_GROUP` or `TN_SCOPE_MODEL`.
   */
  uint32_t scope;
  /*
   `TN_NEEDS_HESSIAN` and so on.
   */
  uint64_t caps;
  /*
   The name by which recipes call it.
   */
  struct tn_str id;
  /*
   The version, which enters the key of cached results.
   */
  struct tn_str version;
  /*
   The JSON Schema (2020-12, self-contained, `additionalProperties: false`) of the options.
   */
  struct tn_str config_schema;
  /*
   The number of kinds.
   */
  uint32_t n_kinds;
  /*
   0.
   */
  uint32_t reserved;
  /*
   The representation kinds of its own, which `decode` reads; none of the host's.
   */
  const struct tn_str *kinds;
  /*
   Makes a job of options that satisfy the schema.
   */
  int32_t (*create)(const struct tn_host *host, struct tn_str config_json, void **job, struct tn_err *err);
  /*
   Whether it takes weights of this descriptor; asked when a recipe is checked. NULL = every descriptor.
   */
  int32_t (*accepts)(void *job, struct tn_str descriptor, struct tn_err *err);
  /*
   Peak bytes of RAM that the group will take beside inputs and outputs. Shapes and descriptors are set, `data` is
   NULL. NULL, or `TN_UNSUPPORTED` = unknown.
   */
  int32_t (*estimate)(void *job, const struct tn_group *group, uint64_t *ram_bytes, struct tn_err *err);
  /*
   Begins a group.
   */
  int32_t (*group_begin)(void *job, const struct tn_group *group, struct tn_err *err);
  /*
   Takes a tile of the group's input, f32 `[rows, in]`.
   */
  int32_t (*group_tile)(void *job, const struct tn_tensor *rows, struct tn_err *err);
  /*
   Emits every member of the group, which is passed again.
   */
  int32_t (*group_finish)(void *job, const struct tn_group *group, struct tn_err *err);
  /*
   Model scope: does the whole work.
   */
  int32_t (*model_run)(void *job, const struct tn_model *model, struct tn_err *err);
  /*
   Model scope: as `estimate`, for a `model_run` with this model. Nothing may be emitted.
   */
  int32_t (*model_estimate)(void *job, const struct tn_model *model, uint64_t *ram_bytes, struct tn_err *err);
  /*
   Frees the job.
   */
  void (*destroy)(void *job);
  /*
   Decodes `n_rows` rows from `row` on of a weight of one of `kinds` to f32 `[n_rows, in]`; `out` is
   initialised memory. No job, any thread, a pure function.
   */
  int32_t (*decode)(const struct tn_weight *weight,
                    uint64_t row,
                    uint64_t n_rows,
                    float *out,
                    struct tn_err *err);
  /*
   An optional interface by name; NULL = unsupported.
   */
  const void *(*ext)(struct tn_str id);
  /*
   Model scope: which of `TN_STATISTIC_*` a `model_run` with these options makes use of; the host measures them on the
   calibration text, and `tn_model.statistics` has them. NULL = none. Since 1.1.
   */
  int32_t (*model_statistics)(void *job, uint64_t *wanted, struct tn_err *err);
} tn_technique;

/*
 What the exported symbol returns; it lives as long as the library.
 */
typedef struct tn_plugin {
  /*
   `TN_MAGIC`.
   */
  uint64_t magic;
  /*
   Bytes of this struct.
   */
  uint32_t struct_size;
  /*
   `TN_ABI_MAJOR`.
   */
  uint32_t abi_major;
  /*
   The minor version that the plugin was built for.
   */
  uint32_t abi_minor;
  /*
   The least minor version of a host that it works with.
   */
  uint32_t min_host_minor;
  /*
   The number of techniques.
   */
  uint64_t n_techniques;
  /*
   The techniques.
   */
  const struct tn_technique *const *techniques;
} tn_plugin;

/*
 The type of the exported symbol. NULL = does not work with this host.
 */
typedef const struct tn_plugin *(*tn_plugin_entry)(uint32_t host_minor);

#endif  /* TENUIS_PLUGIN_H */

#ifdef __cplusplus
extern "C"
#endif
/* The symbol that a plugin exports. NULL = does not work with a host of this minor version. */
TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t host_minor);
