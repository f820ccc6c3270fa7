/* SPDX-License-Identifier: Apache-2.0
 * print.c - a graph as text (grammar: ir/text.h), driven by the tables of ops and attributes.
 *
 * Values are numbered in the order of the text, so equal graphs print equal text. A region prints
 * at the node that owns it; one that several nodes own prints once, as a `func` before the first
 * statement that contains all of them. */
#include "ir/print.h"

#include <string.h>

/* ---- places --------------------------------------------------------------------------------- */

static bool is_plain_file(const char *file)
{
    for (const char *c = file; *c; c++) {
        if (!strchr("/_+@~-#", *c) && !lap_text_is_word((char[]){'a', *c}, 2)) {
            return false;
        }
    }
    return *file != '\0';
}

static void put_loc(lap_writer *w, lap_loc loc)
{
    lap_write(w, "  ; ");
    lap_write(w, loc.ix == 0 ? "?" : "");
    for (lap_loc at = loc; at.ix != 0; at = lap_loc_parent(w->ctx, at)) {
        const char *file = lap_loc_file(w->ctx, at);
        lap_write(w, at.ix == loc.ix ? "" : " <- ");
        if (is_plain_file(file)) {
            lap_write(w, file);
        } else {
            lap_write_string(w, file);
        }
        lap_writef(w, ":%d", lap_loc_line(w->ctx, at));
    }
    lap_write(w, "\n");
}

static void indent(lap_writer *w)
{
    for (uint32_t i = 0; i < w->depth; i++) {
        lap_write(w, "  ");
    }
}

/* ---- shared regions ------------------------------------------------------------------------- */

/* The statement that region `r` is printed at or before; none for a region that nothing owns. */
static lap_ref container(const lap_writer *w, lap_region_id r)
{
    return lap_ref_some(w->site[r.ix]) ? w->site[r.ix] : w->owner[r.ix];
}

/* The statement of region `in` that contains node `ref`; none when `ref` is not inside `in`. */
static lap_ref statement_in(const lap_writer *w, lap_region_id in, lap_ref ref)
{
    while (lap_ref_some(ref)) {
        lap_region_id r = lap_node_at(w->g, ref)->region;
        if (r.ix == in.ix) {
            return ref;
        }
        ref = container(w, r);
    }
    return LAP_NONE;
}

/* The site of a shared region moved so that it also comes before `ref`, another of its owners. */
static lap_ref site_before(const lap_writer *w, lap_ref site, lap_ref ref)
{
    while (lap_ref_some(site)) {
        lap_region_id in = lap_node_at(w->g, site)->region;
        lap_ref other = statement_in(w, in, ref);
        if (lap_ref_some(other)) {
            return other.ix < site.ix ? other : site;
        }
        site = container(w, in);
    }
    return LAP_NONE;
}

/* Owners have larger ids than what their regions hold, so going down from the last node, the sites
 * of enclosing regions are known before those of the regions inside. */
static void find_owners(lap_writer *w)
{
    for (uint32_t ix = lap_graph_n_nodes(w->g); ix > 0; ix--) {
        const lap_node *n = lap_node_at(w->g, (lap_ref){ix});
        for (uint32_t i = 0; i < n->n_regions; i++) {
            lap_region_id r = n->regions[i];
            if (lap_ref_some(w->owner[r.ix])) {
                w->site[r.ix] = site_before(w, container(w, r), (lap_ref){ix});
            }
            w->owner[r.ix] = (lap_ref){ix};
        }
    }
    for (uint32_t r = lap_graph_n_regions(w->g) - 1; r > 0; r--) {
        uint32_t at = w->site[r].ix;
        w->next_func[r] = w->funcs_at[at];
        w->funcs_at[at] = r;
    }
}

/* ---- statements ----------------------------------------------------------------------------- */

static void put_statements(lap_writer *w, lap_region_id id);

static void put_params(lap_writer *w, const lap_region *r)
{
    if (r->n_params == 0) {
        return;
    }
    indent(w);
    for (uint32_t i = 0; i < r->n_params; i++) {
        w->number[r->params[i].ix] = ++w->n_values;
        lap_write(w, i ? ", " : "(");
        lap_write_value(w, r->params[i]);
        lap_write(w, " ");
        lap_write_type(w, lap_node_type(lap_node_at(w->g, r->params[i])));
    }
    lap_write(w, ")");
    put_loc(w, lap_node_at(w->g, r->params[0])->loc);
}

/* What follows the opening brace. */
static void put_region(lap_writer *w, lap_region_id id)
{
    const lap_region *r = lap_region_at(w->g, id);
    w->depth++;
    put_params(w, r);
    put_statements(w, id);
    for (uint32_t i = 0; i < r->n_results; i++) {
        if (i == 0) {
            indent(w);
            lap_write(w, "yield");
        }
        lap_write(w, " ");
        lap_write_value(w, r->results[i]);
    }
    w->depth--;
    lap_write(w, r->n_results ? "\n" : "");
    indent(w);
    lap_write(w, "}");
}

static void put_funcs_before(lap_writer *w, lap_ref ref)
{
    for (uint32_t r = w->funcs_at[ref.ix]; r != 0; r = w->next_func[r]) {
        w->func[r] = ++w->n_funcs;
        indent(w);
        lap_writef(w, "func @%u {\n", w->func[r]);
        put_region(w, (lap_region_id){r});
        lap_write(w, "\n");
    }
}

