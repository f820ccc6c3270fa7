/* SPDX-License-Identifier: Apache-2.0
 * parse.c - a graph from its text (grammar: ir/text.h), built through lap_emit and then verified.
 *
 * The text may be hostile: nesting, lists and the number of reports are bounded, and nothing is
 * made that lap_emit has not checked. Types that are written are compared with the inferred ones. */
#include "ir/parse.h"

#include <stdlib.h>
#include <string.h>

/* ---- mistakes and tokens -------------------------------------------------------------------- */

static lap_loc line_loc(const lap_parser *p, int line)
{
    return lap_loc_make(p->ctx, p->lex.file, line, (lap_loc){0});
}

bool lap_parse_expected(lap_parser *p, const char *what)
{
    const lap_token *t = &p->lex.token;
    p->is_failed = true;
    return lap_error(p->ctx, line_loc(p, t->line), "expected %s, found %s", what, lap_token_show(p->ctx, t));
}

bool lap_parse_mistake(lap_parser *p, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lap_verror(p->ctx, line_loc(p, line), format, args);
    va_end(args);
    p->is_failed = true;
    return ++p->n_mistakes < LAP_MAX_MISTAKES;
}

bool lap_parse_skip(lap_parser *p, const char *punct)
{
    if (!lap_token_is(&p->lex.token, LAP_TOKEN_PUNCT, punct)) {
        return false;
    }
    lap_lex_next(&p->lex);
    return true;
}

bool lap_parse_take(lap_parser *p, const char *punct)
{
    return lap_parse_skip(p, punct) || lap_parse_expected(p, lap_arena_printf(p->ctx->arena, "'%s'", punct));
}

static bool at_word(const lap_parser *p, const char *word)
{
    return lap_token_is(&p->lex.token, LAP_TOKEN_WORD, word);
}

static bool take_word(lap_parser *p, const char *word)
{
    if (!at_word(p, word)) {
        return lap_parse_expected(p, lap_arena_printf(p->ctx->arena, "'%s'", word));
    }
    lap_lex_next(&p->lex);
    return true;
}

/* ---- values --------------------------------------------------------------------------------- */

static lap_binding *binding(lap_parser *p, lap_name name)
{
    if (name.ix >= p->n_bindings) {
        size_t n = (size_t)name.ix + 1;
        lap_arena_grow(p->ctx->arena, &p->bindings, p->n_bindings, n - p->n_bindings, &p->capacity,
                       sizeof(lap_binding));
        memset(p->bindings + p->n_bindings, 0, (n - p->n_bindings) * sizeof(lap_binding));
        p->n_bindings = n;
    }
    return &p->bindings[name.ix];
}

static lap_name token_name(const lap_parser *p)
{
    return lap_intern_n(p->ctx, p->lex.token.at, p->lex.token.n);
}

bool lap_parse_value(lap_parser *p, lap_ref *out)
{
    if (p->lex.token.kind != LAP_TOKEN_VALUE) {
        return lap_parse_expected(p, "a value");
    }
    lap_name name = token_name(p);
    const lap_binding *b = binding(p, name);
    *out = b->ref;
    bool is_value = b->is_value;
    int line = p->lex.token.line;
    lap_lex_next(&p->lex);
    return is_value || lap_parse_mistake(p, line, "no value '%%%s' before here", lap_text(p->ctx, name));
}

/* "%name", not yet the name of a value. */
static bool parse_new_name(lap_parser *p, lap_name *out)
{
    if (p->lex.token.kind != LAP_TOKEN_VALUE) {
        return lap_parse_expected(p, "a value");
    }
    *out = token_name(p);
    lap_binding *b = binding(p, *out);
    if (b->is_value &&
        !lap_parse_mistake(p, p->lex.token.line, "value '%%%s' is made twice", lap_text(p->ctx, *out))) {
        return false;
    }
    lap_lex_next(&p->lex);
    return true;
}

static void define(lap_parser *p, lap_name name, lap_ref ref)
{
    lap_binding *b = binding(p, name);
    b->is_value = true;
    b->ref = ref;
}

typedef struct ref_list {
    lap_ref *at;
    size_t n, capacity;
} ref_list;

/* Those on this line: a value on the next one begins a statement. */
static bool parse_operands(lap_parser *p, ref_list *out)
{
    while (p->lex.token.kind == LAP_TOKEN_VALUE && !p->lex.token.begins_line) {
        if (out->n == LAP_MAX_OPERANDS) {
            return lap_parse_expected(p, "fewer operands");
        }
        lap_arena_grow(p->ctx->arena, &out->at, out->n, 1, &out->capacity, sizeof(lap_ref));
        if (!lap_parse_value(p, &out->at[out->n++])) {
            return false;
        }
    }
    return true;
}

