/* SPDX-License-Identifier: Apache-2.0
 * emitter.h - state of turning one kernel into GLSL, shared by the files of this folder.
 *
 * One workgroup runs one iteration of the grid loop after another. Outside vector loops every
 * invocation computes the same scalars ("uniform"); a vector loop hands its iterations to the
 * invocations ("lanes"). i64 values whose size the extents bound are 32-bit integers in the shader,
 * wrapped like the ring they live in; the host refuses to run where a value that must be exact would
 * not fit (bound.c). All other i64 values are 64-bit. */
#ifndef LAP_CODEGEN_SPIRV_EMITTER_H
#define LAP_CODEGEN_SPIRV_EMITTER_H

#include "codegen/image.h"
#include "codegen/spirv/spirv.h"

typedef enum lap_glsl_type { LAP_GLSL_FLOAT, LAP_GLSL_BOOL, LAP_GLSL_INT, LAP_GLSL_LONG } lap_glsl_type;

/* |value| <= most, where that is known. */
typedef struct lap_glsl_bound {
    bool is_known, is_natural; /* natural: never negative */
    lap_dim most;
    bool has_upper; /* value <= upper, which may be less */
    lap_dim upper;
} lap_glsl_bound;

/* What a node of the grid's body is in a kernel that several launches may run (resume.c). */
typedef enum lap_glsl_piece {
    LAP_PIECE_PURE,   /* computed in every launch */
    LAP_PIECE_EFFECT, /* done once */
    LAP_PIECE_LOOP,   /* its rounds are shared out among launches */
    LAP_PIECE_INSIDE  /* an `if`, or a loop of one round, whose body's nodes are pieces themselves */
} lap_glsl_piece;

/* How a `for` is run. */
typedef enum lap_glsl_run { LAP_RUN_GRID, LAP_RUN_SERIAL, LAP_RUN_LANES } lap_glsl_run;

/* Text that grows in the context's arena. */
typedef struct lap_glsl_text {
    char *at;
    size_t n, capacity;
} lap_glsl_text;

typedef struct lap_shader {
    const lap_program *program;
    const lap_target *target;
    lap_ctx *ctx;
    lap_graph *g;
    uint32_t kernel;
    lap_glsl_text out;
    uint32_t depth; /* of blocks, for indentation */
    lap_loc loc;    /* of the last #line */
    /* by node */
    lap_glsl_type *type;
    lap_glsl_bound *bound;
    bool *is_exact; /* read where wrapping would show */
    bool *is_used;
    bool *syncs;       /* a barrier stands before it */
    lap_glsl_run *run; /* of `for` nodes */
    bool *may_fail;    /* `for` and `if` nodes that hold a `fail` */
    lap_glsl_piece *piece;
    uint32_t *state_at; /* first word of what a loop carries from launch to launch */
    /* buffers, by number: globals by slot, then scratch */
    lap_ref *buffers;
    uint32_t n_globals, n_scratch;
    bool *is_stored, *is_shared;
    bool by_address;        /* operands are too many for bindings */
    lap_kernel_dims params; /* extents that the shader reads */
    bool in_lanes;
    bool meets;       /* rounds are counted for workgroups of several subgroups */
    bool resumes;     /* several launches may run it */
    bool has_effects; /* pieces since the last loop */
    uint32_t n_state; /* words of state, the first for a failure */
    uint64_t parts;   /* of the prelude that are used */
    uint32_t needs;   /* lap_vk_need bits */
} lap_shader;

