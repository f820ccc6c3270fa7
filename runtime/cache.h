/* SPDX-License-Identifier: Apache-2.0
 * cache.h - the user's folder of what may be lost: compiled pipelines, tuning records.
 *
 * The folder is LAPPET_CACHE, else XDG_CACHE_HOME/lappet, else HOME/.cache/lappet; an empty LAPPET_CACHE
 * keeps none. */
#ifndef LAP_RUNTIME_CACHE_H
#define LAP_RUNTIME_CACHE_H

/* Path of the file `name` in the folder, by malloc; NULL: no cache is kept. */
char *lap_cache_path(const char *name);
/* Makes the folders above a file, where they are missing. */
void lap_cache_make_folders(const char *path);

#endif
