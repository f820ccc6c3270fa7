/* SPDX-License-Identifier: Apache-2.0
 * foreign.c - checks what a library says of its operations, finds them, calls them. */
#include "runtime/foreign.h"

#include <string.h>

#include "runtime/foreign_table.h"

_Static_assert((int)LAP_FOREIGN_F32 == LAP_F32 && (int)LAP_FOREIGN_F16 == LAP_F16 &&
                   (int)LAP_FOREIGN_BF16 == LAP_BF16 && (int)LAP_FOREIGN_I64 == LAP_I64 &&
                   (int)LAP_FOREIGN_I32 == LAP_I32 && (int)LAP_FOREIGN_I8 == LAP_I8 &&
                   (int)LAP_FOREIGN_BOOL == LAP_BOOL && LAP_FOREIGN_MAX_RANK == LAP_MAX_RANK,
               "the numbers of foreign.h are those of dtypes.def");

/* ---- checks -------------------------------------------------------------------------------- */

static bool check_op(const lap_foreign_op *op, uint32_t number, const char *from, lap_fault *fault)
{
    enum { LONGEST = 128 };
    if (op->version != LAP_FOREIGN_VERSION) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "%s: operation %u is of version %u, expected %u", from,
                             number, op->version, LAP_FOREIGN_VERSION);
    }
    if (op->struct_size < sizeof *op) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "%s: operation %u has a struct_size of %u, expected %zu",
                             from, number, op->struct_size, sizeof *op);
    }
    if (!op->name || op->name[0] == '\0' || strnlen(op->name, LONGEST + 1) > LONGEST) {
        return lap_fault_set(fault, LAP_BAD_INPUT, "%s: operation %u needs a name of 1 to %d bytes", from,
                             number, LONGEST);
    }
    if (op->n_inputs > LAP_FOREIGN_MAX_OPERANDS || op->n_outputs < 1 ||
        op->n_outputs > LAP_FOREIGN_MAX_OPERANDS) {
        return lap_fault_set(fault, LAP_BAD_INPUT,
                             "%s: '%s' has %u operands and %u results, allowed are 0 to %d and "
                             "1 to %d",
                             from, op->name, op->n_inputs, op->n_outputs, LAP_FOREIGN_MAX_OPERANDS,
                             LAP_FOREIGN_MAX_OPERANDS);
    }
    return op->reference ||
           lap_fault_set(fault, LAP_BAD_INPUT, "%s: '%s' has no reference function", from, op->name);
}

static const lap_foreign_op *find(const lap_foreign_table *table, const char *name)
{
    for (uint32_t i = 0; table && i < table->n; i++) {
        if (strcmp(table->ops[i]->name, name) == 0) {
            return table->ops[i];
        }
    }
    return NULL;
}

bool lap_foreign_add(lap_foreign_table *table, const lap_foreign_op *const *ops, const char *from,
                     lap_fault *fault)
{
    uint32_t before = table->n;
    bool good = ops || lap_fault_set(fault, LAP_BAD_INPUT, "%s: lap_foreign_ops gave nothing", from);
    for (uint32_t i = 0; good && ops[i]; i++) {
        good = check_op(ops[i], i, from, fault);
        if (good && find(table, ops[i]->name)) {
            good = lap_fault_set(fault, LAP_BAD_INPUT, "%s: there is an operation '%s' already", from,
                                 ops[i]->name);
        }
        if (good && table->n == LAP_FOREIGN_MOST) {
            good = lap_fault_set(fault, LAP_BAD_INPUT, "%s: more than %d operations", from, LAP_FOREIGN_MOST);
        }
        if (good) {
            table->ops[table->n++] = ops[i];
        }
    }
    table->n = good ? table->n : before;
    return good;
}

/* ---- uses ---------------------------------------------------------------------------------- */

const lap_foreign_op *lap_foreign_find(const lap_foreign_table *table, const char *name, uint32_t n_inputs,
                                       uint32_t n_outputs, const char *place, lap_fault *fault)
{
    const lap_foreign_op *op = find(table, name);
    if (!op) {
        lap_fault_at(
            fault, LAP_NO_DEVICE, place,
            "no foreign operation '%s' is loaded\nhint: --foreign LIB.so loads the library that has it",
            name);
        return NULL;
    }
    if (op->n_inputs != n_inputs || op->n_outputs != n_outputs) {
        lap_fault_at(fault, LAP_BAD_INPUT, place,
                     "'%s' takes %u operands and gives %u results, here it has %u and %u", name, op->n_inputs,
                     op->n_outputs, n_inputs, n_outputs);
        return NULL;
    }
    return op;
}

lap_dtype lap_foreign_storage(lap_dtype dtype) { return dtype == LAP_I4 ? LAP_I8 : dtype; }

static bool call(const lap_foreign_op *op, lap_foreign_fn *fn, const lap_foreign_tensor *inputs,
                 const lap_foreign_tensor *outputs, const char *place, lap_fault *fault)
{
    char message[512] = "";
    int code = fn(op->user, inputs, outputs, message, sizeof message);
    message[sizeof message - 1] = '\0';
    if (code == 0) {
        return true;
    }
    if (message[0] == '\0') {
        return lap_fault_at(fault, LAP_BAD_INPUT, place, "'%s' failed with code %d", op->name, code);
    }
    return lap_fault_at(fault, LAP_BAD_INPUT, place, "'%s': %s", op->name, message);
}

static void without_data(const lap_foreign_tensor *from, uint32_t n, lap_foreign_tensor *to)
{
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].data = NULL;
    }
}

bool lap_foreign_call(const lap_foreign_op *op, lap_foreign_fn *fn, const lap_foreign_tensor *inputs,
                      const lap_foreign_tensor *outputs, const char *place, lap_fault *fault)
{
    if (op->shape) {
        lap_foreign_tensor in[LAP_FOREIGN_MAX_OPERANDS], out[LAP_FOREIGN_MAX_OPERANDS];
        without_data(inputs, op->n_inputs, in);
        without_data(outputs, op->n_outputs, out);
        if (!call(op, op->shape, in, out, place, fault)) {
            return false;
        }
    }
    return call(op, fn, inputs, outputs, place, fault);
}
