/* SPDX-License-Identifier: Apache-2.0
 * plugin_path.h - where patterns are searched: $LAPPET_PLUGINS, else beside the executable. */
#ifndef LAP_FRONTENDS_COMPILER_PLUGIN_PATH_H
#define LAP_FRONTENDS_COMPILER_PLUGIN_PATH_H

#include "ir/base/ctx.h"

/* Folders in order of preference, in the arena. The environment variable holds folders separated by
 * ':'; without it, PREFIX/share/lappet/plugins of an installed and ../plugins of a built lappet. */
const char *const *lap_plugin_path(lap_ctx *ctx, uint32_t *out_n);
/* Folder of the running executable, or NULL; in the arena. */
const char *lap_executable_folder(lap_ctx *ctx);
/* Folder with the runtimes for artefacts, one per platform; in the arena. */
const char *lap_runtime_folder(lap_ctx *ctx);
/* Slugs of all modules on the path, sorted, each once; in the arena. */
const char **lap_plugin_slugs(lap_ctx *ctx, const char *const *path, uint32_t n_path, uint32_t *out_n);

#endif
