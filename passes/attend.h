/* SPDX-License-Identifier: Apache-2.0
 * attend.h - what the lowerings of attend share. */
#ifndef LAP_PASSES_ATTEND_H
#define LAP_PASSES_ATTEND_H

#include "passes/contract.h"

/* The streaming lowering: tiles of queries against blocks of keys, nothing of their product stored.
 * False where the attend does not have its shape; nothing is emitted then. */
bool lap_attend_tiles(lap_lowering *l, lap_ref attend);

#endif
