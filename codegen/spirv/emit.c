/* SPDX-License-Identifier: Apache-2.0
 * emit.c - kernels as GLSL: the shader's head, then its regions in node order. */
#include <string.h>

#include "codegen/spirv/emitter.h"
#include "codegen/spirv/kernel.h"

/* ---- nodes ---- */

static void emit_place(lap_shader *e, lap_loc loc)
{
    if (loc.ix != 0 && loc.ix != e->loc.ix) {
        e->loc = loc;
        lap_glsl_put(e, "#line %d \"%s\"\n", lap_loc_line(e->ctx, loc), lap_loc_file(e->ctx, loc));
    }
}

static void emit_dim(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_dim d = lap_attr_dim(n, LAP_ATTR_DIM);
    int64_t c;
    const char *type = lap_glsl_type_text(e->type[ref.ix]);
    if (lap_dim_is_const(e->ctx, d, &c)) {
        bool is_long = e->type[ref.ix] == LAP_GLSL_LONG;
        lap_glsl_line(e, is_long ? "%s v%u = %lldL;" : "%s v%u = %lld;", type, ref.ix, (long long)c);
        return;
    }
    lap_glsl_line(e, "%s v%u = %s;", type, ref.ix, lap_glsl_param(e, d));
}

static void emit_result(lap_shader *e, lap_ref ref, const lap_node *n)
{
    lap_glsl_line(e, "%s v%u = c%u_%s;", lap_glsl_type_text(e->type[ref.ix]), ref.ix, n->args[0].ix,
                  lap_text(e->ctx, lap_attr_name(n, LAP_ATTR_WHICH)));
}

static void emit_if(lap_shader *e, lap_ref ref, const lap_node *n)
{
    uint32_t depth = e->depth;
    lap_glsl_open(e, "if (%s) ", lap_glsl_value(e, n->args[0], LAP_GLSL_BOOL));
    lap_glsl_emit_region(e, n->regions[0]);
    while (e->depth > depth) {
        lap_glsl_close(e, "");
    }
    if (e->resumes && e->piece[ref.ix] == LAP_PIECE_INSIDE) {
        lap_glsl_after_inside(e);
    }
}

/* A lane that fails does no more of its loop; outside lanes the whole workgroup ends. */
static void emit_fail(lap_shader *e, const lap_node *n)
{
    const char *message = lap_text(e->ctx, lap_attr_name(n, LAP_ATTR_MESSAGE));
    uint32_t number = lap_program_message(e->program, message, n->loc);
    lap_glsl_open(e, "if (%s) ", lap_glsl_value(e, n->args[0], LAP_GLSL_BOOL));
    lap_glsl_line(e, "atomicMin(status, uint(LAUNCH) << 16 | %uu);", number);
    if (e->in_lanes) {
        lap_glsl_line(e, "bad = true;");
    } else {
        lap_glsl_give_up(e, "true");
    }
    lap_glsl_close(e, "");
}

static void emit_node(lap_shader *e, lap_ref ref, const lap_node *n)
{
    switch (n->op) {
    case LAP_OP_CONST:
    case LAP_OP_BUFFER:
    case LAP_OP_PARAM:
        return;
    case LAP_OP_DIM:
        emit_dim(e, ref, n);
        return;
    case LAP_OP_MAP:
        lap_glsl_line(e, "%s v%u = %s;", lap_glsl_type_text(e->type[ref.ix]), ref.ix,
                      lap_glsl_map(e, ref, n));
        return;
    case LAP_OP_RESULT:
        emit_result(e, ref, n);
        return;
    case LAP_OP_LOAD:
        lap_glsl_emit_load(e, ref, n);
        return;
    case LAP_OP_STORE:
        lap_glsl_emit_store(e, n);
        return;
    case LAP_OP_FOR:
        lap_glsl_emit_for(e, ref, n);
        return;
    case LAP_OP_IF:
        emit_if(e, ref, n);
        return;
    case LAP_OP_FAIL:
        emit_fail(e, n);
        return;
    case LAP_OP_MMA:
        lap_glsl_emit_mma(e, n);
        return;
    case LAP_OP_TURN:
        lap_glsl_emit_turn(e, n);
        return;
    case LAP_OP_SORT:
        lap_glsl_emit_sort(e, n);
        return;
    default:
        LAP_BUG("kernel '%s' holds a %s", lap_graph_name(e->g), lap_op_text(n->op));
    }
}

