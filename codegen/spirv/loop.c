/* SPDX-License-Identifier: Apache-2.0
 * loop.c - loops: the grid over workgroups, vector loops over invocations, others in order.
 *
 * Loops test at their end, inside a test that they run at all: implementations that run lanes under a
 * mask go through a body tested at its head once more than needed. */
#include "codegen/carried.h"
#include "codegen/spirv/emitter.h"

/* ---- how loops are run ---- */

static bool has_lane_form(const lap_shader *e, lap_region_id id)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        bool nests = n->op == LAP_OP_FOR || n->op == LAP_OP_IF;
        if (n->op == LAP_OP_MMA || n->op == LAP_OP_TURN || n->op == LAP_OP_SORT ||
            (nests && !has_lane_form(e, n->regions[0]))) {
            return false;
        }
    }
    return true;
}

static bool runs_in_lanes(const lap_shader *e, const lap_node *n)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    for (uint32_t i = 0; i < body->n_results; i++) {
        if (lap_carried_fn(e->g, body->results[i], body->params[i + 1]) == LAP_CARRIED_NONE) {
            return false;
        }
    }
    return has_lane_form(e, n->regions[0]);
}

static bool plan_region(lap_shader *e, lap_region_id id, bool in_lanes)
{
    bool may_fail = false;
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        lap_ref ref = nodes[i];
        const lap_node *n = lap_node_at(e->g, ref);
        if (n->op == LAP_OP_FOR) {
            int64_t kind = lap_attr_i(n, LAP_ATTR_KIND, LAP_LOOP_SERIAL);
            bool lanes = kind == LAP_LOOP_VECTOR && !in_lanes && runs_in_lanes(e, n);
            e->run[ref.ix] = kind == LAP_LOOP_GRID ? LAP_RUN_GRID : lanes ? LAP_RUN_LANES : LAP_RUN_SERIAL;
            e->may_fail[ref.ix] = plan_region(e, n->regions[0], in_lanes || lanes);
        } else if (n->op == LAP_OP_IF) {
            e->may_fail[ref.ix] = plan_region(e, n->regions[0], in_lanes);
        }
        may_fail = may_fail || n->op == LAP_OP_FAIL || e->may_fail[ref.ix];
    }
    return may_fail;
}

void lap_glsl_plan_loops(lap_shader *e) { plan_region(e, (lap_region_id){0}, false); }

/* ---- carried values ---- */

static bool is_shared_out(const lap_shader *e, lap_ref ref)
{
    return e->resumes && e->piece[ref.ix] == LAP_PIECE_LOOP;
}

/* What value i starts with. */
static const char *initial(lap_shader *e, lap_ref ref, const lap_node *n, uint32_t i, lap_glsl_type type)
{
    return is_shared_out(e, ref) ? lap_glsl_print(e, "s%u_%u", ref.ix, i)
                                 : lap_glsl_value(e, n->args[i + 1], type);
}

static void declare_carried(lap_shader *e, lap_ref ref, const lap_node *n, const int *fn)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    for (uint32_t i = 0; i + 1 < n->n_args; i++) {
        lap_glsl_type type = e->type[body->params[i + 1].ix];
        bool starts_neutral = fn && fn[i] != LAP_CARRIED_SAME;
        lap_glsl_line(e, "%s c%u_%u = %s;", lap_glsl_type_text(type), ref.ix, i,
                      starts_neutral ? lap_glsl_neutral(e, (lap_fn)fn[i], type)
                                     : initial(e, ref, n, i, type));
    }
}

static void open_body(lap_shader *e, lap_ref ref, const lap_region *body)
{
    for (uint32_t i = 1; i < body->n_params; i++) {
        lap_ref param = body->params[i];
        lap_glsl_line(e, "%s v%u = c%u_%u;", lap_glsl_type_text(e->type[param.ix]), param.ix, ref.ix, i - 1);
    }
}

/* All next values are read before any is written. */
static void close_body(lap_shader *e, lap_ref ref, const lap_region *body)
{
    for (uint32_t i = 0; i < body->n_results; i++) {
        lap_glsl_type type = e->type[body->params[i + 1].ix];
        lap_glsl_line(e, "%s n%u_%u = %s;", lap_glsl_type_text(type), ref.ix, i,
                      lap_glsl_value(e, body->results[i], type));
    }
    for (uint32_t i = 0; i < body->n_results; i++) {
        lap_glsl_line(e, "c%u_%u = n%u_%u;", ref.ix, i, ref.ix, i);
    }
}

