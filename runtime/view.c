/* SPDX-License-Identifier: Apache-2.0
 * view.c - the types a file may hold, sizes of shapes, and conversion between the two.
 *
 * Conversion goes in blocks through double or 64-bit integers, so that n storage types and m
 * element types need n + m loops. */
#include "runtime/view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum storage_kind { KIND_FLOAT, KIND_INT, KIND_UINT } storage_kind;

typedef struct storage_row {
    const char *name, *npy;
    unsigned bits;
    storage_kind kind;
    lap_dtype nearest;
} storage_row;

static const storage_row rows[LAP_N_STORAGES] = {
#define LAP_STORAGE(enum_, file_name, npy, bits, kind, nearest)                                              \
    {file_name, npy, bits, KIND_##kind, LAP_##nearest},
#include "runtime/storages.def"
#undef LAP_STORAGE
};

const char *lap_storage_name(lap_storage s) { return rows[s].name; }

const char *lap_storage_npy(lap_storage s) { return rows[s].npy; }

unsigned lap_storage_bits(lap_storage s) { return rows[s].bits; }

lap_dtype lap_storage_nearest(lap_storage s) { return rows[s].nearest; }

bool lap_storage_find(const char *name, size_t n, lap_storage *out)
{
    for (int s = 0; s < LAP_N_STORAGES; s++) {
        if (strlen(rows[s].name) == n && memcmp(rows[s].name, name, n) == 0) {
            *out = (lap_storage)s;
            return true;
        }
    }
    return false;
}

lap_storage lap_storage_of(lap_dtype dtype)
{
    lap_storage s = LAP_ST_F32;
    const char *name = lap_dtype_tensor_name(dtype);
    lap_storage_find(name, strlen(name), &s);
    return s;
}

bool lap_shape_count(uint32_t rank, const int64_t *shape, size_t *out)
{
    if (rank > LAP_MAX_RANK) {
        return false;
    }
    size_t product = 1;
    bool empty = false;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return false;
        }
        empty |= shape[i] == 0;
        size_t extent = shape[i] == 0 ? 1 : (size_t)shape[i];
        if (__builtin_mul_overflow(product, extent, &product) || product > (size_t)PTRDIFF_MAX) {
            return false;
        }
    }
    *out = empty ? 0 : product;
    return true;
}

bool lap_storage_bytes(lap_storage s, size_t n, size_t *out)
{
    unsigned bits = rows[s].bits;
    if (bits < 8) {
        size_t per_byte = 8 / bits;
        *out = n / per_byte + (n % per_byte != 0);
        return true;
    }
    return !__builtin_mul_overflow(n, (size_t)(bits / 8), out);
}

lap_tensor_view lap_view_of(const lap_tensor *t)
{
    lap_tensor_view v = {
        .storage = lap_storage_of(t->dtype), .rank = t->rank, .data = t->data, .n_bytes = t->n_bytes};
    memcpy(v.shape, t->shape, sizeof v.shape);
    return v;
}

bool lap_view_as(const lap_tensor_view *v, lap_dtype dtype, lap_tensor *out)
{
    size_t align = rows[v->storage].bits / 8;
    if (lap_storage_of(dtype) != v->storage || (align > 1 && (uintptr_t)v->data % align != 0)) {
        return false;
    }
    *out = (lap_tensor){.dtype = dtype, .rank = v->rank, .n_bytes = v->n_bytes};
    memcpy(out->shape, v->shape, sizeof out->shape);
    /* The tensor type has no read-only form; the header says not to write. */
    memcpy(&out->data, &v->data, sizeof out->data);
    return true;
}

void *lap_memory_new(size_t n_bytes)
{
    if (n_bytes > (size_t)PTRDIFF_MAX - 64) {
        return NULL;
    }
    size_t rounded = (n_bytes + 63) / 64 * 64;
    return aligned_alloc(64, rounded ? rounded : 64);
}

void lap_memory_free(void *memory) { free(memory); }

/* ---- conversion ---------------------------------------------------------------------------- */

enum { BLOCK = 512 }; /* even: blocks of 4-bit elements start on a byte */
typedef union block {
    double f[BLOCK];
    int64_t i[BLOCK];
} block;

#define EACH(type, expression)                                                                               \
    for (size_t j = 0; j < n; j++) {                                                                         \
        type x;                                                                                              \
        memcpy(&x, from + j * sizeof x, sizeof x);                                                           \
        expression;                                                                                          \
    }

/* Elements of a block as doubles (FLOAT kinds) or as integers; false: a u64 that does not fit. */
static bool load(lap_storage s, const unsigned char *from, size_t n, block *b)
{
    uint64_t high = 0;
    switch (s) {
    case LAP_ST_F64:
        EACH(double, b->f[j] = x)
        break;
    case LAP_ST_F32:
        EACH(float, b->f[j] = x)
        break;
    case LAP_ST_F16:
        EACH(uint16_t, b->f[j] = lap_f32_from_f16(x))
        break;
    case LAP_ST_BF16:
        EACH(uint16_t, b->f[j] = lap_f32_from_bf16(x))
        break;
    case LAP_ST_I64:
        EACH(int64_t, b->i[j] = x)
        break;
    case LAP_ST_I32:
        EACH(int32_t, b->i[j] = x)
        break;
    case LAP_ST_I16:
        EACH(int16_t, b->i[j] = x)
        break;
    case LAP_ST_I8:
        EACH(int8_t, b->i[j] = x)
        break;
    case LAP_ST_U64:
        EACH(uint64_t, (high |= x, b->i[j] = (int64_t)x))
        break;
    case LAP_ST_U32:
        EACH(uint32_t, b->i[j] = x)
        break;
    case LAP_ST_U16:
        EACH(uint16_t, b->i[j] = x)
        break;
    case LAP_ST_U8:
        EACH(uint8_t, b->i[j] = x)
        break;
    case LAP_ST_BOOL:
        EACH(uint8_t, b->i[j] = x != 0)
        break;
    case LAP_ST_I4:
        for (size_t j = 0; j < n; j++) {
            int nibble = from[j / 2] >> (j % 2 * 4) & 0xf;
            b->i[j] = nibble >= 8 ? nibble - 16 : nibble;
        }
        break;
    case LAP_N_STORAGES:
        break;
    }
    return high <= INT64_MAX;
}