static bool is_skipped(const lap_shader *e, lap_ref ref, const lap_node *n)
{
    bool is_pure =
        n->op == LAP_OP_MAP || n->op == LAP_OP_DIM || n->op == LAP_OP_RESULT || n->op == LAP_OP_LOAD;
    return is_pure && !e->is_used[ref.ix];
}

void lap_glsl_emit_region(lap_shader *e, lap_region_id id)
{
    uint32_t n_nodes;
    const lap_ref *nodes = lap_region_nodes(e->g, id, &n_nodes);
    for (uint32_t i = 0; i < n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, nodes[i]);
        if (is_skipped(e, nodes[i], n)) {
            continue;
        }
        if (e->syncs[nodes[i].ix]) {
            lap_glsl_line(e, "SYNC();");
        }
        emit_place(e, n->loc);
        bool is_once = e->resumes && e->piece[nodes[i].ix] == LAP_PIECE_EFFECT;
        if (is_once) {
            lap_glsl_open_effect(e);
        }
        emit_node(e, nodes[i], n);
        if (is_once) {
            lap_glsl_close(e, "");
        }
        if (e->in_lanes && (n->op == LAP_OP_FAIL || e->may_fail[nodes[i].ix])) {
            lap_glsl_open(e, "if (!bad) "); /* closed by whoever opened the region */
        }
    }
}

/* ---- what is known of a kernel before its text ---- */

static void mark_used(lap_shader *e)
{
    for (uint32_t i = 1; i <= lap_graph_n_nodes(e->g); i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        for (uint32_t a = 0; a < n->n_args; a++) {
            e->is_used[n->args[a].ix] = true;
        }
        for (uint32_t r = 0; r < n->n_regions; r++) {
            const lap_region *body = lap_region_at(e->g, n->regions[r]);
            for (uint32_t a = 0; a < body->n_results; a++) {
                e->is_used[body->results[a].ix] = true;
            }
        }
    }
}

static void number_buffers(lap_shader *e)
{
    uint32_t n_nodes = lap_graph_n_nodes(e->g);
    for (uint32_t i = 1; i <= n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        uint32_t slot = (uint32_t)lap_attr_i(n, LAP_ATTR_SLOT, 0);
        bool is_global = lap_attr_i(n, LAP_ATTR_SPACE, LAP_SPACE_GLOBAL) == LAP_SPACE_GLOBAL;
        uint32_t *total = is_global ? &e->n_globals : &e->n_scratch;
        *total = n->op == LAP_OP_BUFFER && slot >= *total ? slot + 1 : *total;
    }
    uint32_t n_buffers = e->n_globals + e->n_scratch;
    e->buffers = lap_arena_array(e->ctx->arena, n_buffers + 1, sizeof *e->buffers);
    e->is_stored = lap_arena_array(e->ctx->arena, n_buffers + 1, sizeof *e->is_stored);
    e->is_shared = lap_arena_array(e->ctx->arena, n_buffers + 1, sizeof *e->is_shared);
    for (uint32_t i = 1; i <= n_nodes; i++) {
        const lap_node *n = lap_node_at(e->g, (lap_ref){i});
        enum { SORT_OUT = 3 };
        if (n->op == LAP_OP_BUFFER) {
            e->buffers[lap_glsl_buffer_number(e, (lap_ref){i})] = (lap_ref){i};
        } else if (n->op == LAP_OP_STORE || n->op == LAP_OP_MMA || n->op == LAP_OP_TURN) {
            e->is_stored[lap_glsl_buffer_number(e, n->args[0])] = true;
        } else if (n->op == LAP_OP_SORT) {
            e->is_stored[lap_glsl_buffer_number(e, n->args[SORT_OUT])] = true;
        }
    }
}

