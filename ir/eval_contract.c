/* SPDX-License-Identifier: Apache-2.0
 * eval_contract.c - sums of products, multiplied out without storing the product.
 *
 * Three factors and more are contracted in pairs, the smallest result first, as long as every element
 * counts (nothing absent, nothing poisoned): summing early is what keeps the cost of one pair. */
#include "ir/eval_state.h"

#define MOST_FACTORS 16

typedef struct product {
    uint32_t n;
    lap_view factor[MOST_FACTORS];
    lap_view absent;
    bool is_poisoned;
} product;

/* Factors of the deferred product `ref`, each as doubles. */
static bool collect(lap_eval_run *run, lap_ref ref, product *p)
{
    const lap_node *node = lap_node_at(run->g, ref);
    for (uint32_t i = 0; i < node->n_args; i++) {
        const lap_eval_slot *slot = &run->slots[node->args[i].ix];
        if (slot->status == LAP_EVAL_DEFERRED) {
            if (!collect(run, node->args[i], p)) {
                return false;
            }
            continue;
        }
        if (p->n == MOST_FACTORS) {
            return lap_error(run->ctx, node->loc, "the reference evaluator takes at most %d factors",
                             MOST_FACTORS);
        }
        if (!lap_view_convert(run, slot->view, LAP_F32, node->loc, &p->factor[p->n])) {
            return false;
        }
        p->is_poisoned = p->is_poisoned || p->factor[p->n].buffer->poison;
        p->n++;
    }
    return true;
}

typedef struct sum_walk {
    const product *p;
    int64_t n;
    const int64_t *offset[MOST_FACTORS + 1];
    const int64_t *at;
} sum_walk;

static double sum_pair(const sum_walk *s)
{
    const double *a = (const double *)s->p->factor[0].buffer->data + s->at[0];
    const double *b = (const double *)s->p->factor[1].buffer->data + s->at[1];
    double total = 0;
    for (int64_t k = 0; k < s->n; k++) {
        total += a[s->offset[0][k]] * b[s->offset[1][k]];
    }
    return total;
}

static double sum_general(const sum_walk *s, uint8_t *out_poison)
{
    const product *p = s->p;
    const uint8_t *absent = p->absent.buffer ? p->absent.buffer->data : NULL;
    double total = 0;
    for (int64_t k = 0; k < s->n; k++) {
        if (absent && absent[s->at[p->n] + s->offset[p->n][k]]) {
            continue;
        }
        double term = 1;
        for (uint32_t f = 0; f < p->n; f++) {
            int64_t at = s->at[f] + s->offset[f][k];
            term *= ((const double *)p->factor[f].buffer->data)[at];
            if (!*out_poison) {
                *out_poison = lap_view_poison(&p->factor[f], at);
            }
        }
        total += term;
    }
    return total;
}

/* out = sum of the product over the axes `over`. */
static bool multiply_out(lap_eval_run *run, const product *p, const lap_space_axes *over, lap_loc loc,
                         const lap_view *out)
{
    const lap_view *views[MOST_FACTORS + 2];
    lap_eval_buffer *offsets[MOST_FACTORS + 1] = {NULL};
    sum_walk s = {.p = p, .n = lap_space_count(over)};
    bool ok = true;
    for (uint32_t f = 0; f <= p->n && ok; f++) {
        views[f] = f < p->n ? &p->factor[f] : &p->absent;
        offsets[f] = lap_walk_offsets(run, over, views[f], loc);
        ok = offsets[f] != NULL;
        s.offset[f] = ok ? offsets[f]->data : NULL;
    }
    views[p->n + 1] = out;
    lap_space_axes space;
    lap_space_of(&space, out);
    lap_walk walk;
    lap_walk_points(&walk, &space, ok ? p->n + 2 : 0, views);
    s.at = walk.at;
    bool is_plain = p->n == 2 && !p->absent.buffer && !p->is_poisoned;
    for (; ok && !walk.is_over; lap_walk_next(&walk)) {
        uint8_t poison = 0;
        int64_t to = walk.at[p->n + 1];
        ((double *)out->buffer->data)[to] = is_plain ? sum_pair(&s) : sum_general(&s, &poison);
        if (out->buffer->poison) {
            out->buffer->poison[to] = poison;
        }
    }
    for (uint32_t f = 0; f <= p->n; f++) {
        lap_eval_release(run, offsets[f]);
    }
    return ok;
}