/* Makes integers of doubles; the number of the first one that is not whole or too large, or n. */
static size_t make_whole(block *b, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double x = b->f[j];
        if (!(x >= -0x1p63 && x < 0x1p63) || x != trunc(x)) {
            return j;
        }
        b->i[j] = (int64_t)x;
    }
    return n;
}

static void make_real(block *b, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        b->f[j] = (double)b->i[j];
    }
}

static size_t first_outside(const block *b, size_t n, unsigned bits)
{
    int64_t high = bits >= 64 ? INT64_MAX : (INT64_C(1) << (bits - 1)) - 1;
    for (size_t j = 0; j < n; j++) {
        if (b->i[j] > high || b->i[j] < -high - 1) {
            return j;
        }
    }
    return n;
}

static void store(lap_tensor *to, size_t begin, const block *b, size_t n)
{
    float *singles = to->data;
    switch (to->dtype) {
    case LAP_F32:
        for (size_t j = 0; j < n; j++) {
            singles[begin + j] = (float)b->f[j];
        }
        return;
    case LAP_F16:
    case LAP_BF16:
        for (size_t j = 0; j < n; j++) {
            lap_tensor_set(to, begin + j, b->f[j]);
        }
        return;
    default:
        for (size_t j = 0; j < n; j++) {
            lap_tensor_set_int(to, begin + j, b->i[j]);
        }
    }
}

typedef enum target { TO_REAL, TO_WHOLE, TO_BOOL } target;

static target target_of(lap_dtype dtype)
{
    if (dtype == LAP_BOOL) {
        return TO_BOOL;
    }
    return lap_dtype_compute(dtype) == LAP_F32 ? TO_REAL : TO_WHOLE;
}

static void make_truth(block *b, size_t n, bool real)
{
    for (size_t j = 0; j < n; j++) {
        b->i[j] = real ? b->f[j] != 0 : b->i[j] != 0;
    }
}

/* Brings a loaded block to what `store` wants; the number of the first element that does not fit. */
static size_t shape_block(block *b, size_t n, bool real, lap_dtype dtype)
{
    target want = target_of(dtype);
    if (want == TO_BOOL) {
        make_truth(b, n, real);
        return n;
    }
    if (want == TO_REAL) {
        if (!real) {
            make_real(b, n);
        }
        return n;
    }
    size_t bad = real ? make_whole(b, n) : n;
    return bad < n ? bad : first_outside(b, n, lap_dtype_bits(dtype));
}

bool lap_tensor_convert_into(const lap_tensor_view *v, const char *name, lap_tensor *out, lap_fault *fault)
{
    size_t n, need;
    if (!lap_shape_count(v->rank, v->shape, &n) || !lap_storage_bytes(v->storage, n, &need) ||
        need > v->n_bytes || !lap_dtype_bytes(out->dtype, n, &need) || need > out->n_bytes) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "tensor '%s' is larger than its memory", name);
    }
    if (lap_storage_of(out->dtype) == v->storage && v->storage != LAP_ST_BOOL) {
        if (need > 0) {
            memcpy(out->data, v->data, need);
        }
        return true;
    }
    bool real = rows[v->storage].kind == KIND_FLOAT;
    unsigned bits = rows[v->storage].bits;
    block b;
    for (size_t begin = 0; begin < n; begin += BLOCK) {
        size_t m = n - begin < BLOCK ? n - begin : BLOCK;
        if (!load(v->storage, (const unsigned char *)v->data + begin / 8 * bits, m, &b)) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "tensor '%s' has elements above the range of i64",
                                 name);
        }
        size_t bad = shape_block(&b, m, real, out->dtype);
        if (bad < m) {
            return lap_fault_set(fault, LAP_BAD_INPUT, "element %zu of tensor '%s' (%s) does not fit %s",
                                 begin + bad, name, rows[v->storage].name, lap_dtype_text(out->dtype));
        }
        store(out, begin, &b, m);
    }
    return true;
}

bool lap_tensor_convert(const lap_tensor_view *v, lap_dtype dtype, const char *name, lap_tensor *out,
                        lap_fault *fault)
{
    *out = (lap_tensor){.dtype = dtype, .rank = v->rank};
    memcpy(out->shape, v->shape, sizeof out->shape);
    size_t n;
    if (!lap_shape_count(v->rank, v->shape, &n) || !lap_dtype_bytes(dtype, n, &out->n_bytes)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "tensor '%s' is too large", name);
    }
    out->data = lap_memory_new(out->n_bytes);
    if (!out->data) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "out of memory: tensor '%s' needs %zu bytes", name,
                             out->n_bytes);
    }
    if (!lap_tensor_convert_into(v, name, out, fault)) {
        lap_memory_free(out->data);
        out->data = NULL;
        return false;
    }
    return true;
}
