/* SPDX-License-Identifier: Apache-2.0
 * check.c - relations between extents, decided and reported. */
#include "ir/check.h"

lap_verdict lap_check_decide(lap_ctx *ctx, const lap_check *c, lap_dim_value *value, void *user)
{
    int64_t a, b;
    if (!lap_dim_eval(ctx, c->a, value, user, &a) || !lap_dim_eval(ctx, c->b, value, user, &b)) {
        return LAP_UNDECIDED;
    }
    return lap_rel_holds(a, c->rel, b) ? LAP_HOLDS : LAP_BROKEN;
}

/* "H = 5" for an extent that is not written as a number. */
static const char *show_value(lap_ctx *ctx, lap_dim dim, int64_t value)
{
    int64_t constant;
    if (lap_dim_is_const(ctx, dim, &constant)) {
        return lap_dim_show(ctx, dim);
    }
    return lap_arena_printf(ctx->arena, "%s = %lld", lap_dim_show(ctx, dim), (long long)value);
}

bool lap_check_report(lap_ctx *ctx, const lap_check *c, lap_dim_value *value, void *user)
{
    int64_t a, b;
    if (!lap_dim_eval(ctx, c->a, value, user, &a) || !lap_dim_eval(ctx, c->b, value, user, &b)) {
        return lap_error(ctx, c->loc, "%s (%s and %s have no value for these shapes)", c->message,
                         lap_dim_show(ctx, c->a), lap_dim_show(ctx, c->b));
    }
    return lap_error(ctx, c->loc, "%s (%s, %s)", c->message, show_value(ctx, c->a, a),
                     show_value(ctx, c->b, b));
}