/* ---- loops ---- */

static void emit_body(lap_shader *e, lap_ref ref, const lap_node *n)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    open_body(e, ref, body);
    uint32_t depth = e->depth;
    if (e->resumes && e->run[ref.ix] == LAP_RUN_GRID) {
        lap_glsl_resume_begin(e);
    }
    lap_glsl_emit_region(e, n->regions[0]);
    close_body(e, ref, body);
    while (e->depth > depth) { /* tests for failure, opened in the region */
        lap_glsl_close(e, "");
    }
}

static bool is_positive(lap_shader *e, lap_ref extent)
{
    const lap_node *n = lap_node_at(e->g, extent);
    return n->op == LAP_OP_CONST && lap_node_attr(n, LAP_ATTR_VALUE)->scalar.i > 0;
}

typedef struct range {
    const char *start, *end, *step;
    bool has_some; /* start < end */
} range;

/* for (i = start; i < end; i += step) */
static void emit_counted(lap_shader *e, lap_ref ref, const lap_node *n, range r)
{
    lap_ref index = lap_region_at(e->g, n->regions[0])->params[0];
    const char *name = lap_glsl_type_text(e->type[index.ix]);
    lap_glsl_line(e, "%s v%u = %s(%s);", name, index.ix, name, r.start);
    if (!r.has_some) {
        lap_glsl_open(e, "if (v%u < %s) ", index.ix, r.end);
    }
    lap_glsl_open(e, "do ");
    emit_body(e, ref, n);
    lap_glsl_close(e, lap_glsl_print(e, " while ((v%u += %s(%s)) < %s%s);", index.ix, name, r.step, r.end,
                                     e->in_lanes && e->may_fail[ref.ix] ? " && !bad" : ""));
    if (!r.has_some) {
        lap_glsl_close(e, "");
    }
}

static range range_of(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_ref index = lap_region_at(e->g, n->regions[0])->params[0];
    range r = {.start = "0",
               .end = lap_glsl_value(e, n->args[0], e->type[index.ix]),
               .step = "1",
               .has_some = is_positive(e, n->args[0])};
    if (is_shared_out(e, ref)) {
        r.start = lap_glsl_print(e, "lo%u", ref.ix);
        r.end = lap_glsl_print(e, "hi%u", ref.ix);
        r.has_some = false;
    }
    return r;
}

/* Invocations go round together, those past the end without doing anything: some drivers do not bring back
 * lanes that have left a loop before others, and reductions follow. */
static void emit_shared(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_ref index = lap_region_at(e->g, n->regions[0])->params[0];
    const char *name = lap_glsl_type_text(e->type[index.ix]);
    range r = range_of(e, ref, n);
    lap_glsl_line(e, "%s b%u = %s(%s);", name, ref.ix, name, r.start);
    if (!r.has_some) {
        lap_glsl_open(e, "if (b%u < %s) ", ref.ix, r.end);
    }
    lap_glsl_open(e, "do ");
    lap_glsl_line(e, "%s v%u = b%u + %s(lane);", name, index.ix, ref.ix, name);
    lap_glsl_open(e, "if (v%u < %s%s) ", index.ix, r.end, e->may_fail[ref.ix] ? " && !bad" : "");
    emit_body(e, ref, n);
    lap_glsl_close(e, "");
    lap_glsl_close(e, lap_glsl_print(e, " while ((b%u += %s(GROUP)) < %s);", ref.ix, name, r.end));
    if (!r.has_some) {
        lap_glsl_close(e, "");
    }
}

static void emit_grid(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_glsl_type type = e->type[lap_region_at(e->g, n->regions[0])->params[0].ix];
    const char *end =
        lap_glsl_print(e, "min(%s, %s(LAST))", lap_glsl_value(e, n->args[0], type), lap_glsl_type_text(type));
    emit_counted(e, ref, n,
                 (range){.start = "int(gl_WorkGroupID.x) + FIRST", .end = end, .step = "gl_NumWorkGroups.x"});
}

