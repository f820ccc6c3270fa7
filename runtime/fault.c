/* SPDX-License-Identifier: Apache-2.0
 * fault.c - fills and shows the error that every runtime call can give. */
#include "runtime/tensor.h"

#include <stdarg.h>
#include <stdio.h>

static bool fill(lap_fault *fault, lap_code code, const char *place, const char *format, va_list args)
{
    if (!fault) {
        return false;
    }
    fault->code = code;
    vsnprintf(fault->text, sizeof fault->text, format, args);
    snprintf(fault->place, sizeof fault->place, "%s", place ? place : "");
    return false;
}

bool lap_fault_set(lap_fault *fault, lap_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool result = fill(fault, code, NULL, format, args);
    va_end(args);
    return result;
}

bool lap_fault_at(lap_fault *fault, lap_code code, const char *place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool result = fill(fault, code, place, format, args);
    va_end(args);
    return result;
}

const char *lap_fault_show(const lap_fault *fault, char *out, size_t n)
{
    bool placed = fault->place[0] != '\0';
    snprintf(out, n, "%s%serror: %s", fault->place, placed ? ": " : "", fault->text);
    return out;
}
