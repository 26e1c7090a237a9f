/* A whole plugin in C: "binary" keeps the signs of a weight and the mean magnitude of every row, one bit a weight
 * (the weights of Rastegari et al. 2016, XNOR-Net, arXiv 1603.05279). Its representation is its own, hence `decode`.
 *
 *   cc -std=c11 -O2 -fPIC -shared -I crates/tenuis-abi/include -o libexample_binary.so plugins/example-c/binary.c -lm
 */
#include "tenuis_plugin.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(s) {(s), sizeof(s) - 1}
static const tn_str SIGNS = TEXT("weight_sign"), SCALE = TEXT("weight_scale"), KIND = TEXT("example_binary"),
                    DESCRIPTOR = TEXT("{\"kind\":\"example_binary\"}");
static const tn_dtype U8 = {TN_DTYPE_UINT, 8, 1}, F32 = {TN_DTYPE_FLOAT, 32, 1};

static int32_t fail(tn_err *err, int32_t status, const char *message) {
  err->len = (uint32_t)strlen(message);
  memcpy(err->msg, message, err->len);
  return status;
}

/* The job needs nothing but the host. */
static int32_t create(const tn_host *host, tn_str config, void **job, tn_err *err) {
  (void)config;
  if (!TN_HAS(host, tn_host, emit)) return fail(err, TN_UNSUPPORTED, "the host is too old");
  const tn_host **kept = malloc(sizeof *kept);
  if (!kept) return fail(err, TN_OOM, "no memory");
  *kept = host;
  *job = kept;
  return TN_OK;
}

static int32_t begin(void *job, const tn_group *group, tn_err *err) { (void)job, (void)group, (void)err; return TN_OK; }

static int32_t compress(const tn_host *host, const tn_linear *linear, tn_err *err) {
  const int64_t rows = (int64_t)linear->weight->out_features, columns = (int64_t)linear->weight->in_features;
  const int64_t sign_shape[2] = {rows, (columns + 7) / 8};
  const float *w = linear->weight->dense->data;
  void *signs, *scales;
  int32_t status = host->out_alloc(host->ctx, linear->name, SIGNS, U8, 2, sign_shape, &signs, NULL, err);
  if (!status) status = host->out_alloc(host->ctx, linear->name, SCALE, F32, 1, &rows, &scales, NULL, err);
  if (status) return status;
  memset(signs, 0, (size_t)(rows * sign_shape[1]));
  for (int64_t r = 0; r < rows; r++, w += columns) {
    double sum = 0;
    for (int64_t c = 0; c < columns; c++) {
      sum += fabsf(w[c]);
      ((uint8_t *)signs)[r * sign_shape[1] + c / 8] |= (uint8_t)((w[c] < 0) << c % 8);
    }
    ((float *)scales)[r] = columns ? (float)(sum / (double)columns) : 0;
  }
  const tn_str components[2] = {SIGNS, SCALE};
  return host->emit(host->ctx, linear->name, DESCRIPTOR, 2, components, err);
}

static int32_t finish(void *job, const tn_group *group, tn_err *err) {
  const tn_host *host = *(const tn_host **)job;
  int32_t status = TN_OK;
  for (uint32_t i = 0; i < group->n_linears && !status; i++)
    status = host->cancelled(host->ctx) ? TN_CANCELLED : compress(host, group->linears[i], err);
  return status;
}

static const tn_tensor *component(const tn_weight *w, tn_str name, tn_dtype type, uint64_t bytes) {
  for (uint32_t i = 0; i < w->n_components; i++) {
    const tn_tensor *t = w->components[i];
    if (t->name.len == name.len && !memcmp(t->name.ptr, name.ptr, name.len) && !memcmp(&t->dtype, &type, sizeof type) && t->byte_len == bytes) return t;
  }
  return NULL;
}

static int32_t decode(const tn_weight *w, uint64_t row, uint64_t n_rows, float *out, tn_err *err) {
  const uint64_t columns = w->in_features, stride = (columns + 7) / 8;
  const tn_tensor *signs = component(w, SIGNS, U8, w->out_features * stride), *scales = component(w, SCALE, F32, w->out_features * 4);
  if (!signs || !scales) return fail(err, TN_INVALID, "needs weight_sign u8 [out, ceil(in/8)] and weight_scale f32 [out]");
  for (uint64_t r = row; r < row + n_rows; r++) {
    float scale;
    memcpy(&scale, (const char *)scales->data + 4 * r, 4); /* data in files need not be aligned */
    for (uint64_t c = 0; c < columns; c++)
      *out++ = ((const uint8_t *)signs->data)[r * stride + c / 8] >> c % 8 & 1 ? -scale : scale;
  }
  return TN_OK;
}

static const tn_technique BINARY = {
    .struct_size = sizeof(tn_technique), .scope = TN_SCOPE_GROUP, .caps = TN_NEEDS_DENSE | TN_DETERMINISTIC | TN_PARALLEL_JOBS,
    .id = TEXT("example_binary"), .version = TEXT("0.1.0"), .n_kinds = 1, .kinds = &KIND,
    .config_schema = TEXT("{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}"),
    .create = create, .group_begin = begin, .group_finish = finish, .destroy = free, .decode = decode};
static const tn_technique *const TECHNIQUES[] = {&BINARY};
static const tn_plugin PLUGIN = {TN_MAGIC, sizeof(tn_plugin), TN_ABI_MAJOR, TN_ABI_MINOR, 0, 1, TECHNIQUES};

TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t host_minor) { (void)host_minor; return &PLUGIN; }
