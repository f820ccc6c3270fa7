/* SPDX-License-Identifier: Apache-2.0
 * sync.c - where barriers stand.
 *
 * Invocations of a workgroup see each other's stores only past a barrier. The walk keeps what has been
 * read and written since the last one, and asks for a barrier before a node whose access would meet an
 * access of another invocation. A loop's body starts with all that its end may leave behind, so it is
 * walked until nothing is added. Stores outside lanes are all done by invocation 0, in order, and do
 * not meet each other. Barriers stand outside lanes only, where control flow is the same for all. */
#include "codegen/spirv/emitter.h"

/* Buffers as bits; those past the 63rd share the last one. */
typedef struct accesses {
    uint64_t reads, lane_writes, first_writes; /* by lanes; by invocation 0 */
} accesses;

static uint64_t bit_of(lap_shader *e, lap_ref buffer)
{
    uint32_t number = lap_glsl_buffer_number(e, buffer);
    return e->is_stored[number] ? UINT64_C(1) << (number < 63 ? number : 63) : 0;
}

static bool meets(const accesses *past, const accesses *next)
{
    uint64_t writes = past->lane_writes | past->first_writes;
    return ((next->reads & writes) | (next->lane_writes & (past->reads | writes)) |
            (next->first_writes & (past->reads | past->lane_writes))) != 0;
}

static void add(accesses *a, const accesses *b)
{
    a->reads |= b->reads;
    a->lane_writes |= b->lane_writes;
    a->first_writes |= b->first_writes;
}

static bool is_same(const accesses *a, const accesses *b)
{
    return a->reads == b->reads && a->lane_writes == b->lane_writes && a->first_writes == b->first_writes;
}

/* Accesses of a cooperative operation or of one statement; lanes do the stores where `in_lanes`. */
static accesses of_node(lap_shader *e, const lap_node *n, bool in_lanes)
{
    enum { ACC = 0, A = 3, B = 8, TO = 0, FROM = 3, KEYS = 0, OUT = 3 };
    accesses a = {0, 0, 0};
    switch (n->op) {
    case LAP_OP_LOAD:
        a.reads = bit_of(e, n->args[0]);
        break;
    case LAP_OP_STORE:
        *(in_lanes ? &a.lane_writes : &a.first_writes) = bit_of(e, n->args[0]);
        break;
    case LAP_OP_MMA:
        a.reads = bit_of(e, n->args[A]) | bit_of(e, n->args[B]) | bit_of(e, n->args[ACC]);
        a.lane_writes = bit_of(e, n->args[ACC]);
        break;
    case LAP_OP_TURN:
        a.reads = bit_of(e, n->args[FROM]);
        a.lane_writes = bit_of(e, n->args[TO]);
        break;
    case LAP_OP_SORT:
        a.reads = bit_of(e, n->args[KEYS]);
        a.first_writes = bit_of(e, n->args[OUT]);
        break;
    default:
        break;
    }
    return a;
}

static accesses of_lanes(lap_shader *e, lap_region_id id)
{
    accesses all = {0, 0, 0};
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        accesses one =
            n->op == LAP_OP_FOR || n->op == LAP_OP_IF ? of_lanes(e, n->regions[0]) : of_node(e, n, true);
        add(&all, &one);
    }
    return all;
}

static void walk(lap_shader *e, lap_region_id id, accesses *past);

static void walk_loop(lap_shader *e, const lap_node *n, accesses *past)
{
    for (;;) {
        accesses end = *past;
        walk(e, n->regions[0], &end);
        add(&end, past);
        if (is_same(&end, past)) {
            return;
        }
        *past = end;
    }
}

static void walk_node(lap_shader *e, lap_ref ref, const lap_node *n, accesses *past)
{
    bool is_loop = n->op == LAP_OP_FOR && e->run[ref.ix] != LAP_RUN_LANES;
    if (is_loop) {
        walk_loop(e, n, past);
    } else if (n->op == LAP_OP_IF) {
        accesses inner = *past;
        walk(e, n->regions[0], &inner);
        add(past, &inner);
    } else {
        accesses next = n->op == LAP_OP_FOR ? of_lanes(e, n->regions[0]) : of_node(e, n, false);
        if (meets(past, &next)) {
            e->syncs[ref.ix] = true;
        }
        if (e->syncs[ref.ix]) {
            *past = (accesses){0, 0, 0};
        }
        add(past, &next);
    }
}

static void walk(lap_shader *e, lap_region_id id, accesses *past)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        walk_node(e, nodes[i], lap_node_at(e->g, nodes[i]), past);
    }
}

void lap_glsl_sync_mark(lap_shader *e)
{
    accesses past = {0, 0, 0};
    walk(e, (lap_region_id){0}, &past);
}
