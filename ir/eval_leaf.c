/* SPDX-License-Identifier: Apache-2.0
 * eval_leaf.c - values without operands: tensors, numbers, extents, coordinates. */
#include <string.h>

#include "ir/eval_state.h"

static double round_double(lap_dtype type, double x)
{
    return type == LAP_F16 ? lap_eval_round_f16(x) : type == LAP_BF16 ? lap_eval_round_bf16(x) : x;
}

/* Elements of a tensor into out[first ...], rounded to the declared storage type. */
static void copy_tensor(const lap_tensor *t, size_t n, lap_dtype type, const lap_view *out, size_t first)
{
    for (size_t i = 0; i < n; i++) {
        if (out->kind == LAP_F32) {
            ((double *)out->buffer->data)[first + i] = round_double(type, lap_tensor_get(t, i));
        } else if (out->kind == LAP_I64) {
            ((int64_t *)out->buffer->data)[first + i] = lap_eval_saturate(type, lap_tensor_get_int(t, i));
        } else {
            ((uint8_t *)out->buffer->data)[first + i] = lap_tensor_get_int(t, i) != 0;
        }
    }
}

/* Whether a tensor of this type can stand for a declared one without losing more than digits. */
static bool converts(lap_dtype have, lap_dtype want)
{
    return lap_dtype_compute(want) == LAP_F32 || lap_dtype_compute(have) != LAP_F32;
}

static bool read_tensor(lap_eval_run *run, const lap_node *leaf, const lap_tensor *t, const lap_view *out,
                        size_t first, size_t room)
{
    const char *name = lap_text(run->ctx, lap_attr_name(leaf, LAP_ATTR_NAME));
    size_t n;
    if (!lap_tensor_count(t, &n) || n > room || (n > 0 && !t->data)) {
        return lap_error(run->ctx, leaf->loc, "%s does not have the elements of its shape", name);
    }
    if (!converts(t->dtype, leaf->dtype)) {
        return lap_error(run->ctx, leaf->loc, "%s is %s, expected %s", name, lap_dtype_text(t->dtype),
                         lap_dtype_text(leaf->dtype));
    }
    copy_tensor(t, n, leaf->dtype, out, first);
    return true;
}

static bool read_family(lap_eval_run *run, const lap_node *leaf, const lap_view *out)
{
    size_t members = 0, first = 0;
    while (lap_eval_member(run, leaf, (int64_t)members)) {
        members++;
    }
    for (size_t k = 0; k < members; k++) {
        if (!read_tensor(run, leaf, lap_eval_member(run, leaf, (int64_t)k), out, first,
                         out->buffer->n - first)) {
            return false;
        }
        first += out->buffer->n / members;
    }
    return true;
}

/* An optional input that was left out: its elements are an error where they are used. */
static bool leave_out(lap_eval_run *run, const lap_node *leaf, const lap_view *out)
{
    if (!lap_eval_add_poison(run, out->buffer, leaf->loc)) {
        return false;
    }
    const char *text = lap_arena_printf(run->ctx->arena, "the input '%s' was left out",
                                        lap_text(run->ctx, lap_attr_name(leaf, LAP_ATTR_NAME)));
    memset(out->buffer->poison, lap_eval_origin_of(run, leaf->loc, text), out->buffer->n);
    return true;
}

/* The tensor's elements stand in the order of the layout, the view's strides follow from it. */
static bool tensor_leaf(lap_eval_run *run, lap_ref ref, const lap_node *leaf)
{
    const lap_attr *layout = lap_node_attr(leaf, LAP_ATTR_LAYOUT);
    lap_name names[LAP_EVAL_AXES];
    int64_t sizes[LAP_EVAL_AXES];
    uint32_t n = 0;
    for (uint32_t i = 0; layout && i < layout->layout.n; i++) {
        for (uint32_t k = 0; k < layout->layout.groups[i].n; k++) {
            if (n == LAP_EVAL_AXES) {
                return lap_error(run->ctx, leaf->loc, "the reference evaluator takes at most %d axes",
                                 LAP_EVAL_AXES);
            }
            names[n] = layout->layout.groups[i].at[k];
            if (!lap_eval_size(run, lap_node_axis(leaf, names[n])->size, leaf->loc, &sizes[n])) {
                return false;
            }
            n++;
        }
    }
    lap_view raw, out;
    if (!lap_view_new(run, lap_dtype_compute(leaf->dtype), n, names, sizes, leaf->loc, &raw)) {
        return false;
    }
    const lap_tensor *t = lap_eval_tensor(run, leaf);
    bool ok = t                                        ? read_tensor(run, leaf, t, &raw, 0, raw.buffer->n)
              : lap_attr_i(leaf, LAP_ATTR_OPTIONAL, 0) ? leave_out(run, leaf, &raw)
                                                       : read_family(run, leaf, &raw);
    ok = ok && lap_view_align(run, &raw, leaf, &out) && lap_eval_give(run, ref, &out);
    lap_view_drop(run, &raw);
    return ok;
}

static void set_first(const lap_view *view, double f, int64_t i)
{
    if (view->kind == LAP_F32) {
        ((double *)view->buffer->data)[0] = f;
    } else if (view->kind == LAP_I64) {
        ((int64_t *)view->buffer->data)[0] = i;
    } else {
        ((uint8_t *)view->buffer->data)[0] = i != 0;
    }
}

/* One number over the node's axes, without storing it more than once. */
static bool number_leaf(lap_eval_run *run, lap_ref ref, const lap_node *node, double f, int64_t i)
{
    lap_view one, out;
    if (!lap_view_new(run, lap_dtype_compute(node->dtype), 0, NULL, NULL, node->loc, &one)) {
        return false;
    }
    set_first(&one, f, i);
    bool ok = lap_view_align(run, &one, node, &out) && lap_eval_give(run, ref, &out);
    lap_view_drop(run, &one);
    return ok;
}

static bool index_leaf(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    lap_view out;
    if (!lap_view_of_node(run, node, &out)) {
        return false;
    }
    for (size_t i = 0; i < out.buffer->n; i++) {
        ((int64_t *)out.buffer->data)[i] = (int64_t)i;
    }
    return lap_eval_give(run, ref, &out);
}

bool lap_eval_leaf(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    if (node->op == LAP_OP_INPUT || node->op == LAP_OP_WEIGHT) {
        return tensor_leaf(run, ref, node);
    }
    if (node->op == LAP_OP_INDEX) {
        return index_leaf(run, ref, node);
    }
    if (node->op == LAP_OP_DIM) {
        int64_t value;
        return lap_eval_size(run, lap_attr_dim(node, LAP_ATTR_DIM), node->loc, &value) &&
               number_leaf(run, ref, node, (double)value, value);
    }
    const lap_attr *value = lap_node_attr(node, LAP_ATTR_VALUE);
    bool is_float = value->scalar.dtype == LAP_F32;
    double f = is_float ? value->scalar.f : (double)value->scalar.i;
    return number_leaf(run, ref, node, f, is_float ? lap_eval_to_int(value->scalar.f) : value->scalar.i);
}