/* ---- text.c */
void lap_glsl_put(lap_shader *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lap_glsl_line(lap_shader *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lap_glsl_open(lap_shader *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lap_glsl_close(lap_shader *e, const char *tail);
char *lap_glsl_print(lap_shader *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- bound.c: types and sizes of values */
void lap_glsl_bound_all(lap_shader *e);
/* Extents that must be below 2^30 for the shader to be right; in the arena. */
lap_kernel_dims lap_glsl_bound_limits(lap_shader *e);

/* ---- rounds.c: rounds of loops, at most */
lap_dim lap_glsl_node_rounds(lap_shader *e, lap_ref ref);
lap_dim lap_glsl_region_rounds(lap_shader *e, lap_region_id id);
/* Of the reductions at the end of a loop, where invocations meet in memory (`meets`). */
lap_dim lap_glsl_meet_rounds(lap_shader *e, lap_ref ref, const lap_node *n);
/* Upper bound of a loop's extent. */
lap_dim lap_glsl_most_trips(lap_shader *e, lap_ref extent);

/* ---- resume.c: an iteration of the grid in several launches */
void lap_glsl_resume_plan(lap_shader *e);
/* Steps that launches share out, and rounds of loops in one step. */
lap_dim lap_glsl_steps(lap_shader *e);
lap_dim lap_glsl_step_rounds(lap_shader *e, bool meets);
void lap_glsl_resume_begin(lap_shader *e);
/* Around what is done once. */
void lap_glsl_open_effect(lap_shader *e);
/* Around a loop whose rounds from loN to hiN are of this launch; it starts with sN_0, sN_1, .. */
void lap_glsl_open_rounds(lap_shader *e, lap_ref ref, const lap_node *n);
void lap_glsl_close_rounds(lap_shader *e, lap_ref ref, const lap_node *n);
/* After a body that holds pieces. */
void lap_glsl_after_inside(lap_shader *e);
/* Ends the workgroup, this launch and those to come. */
void lap_glsl_give_up(lap_shader *e, const char *cond);

/* ---- sync.c: barriers */
void lap_glsl_sync_mark(lap_shader *e);

/* ---- emit.c: kernels and regions */
void lap_glsl_emit_region(lap_shader *e, lap_region_id id);

/* ---- value.c: values and scalar functions */
const char *lap_glsl_type_text(lap_glsl_type t);
/* The value as an expression of type `as`. */
const char *lap_glsl_value(lap_shader *e, lap_ref ref, lap_glsl_type as);
const char *lap_glsl_value_of(lap_shader *e, lap_ref ref); /* of its own type */
const char *lap_glsl_convert(lap_shader *e, const char *v, lap_glsl_type from, lap_glsl_type to);
const char *lap_glsl_map(lap_shader *e, lap_ref ref, const lap_node *n);
const char *lap_glsl_combine(lap_shader *e, lap_fn fn, lap_glsl_type type, const char *a, const char *b);
const char *lap_glsl_neutral(lap_shader *e, lap_fn fn, lap_glsl_type type);
const char *lap_glsl_float(lap_shader *e, double v);

/* ---- prelude.c: functions written in GLSL, each emitted where it is used */
typedef enum lap_glsl_part {
#define LAP_PART(enum_, calls, needs, text) LAP_PART_##enum_,
#include "codegen/spirv/prelude.def"
#undef LAP_PART
    LAP_N_PARTS
} lap_glsl_part;
void lap_glsl_use(lap_shader *e, lap_glsl_part part);
void lap_glsl_prelude(lap_shader *e);

/* ---- memory.c: loads, stores, declarations of buffers */
uint32_t lap_glsl_buffer_number(const lap_shader *e, lap_ref buffer);
lap_dtype lap_glsl_buffer_elem(const lap_shader *e, lap_ref buffer);
lap_glsl_type lap_glsl_stored_as(lap_dtype elem); /* type of a loaded value */
/* buffer[index] as its compute type; index is an expression of type INT. */
const char *lap_glsl_element(lap_shader *e, lap_ref buffer, const char *index);
/* Statement that stores v, of the type lap_glsl_stored_as gives. */
void lap_glsl_put_element(lap_shader *e, lap_ref buffer, const char *index, const char *v);
void lap_glsl_emit_load(lap_shader *e, lap_ref ref, const lap_node *n);
void lap_glsl_emit_store(lap_shader *e, const lap_node *n);
void lap_glsl_declare(lap_shader *e);
/* An extent that is no constant, as an expression of type INT (its low bits). */
const char *lap_glsl_param(lap_shader *e, lap_dim d);
/* A 32-bit word of the parameters. */
const char *lap_glsl_word(lap_shader *e, uint32_t i);
enum { LAP_SHADER_FIRST_PARAM = 2 }; /* after the launch's number and the grid's extent */

/* ---- loop.c, mma.c, turn.c, sort.c */
void lap_glsl_emit_for(lap_shader *e, lap_ref ref, const lap_node *n);
void lap_glsl_plan_loops(lap_shader *e);
/* Blocks of a register tile that invocations share out. */
uint32_t lap_glsl_mma_blocks(const lap_shader *e, const lap_node *n);
void lap_glsl_emit_mma(lap_shader *e, const lap_node *n);
void lap_glsl_emit_turn(lap_shader *e, const lap_node *n);
enum { LAP_SORT_AT_ONCE = 8 }; /* keys that an invocation looks at in one round */
void lap_glsl_emit_sort(lap_shader *e, const lap_node *n);

#endif
