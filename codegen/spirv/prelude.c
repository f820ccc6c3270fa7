/* SPDX-License-Identifier: Apache-2.0
 * prelude.c - the parts of prelude.def that a shader uses, each once, in their order. */
#include "codegen/spirv/emitter.h"

typedef struct prelude_part {
    uint64_t calls;
    uint32_t needs;
    const char *text;
} prelude_part;

static const prelude_part parts[LAP_N_PARTS] = {
#define LAP_PART(enum_, calls, needs, text) {calls, needs, text},
#include "codegen/spirv/prelude.def"
#undef LAP_PART
};

_Static_assert(LAP_N_PARTS <= 64, "parts are bits of a word");

void lap_glsl_use(lap_shader *e, lap_glsl_part part)
{
    e->parts |= UINT64_C(1) << part;
    e->needs |= parts[part].needs;
    for (uint32_t i = 0; i < LAP_N_PARTS; i++) {
        if ((parts[part].calls >> i & 1) != 0 && (e->parts >> i & 1) == 0) {
            lap_glsl_use(e, (lap_glsl_part)i);
        }
    }
}

void lap_glsl_prelude(lap_shader *e)
{
    for (uint32_t i = 0; i < LAP_N_PARTS; i++) {
        if ((e->parts >> i & 1) != 0) {
            lap_glsl_put(e, "%s", parts[i].text);
        }
    }
}
