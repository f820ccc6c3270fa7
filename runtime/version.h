/* SPDX-License-Identifier: Apache-2.0
 * version.h - the version of lappet and of the artefacts that it builds. */
#ifndef LAP_RUNTIME_VERSION_H
#define LAP_RUNTIME_VERSION_H

#define LAP_VERSION "0.1.0"
/* Changes when the C API of an artefact does. */
#define LAP_API_VERSION 1

#endif