static bool has_all(const ref_list *refs)
{
    for (size_t i = 0; i < refs->n; i++) {
        if (!lap_ref_some(refs->at[i])) {
            return false;
        }
    }
    return true;
}

/* ---- places --------------------------------------------------------------------------------- */

/* To be called where the statement's first line has been read, but for its comment. */
static lap_loc statement_loc(const lap_parser *p, int line)
{
    lap_loc loc;
    return p->lex.token.comment && lap_parse_comment(p, &loc) ? loc : line_loc(p, line);
}

/* ---- regions -------------------------------------------------------------------------------- */

static bool parse_statements(lap_parser *p, bool is_body);

static bool parse_params(lap_parser *p, lap_region_id *out)
{
    lap_name names[LAP_MAX_NAMES];
    lap_type types[LAP_MAX_NAMES];
    lap_ref refs[LAP_MAX_NAMES];
    uint32_t n = 0;
    int line = p->lex.token.line;
    lap_loc before = lap_get_loc(p->graph);
    if (lap_parse_skip(p, "(")) {
        do {
            if (n == LAP_MAX_NAMES) {
                return lap_parse_expected(p, "')'");
            }
            if (!parse_new_name(p, &names[n]) || !lap_parse_type(p, &types[n])) {
                return false;
            }
            n++;
        } while (lap_parse_skip(p, ","));
        if (!lap_parse_take(p, ")")) {
            return false;
        }
        lap_set_loc(p->graph, statement_loc(p, line));
    }
    *out = lap_region_begin(p->graph, n, types, refs);
    for (uint32_t i = 0; i < n; i++) {
        define(p, names[i], refs[i]);
    }
    lap_set_loc(p->graph, before);
    return true;
}

/* After the opening brace. */
static bool parse_region(lap_parser *p, lap_region_id *out)
{
    ref_list results = {0};
    if (p->depth == LAP_MAX_REGION_DEPTH) {
        return lap_parse_expected(p, "less deep nesting");
    }
    p->depth++;
    if (!parse_params(p, out) || !parse_statements(p, true)) {
        return false;
    }
    if (at_word(p, "yield")) {
        lap_lex_next(&p->lex);
        if (!parse_operands(p, &results)) {
            return false;
        }
    }
    lap_region_end(p->graph, *out, (uint32_t)results.n, results.at);
    p->depth--;
    return lap_parse_take(p, "}");
}

static bool parse_func(lap_parser *p)
{
    lap_lex_next(&p->lex);
    if (p->lex.token.kind != LAP_TOKEN_GLOBAL) {
        return lap_parse_expected(p, "'@name'");
    }
    lap_name name = token_name(p);
    if (binding(p, name)->is_func &&
        !lap_parse_mistake(p, p->lex.token.line, "func '@%s' is made twice", lap_text(p->ctx, name))) {
        return false;
    }
    lap_lex_next(&p->lex);
    lap_region_id region;
    if (!lap_parse_take(p, "{") || !parse_region(p, &region)) {
        return false;
    }
    lap_binding *b = binding(p, name);
    b->is_func = true;
    b->region = region;
    return true;
}

/* ---- operations ----------------------------------------------------------------------------- */

typedef struct statement {
    int line;
    bool has_name, has_type;
    lap_name name;
    lap_op op;
    lap_type type;
    ref_list args;
    lap_attr attrs[LAP_N_ATTRS];
    uint32_t n_attrs;
    lap_region_id regions[4];
    uint32_t n_regions;
    lap_loc loc;
} statement;

static bool takes_attributes(lap_op op)
{
    for (unsigned key = 0; key < LAP_N_ATTRS; key++) {
        if (lap_op_takes(op, (lap_attr_key)key, NULL)) {
            return true;
        }
    }
    return false;
}

static bool parse_attrs(lap_parser *p, statement *s)
{
    while (!lap_parse_skip(p, "}")) {
        const lap_token *t = &p->lex.token;
        lap_attr_key key;
        if (t->kind != LAP_TOKEN_WORD || !lap_attr_find(t->at, t->n, &key)) {
            return lap_parse_expected(p, "an attribute");
        }
        if (s->n_attrs == LAP_N_ATTRS) {
            return lap_parse_expected(p, "fewer attributes");
        }
        lap_lex_next(&p->lex);
        if (!lap_parse_take(p, "=") || !lap_parse_attr(p, key, &s->attrs[s->n_attrs++])) {
            return false;
        }
    }
    return true;
}