/* Splits the axes of a pair into those summed at once (in `over`, in no other factor) and the rest. */
static void split_axes(const product *p, uint32_t a, uint32_t b, const lap_space_axes *over,
                       lap_space_axes *out_kept, lap_space_axes *out_summed)
{
    lap_space_axes all;
    lap_space_of(&all, &p->factor[a]);
    for (uint32_t i = 0; i < p->factor[b].n_axes; i++) {
        lap_space_add(&all, p->factor[b].name[i], p->factor[b].size[i]);
    }
    out_kept->n = out_summed->n = 0;
    for (uint32_t i = 0; i < all.n; i++) {
        bool sums = false;
        for (uint32_t o = 0; o < over->n; o++) {
            sums = sums || lap_name_same(over->name[o], all.name[i]);
        }
        for (uint32_t f = 0; f < p->n; f++) {
            sums = sums && (f == a || f == b || lap_view_find(&p->factor[f], all.name[i]) < 0);
        }
        lap_space_add(sums ? out_summed : out_kept, all.name[i], all.size[i]);
    }
}

static void remove_axes(lap_space_axes *from, const lap_space_axes *gone)
{
    lap_space_axes kept = {0};
    for (uint32_t i = 0; i < from->n; i++) {
        bool stays = true;
        for (uint32_t k = 0; k < gone->n; k++) {
            stays = stays && !lap_name_same(from->name[i], gone->name[k]);
        }
        if (stays) {
            lap_space_add(&kept, from->name[i], from->size[i]);
        }
    }
    *from = kept;
}

/* Replaces the pair of factors whose product is smallest by that product; `over` loses what it summed. */
static bool merge_pair(lap_eval_run *run, product *p, lap_space_axes *over, lap_loc loc)
{
    int64_t least = -1;
    uint32_t first = 0, second = 1;
    lap_space_axes kept, summed;
    for (uint32_t a = 0; a < p->n; a++) {
        for (uint32_t b = a + 1; b < p->n; b++) {
            split_axes(p, a, b, over, &kept, &summed);
            int64_t size = lap_space_count(&kept);
            if (size >= 0 && (least < 0 || size < least)) {
                least = size;
                first = a;
                second = b;
            }
        }
    }
    split_axes(p, first, second, over, &kept, &summed);
    product pair = {.n = 2, .factor = {p->factor[first], p->factor[second]}, .absent = {.kind = LAP_BOOL}};
    lap_view made;
    if (!lap_view_new(run, LAP_F32, kept.n, kept.name, kept.size, loc, &made)) {
        return false;
    }
    bool ok = multiply_out(run, &pair, &summed, loc, &made);
    lap_view_drop(run, &p->factor[first]);
    lap_view_drop(run, &p->factor[second]);
    p->factor[first] = made;
    p->factor[second] = p->factor[--p->n];
    remove_axes(over, &summed);
    return ok;
}

static bool contract(lap_eval_run *run, const lap_node *node, product *p, lap_space_axes *over, lap_view *out)
{
    if (p->is_poisoned && !lap_eval_add_poison(run, out->buffer, node->loc)) {
        return false;
    }
    bool is_plain = !p->is_poisoned && !p->absent.buffer;
    while (is_plain && p->n > 2) {
        if (!merge_pair(run, p, over, node->loc)) {
            return false;
        }
    }
    return multiply_out(run, p, over, node->loc, out);
}

bool lap_eval_contract(lap_eval_run *run, lap_ref ref, const lap_node *node)
{
    const lap_node *source = lap_node_at(run->g, node->args[0]);
    lap_names names = lap_attr_names(node, LAP_ATTR_OVER);
    product p = {.absent = {.kind = LAP_BOOL}};
    lap_space_axes over = {0};
    lap_view out = {0};
    bool ok = collect(run, node->args[0], &p) &&
              lap_eval_absent(run, source->n_axes, source->axes, &names, node->loc, &p.absent) &&
              lap_view_of_node(run, node, &out);
    for (uint32_t i = 0; ok && i < names.n; i++) {
        const lap_axis *axis = lap_node_axis(source, names.at[i]);
        int64_t size = 0;
        ok = axis && lap_eval_size(run, axis->size, node->loc, &size);
        lap_space_add(&over, names.at[i], size);
    }
    ok = ok && contract(run, node, &p, &over, &out);
    for (uint32_t f = 0; f < p.n; f++) {
        lap_view_drop(run, &p.factor[f]);
    }
    lap_view_drop(run, &p.absent);
    if (!ok) {
        lap_view_drop(run, &out);
    }
    return ok && lap_eval_give(run, ref, &out);
}
