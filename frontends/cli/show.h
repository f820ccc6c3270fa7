/* SPDX-License-Identifier: Apache-2.0
 * show.h - what the forms of `lappet show` share. */
#ifndef LAP_FRONTENDS_CLI_SHOW_H
#define LAP_FRONTENDS_CLI_SHOW_H

#include <cjson/cJSON.h>

#include "frontends/cli/setup.h"
#include "frontends/compiler/picture.h"

/* The drawing with characters: `#` attended, `.` masked. */
void lap_show_text(lap_setup *s, const lap_pictures *pictures);
/* Everything that is drawn, as one document; the caller deletes it. */
cJSON *lap_show_document(lap_setup *s, const lap_pictures *pictures);
/* The kernels of the program in order, with buffers, bytes and useful operations (show_kernels.c). */
void lap_show_kernels(lap_setup *s, cJSON *document);
/* Where a line is, as text. */
static inline const char *lap_show_place(lap_setup *s, lap_loc loc)
{
    return loc.ix ? lap_loc_show(lap_session_ctx(s->session), loc) : "";
}

#endif