static bool parse_func_use(lap_parser *p, lap_region_id *out)
{
    lap_name name = token_name(p);
    const lap_binding *b = binding(p, name);
    if (!b->is_func) {
        lap_parse_mistake(p, p->lex.token.line, "no func '@%s' before here", lap_text(p->ctx, name));
        return false;
    }
    *out = b->region;
    lap_lex_next(&p->lex);
    return true;
}

static bool parse_regions(lap_parser *p, statement *s)
{
    bool has_loc = false;
    LAP_ENSURE(lap_op_regions(s->op) <= sizeof s->regions / sizeof *s->regions);
    for (; s->n_regions < lap_op_regions(s->op); s->n_regions++) {
        if (p->lex.token.kind == LAP_TOKEN_GLOBAL) {
            if (!parse_func_use(p, &s->regions[s->n_regions])) {
                return false;
            }
            continue;
        }
        if (!lap_parse_take(p, "{")) {
            return false;
        }
        if (!has_loc) {
            s->loc = statement_loc(p, s->line);
            has_loc = true;
        }
        if (!parse_region(p, &s->regions[s->n_regions])) {
            return false;
        }
    }
    if (!has_loc) {
        s->loc = statement_loc(p, s->line);
    }
    return true;
}

/* A value takes a name exactly when its op has one to give. */
static bool is_named_right(lap_parser *p, const statement *s)
{
    unsigned traits = lap_op_traits(s->op);
    bool has_value = !(traits & LAP_TRAIT_EFFECT) || (traits & LAP_TRAIT_MULTI);
    return has_value == s->has_name ||
           (lap_parse_mistake(p, s->line,
                              has_value ? "'%s' makes a value, which needs a name: '%%x = %s'"
                                        : "'%s' makes no value to name",
                              lap_op_text(s->op), lap_op_text(s->op)),
            false);
}

static bool emit(lap_parser *p, const statement *s)
{
    size_t n_errors = lap_error_count(p->ctx);
    lap_ref ref = LAP_NONE;
    if (is_named_right(p, s) && has_all(&s->args)) {
        lap_set_loc(p->graph, s->loc);
        ref = lap_emit(p->graph, &(lap_emit_args){
                                     .op = s->op,
                                     .n_args = (uint32_t)s->args.n,
                                     .args = s->args.at,
                                     .n_attrs = s->n_attrs,
                                     .attrs = s->attrs,
                                     .n_regions = s->n_regions,
                                     .regions = s->regions,
                                     .type = s->has_type && lap_op_is_typed(s->op) ? &s->type : NULL,
                                 });
    }
    if (s->has_name) {
        define(p, s->name, ref);
    }
    if (!lap_ref_some(ref)) {
        p->is_failed = true;
        p->n_mistakes += lap_error_count(p->ctx) > n_errors;
        return p->n_mistakes < LAP_MAX_MISTAKES;
    }
    const lap_node *n = lap_node_at(p->graph, ref);
    if (s->has_type && !lap_node_has_type(n, &s->type)) {
        return lap_parse_mistake(p, s->line, "the type is written as %s, but %s gives %s",
                                 lap_axes_show(p->ctx, s->type.dtype, s->type.n_axes, s->type.axes),
                                 lap_op_text(s->op), lap_type_show(p->ctx, n));
    }
    return true;
}

static bool parse_operation(lap_parser *p)
{
    statement s = {.line = p->lex.token.line};
    if (p->lex.token.kind == LAP_TOKEN_VALUE) {
        s.has_name = true;
        if (!parse_new_name(p, &s.name) || !lap_parse_take(p, "=")) {
            return false;
        }
    }
    const lap_token *t = &p->lex.token;
    if (t->kind != LAP_TOKEN_WORD || !lap_op_find(t->at, t->n, &s.op) || s.op == LAP_OP_PARAM) {
        return lap_parse_expected(p, "an operation");
    }
    lap_lex_next(&p->lex);
    s.has_type = lap_parse_at_type(p);
    if ((s.has_type && !lap_parse_type(p, &s.type)) || !parse_operands(p, &s.args)) {
        return false;
    }
    if (takes_attributes(s.op) && lap_parse_skip(p, "{") && !parse_attrs(p, &s)) {
        return false;
    }
    return parse_regions(p, &s) && emit(p, &s);
}