static const char *reduced(lap_shader *e, lap_fn fn, lap_glsl_type type, const char *v)
{
    static const struct {
        lap_fn fn;
        const char *name;
        lap_glsl_part on_float, on_long;
    } rows[] = {
        {LAP_FN_ADD, "add", LAP_PART_REDUCE_ADD, LAP_PART_REDUCE_ADD_LONG},
        {LAP_FN_MUL, "mul", LAP_PART_REDUCE_MUL, LAP_PART_REDUCE_MUL_LONG},
        {LAP_FN_MAX, "max", LAP_PART_REDUCE_MAX, LAP_PART_REDUCE_MAX_LONG},
        {LAP_FN_LARGER, "max", LAP_PART_REDUCE_MAX, LAP_PART_REDUCE_MAX_LONG},
        {LAP_FN_MIN, "min", LAP_PART_REDUCE_MIN, LAP_PART_REDUCE_MIN_LONG},
        {LAP_FN_AND, "and", LAP_PART_REDUCE_AND, LAP_PART_REDUCE_AND},
        {LAP_FN_OR, "or", LAP_PART_REDUCE_OR, LAP_PART_REDUCE_OR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].fn == fn) {
            lap_glsl_use(e, type == LAP_GLSL_FLOAT ? rows[i].on_float : rows[i].on_long);
            return lap_glsl_print(e, "lap_reduce_%s(%s)", rows[i].name, v);
        }
    }
    LAP_BUG("no reduction by '%s'", lap_fn_text(fn));
}

static void reduce_carried(lap_shader *e, lap_ref ref, const lap_node *n, const int *fn)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    for (uint32_t i = 0; i + 1 < n->n_args; i++) {
        if (fn[i] == LAP_CARRIED_SAME) {
            continue;
        }
        lap_glsl_type type = e->type[body->params[i + 1].ix];
        const char *all = reduced(e, (lap_fn)fn[i], type, lap_glsl_print(e, "c%u_%u", ref.ix, i));
        const char *init = initial(e, ref, n, i, type);
        lap_glsl_line(e, "c%u_%u = %s;", ref.ix, i, lap_glsl_combine(e, (lap_fn)fn[i], type, init, all));
    }
}

static void emit_lanes(lap_shader *e, lap_ref ref, const lap_node *n)
{
    const lap_region *body = lap_region_at(e->g, n->regions[0]);
    int *fn = lap_arena_array(e->ctx->arena, n->n_args, sizeof *fn);
    for (uint32_t i = 0; i + 1 < n->n_args; i++) {
        fn[i] = lap_carried_fn(e->g, body->results[i], body->params[i + 1]);
    }
    declare_carried(e, ref, n, fn);
    e->in_lanes = true;
    emit_shared(e, ref, n);
    e->in_lanes = false;
    if (e->may_fail[ref.ix]) { /* all leave together: barriers may follow */
        lap_glsl_use(e, LAP_PART_REDUCE_OR);
        lap_glsl_give_up(e, "lap_reduce_or(bad)");
    }
    reduce_carried(e, ref, n, fn);
}

static void emit_inside(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_ref index = lap_region_at(e->g, n->regions[0])->params[0];
    lap_glsl_open(e, " ");
    lap_glsl_line(e, "%s v%u = %s(0);", lap_glsl_type_text(e->type[index.ix]), index.ix,
                  lap_glsl_type_text(e->type[index.ix]));
    emit_body(e, ref, n);
    lap_glsl_close(e, "");
    lap_glsl_after_inside(e);
}

void lap_glsl_emit_for(lap_shader *e, lap_ref ref, const lap_node *n)
{
    if (e->resumes && e->piece[ref.ix] == LAP_PIECE_INSIDE) {
        emit_inside(e, ref, n);
        return;
    }
    if (is_shared_out(e, ref)) {
        lap_glsl_open_rounds(e, ref, n);
    }
    switch (e->run[ref.ix]) {
    case LAP_RUN_LANES:
        emit_lanes(e, ref, n);
        break;
    case LAP_RUN_GRID:
        emit_grid(e, ref, n);
        break;
    case LAP_RUN_SERIAL:
        declare_carried(e, ref, n, NULL);
        emit_counted(e, ref, n, range_of(e, ref, n));
        break;
    }
    if (is_shared_out(e, ref)) {
        lap_glsl_close_rounds(e, ref, n);
    }
}
