/* SPDX-License-Identifier: Apache-2.0
 * make.c - made-up tensors from a counter-based generator (splitmix64), so that a tensor depends on
 * the seed and its own name only, not on what else a model has. */
#include "frontends/compiler/make.h"

#include <math.h>
#include <string.h>

typedef struct stream {
    uint64_t state;
} stream;

static uint64_t next_bits(stream *s)
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static stream stream_for(uint64_t seed, const char *name)
{
    stream s = {seed};
    for (const char *c = name; *c != '\0'; c++) {
        s.state = (s.state ^ (unsigned char)*c) * 0x100000001b3u;
    }
    next_bits(&s);
    return s;
}

static double next_unit(stream *s) { return ((double)(next_bits(s) >> 11) + 0.5) * 0x1p-53; }

/* Box-Muller; the second value is dropped, which keeps the stream simple. */
static double next_normal(stream *s)
{
    double r = sqrt(-2.0 * log(next_unit(s)));
    return r * cos(6.283185307179586 * next_unit(s));
}

/* What the values of an integer tensor stand for, found by following it to its readers. */
typedef struct meaning {
    int64_t low, high;
} meaning; /* low .. high-1 */

static void narrow(lap_sizes *sizes, lap_dim extent, int64_t low, int64_t past, meaning *m)
{
    int64_t n;
    if (lap_dim_eval(sizes->ctx, extent, lap_sizes_value, sizes, &n) && n > 0) {
        bool is_first = m->high == INT64_MAX;
        m->high = is_first || n + past < m->high ? n + past : m->high;
        m->low = low > m->low ? low : m->low;
    }
}

static void narrow_by_reader(lap_graph *g, lap_sizes *sizes, const lap_node *n, const bool *follows,
                             meaning *m)
{
    if (n->op == LAP_OP_AT) {
        lap_names src = lap_attr_names(n, LAP_ATTR_SRC);
        for (uint32_t i = 0; i < src.n && i + 1 < n->n_args; i++) {
            if (follows[n->args[i + 1].ix]) {
                narrow(sizes, lap_node_axis(lap_node_at(g, n->args[0]), src.at[i])->size, 0, 0, m);
            }
        }
    }
    if (n->op == LAP_OP_SCATTER) {
        const lap_attr *extents = lap_node_attr(n, LAP_ATTR_SIZES);
        for (uint32_t i = 0; i < extents->dims.n && i + 1 < n->n_args; i++) {
            if (follows[n->args[i + 1].ix]) {
                narrow(sizes, extents->dims.at[i], 0, 0, m);
            }
        }
    }
    for (uint32_t i = 0; i < n->n_axes; i++) {
        if (lap_ref_some(n->axes[i].count) && follows[n->axes[i].count.ix]) {
            narrow(sizes, n->axes[i].size, 1, 1, m);
        }
    }
}

static meaning meaning_of(lap_graph *g, lap_sizes *sizes, lap_ref leaf)
{
    uint32_t n_nodes = lap_graph_n_nodes(g);
    bool *follows = lap_arena_array(sizes->ctx->arena, n_nodes + 1, sizeof *follows);
    meaning m = {0, INT64_MAX};
    follows[leaf.ix] = true;
    for (uint32_t i = leaf.ix + 1; i <= n_nodes; i++) {
        const lap_node *n = lap_node_at(g, (lap_ref){i});
        narrow_by_reader(g, sizes, n, follows, &m);
        bool is_view = n->op == LAP_OP_RENAME || n->op == LAP_OP_AT;
        follows[i] = is_view && n->n_args > 0 && follows[n->args[0].ix];
    }
    return m.high == INT64_MAX ? (meaning){0, 2} : m;
}

typedef enum style { NORMAL, SCALE, BIAS, VARIANCE, MATRIX } style;

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), k = strlen(suffix);
    return n >= k && strcmp(name + n - k, suffix) == 0;
}

static style weight_style(const lap_spec *spec, uint32_t rank)
{
    if (has_suffix(spec->name, "running_var")) {
        return VARIANCE;
    }
    if (rank >= 2) {
        return MATRIX;
    }
    return has_suffix(spec->name, "weight") || has_suffix(spec->name, "gamma") ? SCALE : BIAS;
}

static double sample(stream *s, style how, double deviation)
{
    switch (how) {
    case NORMAL:
        return next_normal(s);
    case SCALE:
        return 1.0 + 0.1 * next_normal(s);
    case BIAS:
        return 0.1 * next_normal(s);
    case VARIANCE:
        return 0.5 + next_unit(s);
    case MATRIX:
        return deviation * next_normal(s);
    }
    return 0.0;
}