/* Bytes that a scratch buffer would take of shared memory; 0: its size is not constant. */
static int64_t shared_size(lap_shader *e, uint32_t number)
{
    int64_t count;
    lap_dim d = lap_attr_dim(lap_node_at(e->g, e->buffers[number]), LAP_ATTR_COUNT);
    if (!lap_dim_is_const(e->ctx, d, &count) || count <= 0 || count > INT32_MAX) {
        return 0;
    }
    return count * (lap_glsl_buffer_elem(e, e->buffers[number]) == LAP_I64 ? 8 : 4);
}

/* The smallest scratch buffers go to shared memory, as many as fit. */
static uint32_t share_scratch(lap_shader *e)
{
    int64_t left = e->target->shared_bytes;
    for (;;) {
        uint32_t best = UINT32_MAX;
        int64_t least = left + 1;
        for (uint32_t i = e->n_globals; i < e->n_globals + e->n_scratch; i++) {
            int64_t size = lap_ref_some(e->buffers[i]) && !e->is_shared[i] ? shared_size(e, i) : 0;
            if (size > 0 && size < least && lap_glsl_buffer_elem(e, e->buffers[i]) != LAP_I4) {
                best = i;
                least = size;
            }
        }
        if (best == UINT32_MAX) {
            return (uint32_t)(e->target->shared_bytes - left);
        }
        e->is_shared[best] = true;
        left -= least;
    }
}

/* ---- shaders ---- */

enum { MOST_BINDINGS = 12 }; /* of operands: devices offer 16 or more, scratch and status take some */

static const char head[] =
    "#version 460\n"
    "#extension GL_GOOGLE_cpp_style_line_directive : require\n"
    "#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require\n"
    "#extension GL_EXT_shader_8bit_storage : require\n"
    "#extension GL_EXT_shader_16bit_storage : require\n"
    "#extension GL_EXT_spirv_intrinsics : require\n"
    "#extension GL_KHR_memory_scope_semantics : require\n"
    "#extension GL_KHR_shader_subgroup_basic : require\n"
    "#extension GL_KHR_shader_subgroup_vote : require\n"
    "#extension GL_KHR_shader_subgroup_arithmetic : require\n"
    "#extension GL_KHR_shader_subgroup_shuffle : require\n"
    "#pragma use_vulkan_memory_model\n"
    "layout(local_size_x_id = 0) in;\n"
    /* infinities, NaN and the sign of zero are to be kept: masks use them */
    "spirv_execution_mode(extensions = [\"SPV_KHR_float_controls\"], capabilities = [4466], 4461, 32);\n"
    "layout(constant_id = 0) const int GROUP = 1;\n"
    "layout(constant_id = 1) const int SUBGROUP = 0;\n";

static const char tail[] =
    "layout(set = 0, binding = 1, std430) buffer Status { uint status; };\n"
    "int lane = int(gl_LocalInvocationIndex);\n"
    "#define LAUNCH params[0].x\n"
    "layout(push_constant) uniform Share { int FIRST, LAST, FROM, TO; };\n"
    "const int ALL = 0x7fffffff;\n"
    "#define SEEN (gl_SemanticsAcquireRelease | gl_SemanticsMakeAvailable | gl_SemanticsMakeVisible)\n"
    "#define STORAGE (gl_StorageSemanticsBuffer | gl_StorageSemanticsShared)\n"
    "void SYNC() {\n"
    "  if (SUBGROUP == GROUP) controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, STORAGE, SEEN);\n"
    "  else controlBarrier(gl_ScopeWorkgroup, gl_ScopeWorkgroup, STORAGE, SEEN);\n"
    "}\n";