/* ---- other statements ----------------------------------------------------------------------- */

static bool parse_assume(lap_parser *p)
{
    int line = p->lex.token.line;
    lap_dim a, b;
    lap_rel rel;
    lap_name message;
    lap_lex_next(&p->lex);
    if (!lap_parse_extent(p, &a)) {
        return false;
    }
    if (p->lex.token.kind != LAP_TOKEN_WORD || !lap_rel_find(p->lex.token.at, p->lex.token.n, &rel)) {
        return lap_parse_expected(p, "eq, ne, lt, le, gt or ge");
    }
    lap_lex_next(&p->lex);
    if (!lap_parse_extent(p, &b) || !lap_parse_string(p, "a message", &message)) {
        return false;
    }
    lap_set_loc(p->graph, statement_loc(p, line));
    if (!lap_graph_assume(p->graph, a, rel, b, lap_text(p->ctx, message))) {
        p->is_failed = true;
        p->n_mistakes++;
    }
    return true;
}

static bool parse_output(lap_parser *p)
{
    lap_output o = {0};
    int line = p->lex.token.line;
    lap_lex_next(&p->lex);
    if (!lap_parse_string(p, "the name of an output", &o.name) || !lap_parse_value(p, &o.value) ||
        !lap_parse_take(p, "{") || !take_word(p, "layout") || !lap_parse_take(p, "=") ||
        !lap_parse_layout(p, &o.layout)) {
        return false;
    }
    if (at_word(p, "crop")) {
        lap_lex_next(&p->lex);
        if (!lap_parse_take(p, "=") || !lap_parse_crop(p, &o)) {
            return false;
        }
    }
    if (!lap_parse_take(p, "}")) {
        return false;
    }
    o.loc = statement_loc(p, line);
    bool has_all_refs = lap_ref_some(o.value);
    for (uint32_t i = 0; i < o.n_crops; i++) {
        has_all_refs = has_all_refs && lap_ref_some(o.crop_counts[i]);
    }
    if (has_all_refs) {
        lap_graph_add_output(p->graph, &o);
    }
    return true;
}

static bool parse_statement(lap_parser *p, bool is_body)
{
    if (at_word(p, "func")) {
        return parse_func(p);
    }
    if (!is_body && at_word(p, "assume")) {
        return parse_assume(p);
    }
    if (!is_body && at_word(p, "output")) {
        return parse_output(p);
    }
    return parse_operation(p);
}

static bool parse_statements(lap_parser *p, bool is_body)
{
    while (!lap_token_is(&p->lex.token, LAP_TOKEN_PUNCT, "}") && !(is_body && at_word(p, "yield"))) {
        if (!parse_statement(p, is_body)) {
            return false;
        }
    }
    return true;
}

static bool parse_header(lap_parser *p)
{
    if (!take_word(p, "lap")) {
        return false;
    }
    if (!lap_token_is(&p->lex.token, LAP_TOKEN_NUMBER, "1")) {
        return lap_parse_expected(p, "version 1");
    }
    lap_lex_next(&p->lex);
    bool is_kernel = at_word(p, "kernel");
    if (!is_kernel && !at_word(p, "graph")) {
        return lap_parse_expected(p, "'graph' or 'kernel'");
    }
    lap_lex_next(&p->lex);
    const lap_token *t = &p->lex.token;
    size_t n = 0;
    const char *name = t->kind == LAP_TOKEN_GLOBAL ? lap_lex_unescape(p->ctx, t->at, t->n, &n) : NULL;
    if (!name) {
        return lap_parse_expected(p, "'@name'");
    }
    p->graph = lap_graph_new(p->ctx, name, is_kernel ? LAP_LEVEL_KERNEL : LAP_LEVEL_GRAPH);
    lap_lex_next(&p->lex);
    return lap_parse_take(p, "{");
}

bool lap_graph_parse(lap_ctx *ctx, const char *file, const char *text, size_t length, lap_graph **out)
{
    lap_parser p = {.ctx = ctx};
    lap_lex_init(&p.lex, ctx, file, 1, text, length);
    if (!parse_header(&p) || !parse_statements(&p, false) || !lap_parse_take(&p, "}")) {
        return false;
    }
    if (p.lex.token.kind != LAP_TOKEN_END) {
        return lap_parse_expected(&p, "the end of the text");
    }
    if (p.is_failed || !lap_graph_verify(p.graph)) {
        return false;
    }
    *out = p.graph;
    return true;
}