/* A tensor of the spec, without values. */
static bool allocate(lap_sizes *sizes, const lap_spec *spec, lap_tensor *out, size_t *out_count,
                     lap_fault *fault)
{
    int64_t shape[LAP_MAX_RANK];
    if (spec->rank > LAP_MAX_RANK || !lap_sizes_shape(sizes, spec, shape)) {
        return lap_fault_set(fault, LAP_BAD_INPUT,
                             "the shape %s of '%s' is not known\nhint: give sizes with --dim NAME=N",
                             lap_spec_show(sizes->ctx, spec), spec->name);
    }
    lap_fault why = {0};
    if (!lap_tensor_make(sizes->ctx, spec->dtype, spec->rank, shape, out, &why) ||
        !lap_tensor_count(out, out_count)) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "'%s' cannot be made up: %s", spec->name, why.text);
    }
    return true;
}

static bool make(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, uint64_t seed, style how,
                 uint32_t first_axis, lap_tensor *out, lap_fault *fault)
{
    size_t count;
    if (!allocate(sizes, spec, out, &count, fault)) {
        return false;
    }
    stream s = stream_for(seed, spec->name);
    lap_dtype compute = lap_dtype_compute(spec->dtype);
    if (compute == LAP_F32) {
        double fan_in = 1.0;
        for (uint32_t i = first_axis + 1; i < spec->rank; i++) {
            fan_in *= (double)out->shape[i];
        }
        double deviation = 1.0 / sqrt(fan_in > 1.0 ? fan_in : 1.0);
        for (size_t i = 0; i < count; i++) {
            lap_tensor_set(out, i, sample(&s, how, deviation));
        }
        return true;
    }
    meaning m = compute == LAP_BOOL ? (meaning){1, 2} : meaning_of(g, sizes, spec->ref);
    uint64_t range = m.high > m.low ? (uint64_t)(m.high - m.low) : 1;
    for (size_t i = 0; i < count; i++) {
        lap_tensor_set_int(out, i, m.low + (int64_t)(next_bits(&s) % range));
    }
    return true;
}

bool lap_make_input(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, uint64_t seed, lap_tensor *out,
                    lap_fault *fault)
{
    return make(g, sizes, spec, seed, NORMAL, 0, out, fault);
}

/* The coordinates of an element, one per axis of the layout. */
enum { MAX_AXES = 64 };
typedef struct place {
    lap_sizes *sizes;
    uint32_t n;
    lap_name axes[MAX_AXES];
    int64_t extent[MAX_AXES], at[MAX_AXES];
} place;

static bool place_value(void *user, lap_name name, int64_t *out)
{
    const place *p = user;
    for (uint32_t i = 0; i < p->n; i++) {
        if (lap_name_same(p->axes[i], name)) {
            *out = p->at[i];
            return true;
        }
    }
    return lap_sizes_value(p->sizes, name, out);
}

static bool read_axes(const lap_node *leaf, place *p)
{
    const lap_layout *layout = &lap_node_attr(leaf, LAP_ATTR_LAYOUT)->layout;
    for (uint32_t i = 0; i < layout->n; i++) {
        for (uint32_t k = 0; k < layout->groups[i].n; k++, p->n++) {
            if (p->n == MAX_AXES) {
                return false;
            }
            p->axes[p->n] = layout->groups[i].at[k];
            lap_dim size = lap_node_axis(leaf, p->axes[p->n])->size;
            if (!lap_dim_eval(p->sizes->ctx, size, lap_sizes_value, p->sizes, &p->extent[p->n])) {
                return false;
            }
        }
    }
    return true;
}

bool lap_make_by_place(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, lap_dim value, lap_tensor *out,
                       lap_fault *fault)
{
    place p = {.sizes = sizes};
    size_t count;
    if (!allocate(sizes, spec, out, &count, fault)) {
        return false;
    }
    bool known = read_axes(lap_node_at(g, spec->ref), &p);
    for (size_t i = 0; i < count && known; i++) {
        int64_t v = 0;
        known = lap_dim_eval(sizes->ctx, value, place_value, &p, &v);
        if (lap_dtype_compute(spec->dtype) == LAP_F32) {
            lap_tensor_set(out, i, (double)v);
        } else {
            lap_tensor_set_int(out, i, v);
        }
        for (uint32_t k = p.n; k > 0 && ++p.at[k - 1] == p.extent[k - 1]; k--) { /* last axis fastest */
            p.at[k - 1] = 0;
        }
    }
    if (!known) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "'%s' cannot be made up: %s has no value", spec->name,
                             lap_dim_show(sizes->ctx, value));
    }
    return true;
}

bool lap_make_weight(lap_graph *g, lap_sizes *sizes, const lap_spec *spec, uint64_t seed, lap_tensor *out,
                     lap_fault *fault)
{
    uint32_t family = strstr(spec->name, "{k}") != NULL ? 1 : 0;
    uint32_t rank = spec->rank - (spec->rank > 0 ? family : 0);
    return make(g, sizes, spec, seed, weight_style(spec, rank), family, out, fault);
}
