/* A whole plugin in C: the signs of a weight and the mean magnitude of every row (Rastegari et al. 2016, XNOR-Net,
 * arXiv 1603.05279), in a representation of its own: per row an f32, then one bit a weight. To compile it:
 *   cc -std=c11 -O2 -fPIC -shared -I crates/tenuis-abi/include -o libexample_binary.so plugins/example-c/binary.c -lm */
#include "tenuis_plugin.h"
#include <math.h>
#include <string.h>

#define TEXT(s) {(s), sizeof(s) - 1}
static const tn_str ROWS = TEXT("weight_rows"), KIND = TEXT("example_binary"), FORM = TEXT("{\"kind\":\"example_binary\"}");
static const tn_dtype U8 = {TN_DTYPE_UINT, 8, 1};

/* The job has no options: it is the host itself. */
static int32_t create(const tn_host *host, tn_str config, void **job, tn_err *err) {
  (void)config, (void)err;
  *job = (void *)host;
  return TN_OK;
}
static void destroy(void *job) { (void)job; }
static int32_t begin(void *job, const tn_group *group, tn_err *err) { (void)job, (void)group, (void)err; return TN_OK; }

static int32_t finish(void *job, const tn_group *group, tn_err *err) {
  const tn_host *host = job;
  int32_t status = TN_OK;
  for (uint32_t i = 0; i < group->n_linears && !status; i++) {
    const tn_linear *linear = group->linears[i];
    const uint64_t rows = linear->weight->out_features, columns = linear->weight->in_features, stride = 4 + (columns + 7) / 8;
    const int64_t shape[2] = {(int64_t)rows, (int64_t)stride};
    const float *w = linear->weight->dense->data;
    void *data;
    if (host->cancelled(host->ctx)) return TN_CANCELLED;
    if ((status = host->out_alloc(host->ctx, linear->name, ROWS, U8, 2, shape, &data, NULL, err))) return status;
    memset(data, 0, rows * stride);
    for (uint64_t r = 0; r < rows; r++, w += columns) {
      uint8_t *row = (uint8_t *)data + r * stride;
      float sum = 0;
      for (uint64_t c = 0; c < columns; sum += fabsf(w[c++])) row[4 + c / 8] |= (uint8_t)((w[c] < 0) << c % 8);
      memcpy(row, &(float){columns ? sum / (float)columns : 0}, 4);
    }
    status = host->emit(host->ctx, linear->name, FORM, 1, &ROWS, err);
  }
  return status;
}

static int32_t decode(const tn_weight *w, uint64_t first, uint64_t n, float *out, tn_err *err) {
  static const char MESSAGE[] = "needs one component, weight_rows u8 [out, 4 + ceil(in/8)]";
  const uint64_t stride = 4 + (w->in_features + 7) / 8;
  const tn_tensor *t = w->n_components == 1 ? w->components[0] : NULL;
  if (!t || memcmp(&t->dtype, &U8, sizeof U8) || t->byte_len != w->out_features * stride) {
    memcpy(err->msg, MESSAGE, err->len = sizeof MESSAGE - 1);
    return TN_INVALID;
  }
  for (const uint8_t *row = (const uint8_t *)t->data + first * stride; n--; row += stride) {
    float mean;
    memcpy(&mean, row, 4); /* what lies in a file need not be aligned */
    for (uint64_t c = 0; c < w->in_features; c++) *out++ = row[4 + c / 8] >> c % 8 & 1 ? -mean : mean;
  }
  return TN_OK;
}

static const tn_technique BINARY = {
    .struct_size = sizeof(tn_technique), .scope = TN_SCOPE_GROUP, .caps = TN_NEEDS_DENSE | TN_DETERMINISTIC | TN_PARALLEL_JOBS,
    .id = TEXT("example_binary"), .version = TEXT("0.1.0"), .n_kinds = 1, .kinds = &KIND,
    .config_schema = TEXT("{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}"),
    .create = create, .group_begin = begin, .group_finish = finish, .destroy = destroy, .decode = decode};
static const tn_technique *const TECHNIQUES[] = {&BINARY};
static const tn_plugin PLUGIN = {TN_MAGIC, sizeof(tn_plugin), TN_ABI_MAJOR, TN_ABI_MINOR, 0, 1, TECHNIQUES};

TN_EXPORT const tn_plugin *tenuis_plugin_v1(uint32_t host_minor) { (void)host_minor; return &PLUGIN; }