/* The place of the node ends the line, which is the line of the first opening brace. */
static void put_regions(lap_writer *w, const lap_node *n)
{
    bool is_open = false;
    for (uint32_t i = 0; i < n->n_regions; i++) {
        uint32_t r = n->regions[i].ix;
        if (w->func[r] != 0) {
            lap_writef(w, " @%u", w->func[r]);
            continue;
        }
        lap_write(w, " {");
        if (is_open) {
            lap_write(w, "\n");
        } else {
            put_loc(w, n->loc);
        }
        put_region(w, n->regions[i]);
        is_open = true;
    }
    if (is_open) {
        lap_write(w, "\n");
    } else {
        put_loc(w, n->loc);
    }
}

static bool has_value(const lap_node *n)
{
    unsigned traits = lap_op_traits(n->op);
    return !(traits & LAP_TRAIT_EFFECT) || (traits & LAP_TRAIT_MULTI);
}

static void put_node(lap_writer *w, lap_ref ref)
{
    const lap_node *n = lap_node_at(w->g, ref);
    indent(w);
    if (has_value(n)) {
        w->number[ref.ix] = ++w->n_values;
        lap_write_value(w, ref);
        lap_write(w, " = ");
    }
    lap_write(w, lap_op_text(n->op));
    if (has_value(n) && n->dtype != LAP_NO_DTYPE) {
        lap_write(w, " ");
        lap_write_type(w, lap_node_type(n));
    }
    for (uint32_t i = 0; i < n->n_args; i++) {
        lap_write(w, " ");
        lap_write_value(w, n->args[i]);
    }
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        lap_write(w, i ? " " : " {");
        lap_write_attr(w, &n->attrs[i]);
    }
    lap_write(w, n->n_attrs ? "}" : "");
    put_regions(w, n);
}

static void put_statements(lap_writer *w, lap_region_id id)
{
    uint32_t n = 0;
    const lap_ref *nodes = lap_region_nodes(w->g, id, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (lap_node_at(w->g, nodes[i])->op != LAP_OP_PARAM) {
            put_funcs_before(w, nodes[i]);
            put_node(w, nodes[i]);
        }
    }
}

static void put_check(lap_writer *w, const lap_check *c)
{
    lap_write(w, "  assume ");
    lap_write_dim(w, c->a);
    lap_write(w, " ");
    lap_write(w, lap_rel_text(c->rel));
    lap_write(w, " ");
    lap_write_dim(w, c->b);
    lap_write(w, " ");
    lap_write_string(w, c->message ? c->message : "");
    put_loc(w, c->loc);
}

static void put_output(lap_writer *w, const lap_output *o)
{
    lap_write(w, "  output ");
    lap_write_string(w, lap_text(w->ctx, o->name));
    lap_write(w, " ");
    lap_write_value(w, o->value);
    lap_write(w, " {layout=");
    lap_write_layout(w, o->layout);
    for (uint32_t i = 0; i < o->n_crops; i++) {
        lap_write(w, i ? " " : " crop=[");
        lap_write_name(w, o->crop_axes[i]);
        lap_write(w, "=");
        lap_write_value(w, o->crop_counts[i]);
    }
    lap_write(w, o->n_crops ? "]}" : "}");
    put_loc(w, o->loc);
}

static void write_graph(lap_writer *w)
{
    lap_write(w, "lap 1\n");
    lap_write(w, lap_graph_level(w->g) == LAP_LEVEL_KERNEL ? "kernel @" : "graph @");
    lap_write_name(w, lap_intern(w->ctx, lap_graph_name(w->g)));
    lap_write(w, " {\n");
    for (uint32_t i = 0; i < lap_graph_n_checks(w->g); i++) {
        put_check(w, lap_graph_check(w->g, i));
    }
    w->depth = 1;
    put_statements(w, (lap_region_id){0});
    for (uint32_t i = 0; i < lap_graph_n_outputs(w->g); i++) {
        put_output(w, lap_graph_output(w->g, i));
    }
    lap_write(w, "}\n");
}

char *lap_graph_text(lap_graph *g)
{
    lap_ctx *ctx = lap_graph_ctx(g);
    size_t n_regions = lap_graph_n_regions(g);
    size_t n_refs = (size_t)lap_graph_n_nodes(g) + 1;
    lap_writer w = {
        .g = g,
        .ctx = ctx,
        .number = lap_arena_array(ctx->arena, n_refs, sizeof(uint32_t)),
        .funcs_at = lap_arena_array(ctx->arena, n_refs, sizeof(uint32_t)),
        .next_func = lap_arena_array(ctx->arena, n_regions, sizeof(uint32_t)),
        .owner = lap_arena_array(ctx->arena, n_regions, sizeof(lap_ref)),
        .site = lap_arena_array(ctx->arena, n_regions, sizeof(lap_ref)),
        .func = lap_arena_array(ctx->arena, n_regions, sizeof(uint32_t)),
    };
    find_owners(&w);
    write_graph(&w);
    return w.text;
}

void lap_graph_print(lap_graph *g, FILE *to) { fputs(lap_graph_text(g), to); }
