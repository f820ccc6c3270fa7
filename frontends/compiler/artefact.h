/* SPDX-License-Identifier: Apache-2.0
 * artefact.h - a model as a shared library, built into a temporary folder and run through its C API. */
#ifndef LAP_FRONTENDS_COMPILER_ARTEFACT_H
#define LAP_FRONTENDS_COMPILER_ARTEFACT_H

#include <signal.h>

#include "frontends/compiler/session.h"

typedef struct lap_artefact lap_artefact;

/* Builds and loads the library of a lowered session; the weights (as given, unconverted) go through
 * a safetensors file. Nothing stays in the file system; `interrupted` as in lap_aot_options. */
lap_artefact *lap_artefact_build(lap_session *s, const lap_views *weights,
                                 const volatile sig_atomic_t *interrupted, lap_fault *fault);
void lap_artefact_free(lap_artefact *a);
/* Outputs stay until the next run; sets belong to the session. */
LAP_MUST_CHECK bool lap_artefact_run(lap_artefact *a, const lap_tensors *inputs, lap_tensors *out,
                                     lap_fault *fault);

#endif
