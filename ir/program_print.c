/* SPDX-License-Identifier: Apache-2.0
 * program_print.c - text of a program: leaves, buffers, kernels, steps (the `loop` stage of dump). */
#include "ir/kernel.h"

static void print_leaves(const lap_program *p, const char *what, uint32_t n, const lap_leaf *leaves, FILE *to)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_leaf *l = &leaves[i];
        fprintf(to, "%s %u %s: %s[", what, i, lap_text(p->ctx, l->name), lap_dtype_text(l->dtype));
        for (uint32_t k = 0; k < l->rank; k++) {
            fprintf(to, "%s%s", k ? ", " : "", lap_dim_show(p->ctx, l->shape[k]));
            if (l->crop && l->crop[k] >= 0) {
                fprintf(to, " crop b%d", l->crop[k]);
            }
        }
        fprintf(to, "]%s  ; %s\n", l->is_optional ? " optional" : "", lap_loc_show(p->ctx, l->loc));
    }
}

static void print_buffers(const lap_program *p, FILE *to)
{
    static const char *const kinds[] = {"input", "weight", "const", "temp", "packed", "output"};
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        const lap_buffer *b = &p->buffers[i];
        fprintf(to, "buffer b%u: %s", i, kinds[b->kind]);
        if (b->kind == LAP_BUF_INPUT || b->kind == LAP_BUF_WEIGHT || b->kind == LAP_BUF_OUTPUT) {
            fprintf(to, " %u", b->leaf);
        }
        fprintf(to, " %s[%s]", lap_dtype_text(b->elem), lap_dim_show(p->ctx, b->count));
        fprintf(to, b->kind == LAP_BUF_CONST ? " %zu bytes\n" : "\n", b->n_bytes);
    }
}

static void indent(FILE *to, unsigned depth) { fprintf(to, "%*s", (int)(2 * depth), ""); }

static void print_steps(const lap_program *p, uint32_t n, const lap_step *steps, unsigned depth, FILE *to);

static void print_block(const lap_program *p, uint32_t n, const lap_step *steps, unsigned depth, FILE *to)
{
    fputs(" {\n", to);
    print_steps(p, n, steps, depth + 1, to);
    indent(to, depth);
    fputs("}", to);
}

static void print_launch(const lap_program *p, const lap_launch *l, FILE *to)
{
    fprintf(to, "launch %s", p->kernels[l->kernel].name);
    for (uint32_t i = 0; i < l->n_buffers; i++) {
        fprintf(to, " b%u", l->buffers[i]);
    }
}

static void print_foreign(const lap_program *p, const lap_foreign_use *use, FILE *to)
{
    fprintf(to, "foreign %s", lap_text(p->ctx, use->name));
    for (uint32_t i = 0; i < use->n_inputs + use->n_outputs; i++) {
        const lap_foreign_operand *o = &use->operands[i];
        fputs(i == use->n_inputs ? " ->" : "", to);
        if (o->buffer < 0) {
            fputs(" unread", to);
            continue;
        }
        fprintf(to, " b%d[", o->buffer);
        for (uint32_t k = 0; k < o->rank; k++) {
            fprintf(to, "%s%s", k ? ", " : "", lap_dim_show(p->ctx, o->shape[k]));
        }
        fputs("]", to);
    }
}

static void print_step(const lap_program *p, const lap_step *s, unsigned depth, FILE *to)
{
    switch (s->kind) {
    case LAP_STEP_LAUNCH:
        print_launch(p, &s->launch, to);
        break;
    case LAP_STEP_LOOP:
        fprintf(to, "loop %s%s", lap_dim_show(p->ctx, s->limit), s->reverse ? " reverse" : "");
        if (s->counter >= 0) {
            fprintf(to, " counter b%d", s->counter);
        }
        if (s->test >= 0) {
            fprintf(to, " while b%d after %u", s->test, s->n_test);
        }
        print_block(p, s->n_body, s->body, depth, to);
        break;
    case LAP_STEP_BRANCH:
        fprintf(to, "branch b%d", s->test);
        print_block(p, s->n_body, s->body, depth, to);
        fputs(" else", to);
        print_block(p, s->n_other, s->other, depth, to);
        break;
    case LAP_STEP_COPY:
        fprintf(to, "copy b%u b%u", s->from, s->to);
        break;
    case LAP_STEP_FOREIGN:
        print_foreign(p, s->foreign, to);
        break;
    }
}

static void print_steps(const lap_program *p, uint32_t n, const lap_step *steps, unsigned depth, FILE *to)
{
    for (uint32_t i = 0; i < n; i++) {
        indent(to, depth);
        fputs(steps[i].on_load ? "on load: " : "", to);
        print_step(p, &steps[i], depth, to);
        fputc('\n', to);
    }
}

static const char *rel_text(lap_rel rel)
{
    static const char *const texts[] = {"==", "!=", "<", "<=", ">", ">="};
    return texts[rel];
}

void lap_program_print(const lap_program *p, FILE *to)
{
    fprintf(to, "program %s\n", p->name);
    print_leaves(p, "input", p->n_inputs, p->inputs, to);
    print_leaves(p, "weight", p->n_weights, p->weights, to);
    print_leaves(p, "output", p->n_outputs, p->outputs, to);
    print_buffers(p, to);
    for (uint32_t i = 0; i < p->n_checks; i++) {
        const lap_check *c = &p->checks[i];
        fprintf(to, "check %s %s %s  ; %s: %s\n", lap_dim_show(p->ctx, c->a), rel_text(c->rel),
                lap_dim_show(p->ctx, c->b), lap_loc_show(p->ctx, c->loc), c->message);
    }
    for (uint32_t i = 0; i < p->n_kernels; i++) {
        fprintf(to, "\nkernel %s  ; %s\n", p->kernels[i].name, lap_loc_show(p->ctx, p->kernels[i].loc));
        lap_graph_print(p->kernels[i].graph, to);
    }
    fputs("\nsteps {\n", to);
    print_steps(p, p->n_steps, p->steps, 1, to);
    fputs("}\n", to);
}

static void print_fused(const lap_program *p, uint32_t n, const lap_step *steps, FILE *to)
{
    for (uint32_t i = 0; i < n; i++) {
        const lap_step *s = &steps[i];
        if (s->kind == LAP_STEP_LAUNCH) {
            fprintf(to, "%-4s %-9s %-44s %s\n", lap_arena_printf(p->ctx->arena, "k%u", s->launch.kernel),
                    s->launch.what, s->launch.roles != NULL ? s->launch.roles : "",
                    lap_loc_show(p->ctx, s->launch.loc));
        } else if (s->kind == LAP_STEP_FOREIGN) {
            fprintf(to, "%-4s %-9s %-44s %s\n", "", "foreign", lap_text(p->ctx, s->foreign->name),
                    lap_loc_show(p->ctx, s->foreign->loc));
        }
        print_fused(p, s->n_body, s->body, to);
        print_fused(p, s->n_other, s->other, to);
    }
}

void lap_program_print_fused(const lap_program *p, FILE *to) { print_fused(p, p->n_steps, p->steps, to); }