static void put_scratch_bases(lap_shader *e)
{
    for (uint32_t i = 0; i < e->n_scratch; i++) {
        uint32_t number = e->n_globals + i;
        if (lap_ref_some(e->buffers[number]) && !e->is_shared[number]) {
            lap_dim count = lap_attr_dim(lap_node_at(e->g, e->buffers[number]), LAP_ATTR_COUNT);
            int64_t c;
            const char *size = lap_dim_is_const(e->ctx, count, &c) ? lap_glsl_print(e, "%lld", (long long)c)
                                                                   : lap_glsl_param(e, count);
            lap_glsl_line(e, "int o%u = int(gl_WorkGroupID.x) * %s;", i, size);
        }
    }
}

static void analyse(lap_shader *e)
{
    uint32_t n = lap_graph_n_nodes(e->g) + 1;
    lap_arena *arena = e->ctx->arena;
    e->type = lap_arena_array(arena, n, sizeof *e->type);
    e->bound = lap_arena_array(arena, n, sizeof *e->bound);
    e->is_exact = lap_arena_array(arena, n, sizeof *e->is_exact);
    e->is_used = lap_arena_array(arena, n, sizeof *e->is_used);
    e->syncs = lap_arena_array(arena, n, sizeof *e->syncs);
    e->run = lap_arena_array(arena, n, sizeof *e->run);
    e->may_fail = lap_arena_array(arena, n, sizeof *e->may_fail);
    e->piece = lap_arena_array(arena, n, sizeof *e->piece);
    e->state_at = lap_arena_array(arena, n, sizeof *e->state_at);
    number_buffers(e);
    mark_used(e);
    lap_glsl_bound_all(e);
    lap_glsl_plan_loops(e);
    lap_glsl_sync_mark(e);
    lap_glsl_resume_plan(e);
}

lap_shader_made lap_shader_make(const lap_program *p, const lap_target *target, uint32_t kernel)
{
    lap_shader e = {
        .program = p, .target = target, .ctx = p->ctx, .g = p->kernels[kernel].graph, .kernel = kernel};
    e.params = lap_shader_params(p, kernel);
    analyse(&e);
    if (e.n_globals > MOST_BINDINGS) {
        e.by_address = true;
        e.needs |= 1u << LAP_VK_NEED_ADDRESSES;
    }
    lap_shader_made made = {.shared_bytes = share_scratch(&e),
                            .limits = lap_glsl_bound_limits(&e),
                            .steps = lap_glsl_steps(&e),
                            .rounds = {lap_glsl_step_rounds(&e, false), lap_glsl_step_rounds(&e, true)},
                            .n_state = e.resumes ? e.n_state : 0};
    e.depth = 1;
    put_scratch_bases(&e);
    lap_glsl_emit_region(&e, (lap_region_id){0});
    lap_glsl_text body = e.out;
    e.out = (lap_glsl_text){NULL, 0, 0};
    e.depth = 0;
    lap_glsl_put(&e, "%s", head);
    lap_glsl_put(&e, "layout(set = 0, binding = 0, std140) uniform Params { ivec4 params[%u]; };\n",
                 (LAP_SHADER_FIRST_PARAM + e.params.n + (e.by_address ? 2 * e.n_globals : 0) + 3) / 4);
    if (e.by_address) {
        lap_glsl_put(&e, "#extension GL_EXT_buffer_reference : require\n"
                         "#extension GL_EXT_buffer_reference_uvec2 : require\n");
    }
    lap_glsl_declare(&e);
    lap_glsl_put(&e, "%s", tail);
    lap_glsl_use(&e, LAP_PART_BAD);
    lap_glsl_prelude(&e);
    lap_glsl_put(&e, "void main() {\n%s}\n", body.at);
    made.glsl = e.out.at;
    made.needs = e.needs;
    made.by_address = e.by_address;
    made.n_globals = e.n_globals;
    made.n_scratch = e.n_scratch;
    made.is_shared = e.is_shared + e.n_globals;
    made.scratch = e.buffers + e.n_globals;
    return made;
}

const char *lap_spirv_glsl(const lap_program *p, const lap_target *target, uint32_t kernel)
{
    return lap_shader_make(p, target, kernel).glsl;
}
