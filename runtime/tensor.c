/* SPDX-License-Identifier: Apache-2.0
 * tensor.c - elements of tensors as numbers, and the 16-bit float formats.
 *
 * Plain and portable: these serve messages, tests and small conversions, not kernels. */
#include "runtime/tensor.h"

#include <math.h>
#include <string.h>

#include "runtime/view.h"

bool lap_tensor_count(const lap_tensor *t, size_t *out) { return lap_shape_count(t->rank, t->shape, out); }

float lap_f32_from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

float lap_f32_from_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = (bits >> 10) & 0x1fu;
    uint32_t fraction = bits & 0x3ffu;
    uint32_t wide;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    if (exponent == 31) {
        wide = sign | 0x7f800000u | fraction << 13;
    } else {
        wide = sign | (exponent + 112) << 23 | fraction << 13;
    }
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* A format of `digits` fraction bits whose normal numbers start at 2^low and end below 2^(high + 1). */
static uint16_t narrow(double value, int digits, int low, int high)
{
    int width = high - low + 2; /* exponent codes 1 .. width - 1 are finite */
    uint32_t sign = signbit(value) ? 0x8000u : 0;
    uint32_t infinite = (uint32_t)width << digits;
    if (isnan(value)) {
        return (uint16_t)(sign | infinite | 1u << (digits - 1));
    }
    double size = fabs(value);
    if (isinf(size)) {
        return (uint16_t)(sign | infinite);
    }
    if (size == 0) {
        return (uint16_t)sign;
    }
    int exponent;
    frexp(size, &exponent);
    exponent--; /* size is in [2^exponent, 2^(exponent + 1)) */
    if (exponent > high) {
        return (uint16_t)(sign | infinite);
    }
    exponent = exponent < low ? low : exponent;
    double units = nearbyint(ldexp(size, digits - exponent));
    /* The carry of rounding moves into the exponent by itself, up to infinity. */
    uint32_t code = (uint32_t)units + ((uint32_t)(exponent - low) << digits);
    return (uint16_t)(sign | code);
}

uint16_t lap_f16_from_f64(double value) { return narrow(value, 10, -14, 15); }

uint16_t lap_bf16_from_f64(double value) { return narrow(value, 7, -126, 127); }

static int64_t i4_get(const uint8_t *bytes, size_t i)
{
    unsigned nibble = (unsigned)bytes[i / 2] >> (i % 2 * 4) & 0xfu;
    return nibble >= 8 ? (int64_t)nibble - 16 : (int64_t)nibble;
}

static void i4_set(uint8_t *bytes, size_t i, int64_t value)
{
    unsigned shift = i % 2 * 4;
    unsigned kept = bytes[i / 2] & (0xf0u >> shift);
    bytes[i / 2] = (uint8_t)(kept | ((unsigned)value & 0xfu) << shift);
}

static double real_get(const lap_tensor *t, size_t i)
{
    uint16_t half;
    float single;
    switch (t->dtype) {
    case LAP_F16:
        memcpy(&half, (const char *)t->data + 2 * i, 2);
        return lap_f32_from_f16(half);
    case LAP_BF16:
        memcpy(&half, (const char *)t->data + 2 * i, 2);
        return lap_f32_from_bf16(half);
    default:
        memcpy(&single, (const char *)t->data + 4 * i, 4);
        return single;
    }
}

static int64_t whole_get(const lap_tensor *t, size_t i)
{
    int64_t wide;
    int32_t word;
    switch (t->dtype) {
    case LAP_I64:
        memcpy(&wide, (const char *)t->data + 8 * i, 8);
        return wide;
    case LAP_I32:
        memcpy(&word, (const char *)t->data + 4 * i, 4);
        return word;
    case LAP_I8:
        return ((const int8_t *)t->data)[i];
    case LAP_I4:
        return i4_get(t->data, i);
    default:
        return ((const uint8_t *)t->data)[i] != 0;
    }
}

static bool is_real(lap_dtype dtype) { return dtype == LAP_F32 || dtype == LAP_F16 || dtype == LAP_BF16; }

static int64_t toward_zero(double value)
{
    if (isnan(value)) {
        return 0;
    }
    if (value >= 0x1p63) {
        return INT64_MAX;
    }
    return value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

double lap_tensor_get(const lap_tensor *t, size_t i)
{
    return is_real(t->dtype) ? real_get(t, i) : (double)whole_get(t, i);
}

int64_t lap_tensor_get_int(const lap_tensor *t, size_t i)
{
    return is_real(t->dtype) ? toward_zero(real_get(t, i)) : whole_get(t, i);
}

static void real_set(lap_tensor *t, size_t i, double value)
{
    uint16_t half;
    float single = (float)value;
    switch (t->dtype) {
    case LAP_F16:
    case LAP_BF16:
        half = t->dtype == LAP_F16 ? lap_f16_from_f64(value) : lap_bf16_from_f64(value);
        memcpy((char *)t->data + 2 * i, &half, 2);
        return;
    default:
        memcpy((char *)t->data + 4 * i, &single, 4);
    }
}

static int64_t saturate(int64_t value, unsigned bits)
{
    int64_t high = bits >= 64 ? INT64_MAX : (INT64_C(1) << (bits - 1)) - 1;
    if (value > high) {
        return high;
    }
    return value < -high - 1 ? -high - 1 : value;
}

void lap_tensor_set(lap_tensor *t, size_t i, double value)
{
    if (is_real(t->dtype)) {
        real_set(t, i, value);
    } else if (t->dtype == LAP_BOOL) {
        lap_tensor_set_int(t, i, value != 0);
    } else {
        lap_tensor_set_int(t, i, saturate(toward_zero(value), lap_dtype_bits(t->dtype)));
    }
}

void lap_tensor_set_int(lap_tensor *t, size_t i, int64_t value)
{
    int32_t word = (int32_t)(uint32_t)(uint64_t)value;
    switch (t->dtype) {
    case LAP_I64:
        memcpy((char *)t->data + 8 * i, &value, 8);
        return;
    case LAP_I32:
        memcpy((char *)t->data + 4 * i, &word, 4);
        return;
    case LAP_I8:
        ((uint8_t *)t->data)[i] = (uint8_t)value;
        return;
    case LAP_I4:
        i4_set(t->data, i, value);
        return;
    case LAP_BOOL:
        ((uint8_t *)t->data)[i] = value != 0;
        return;
    default:
        real_set(t, i, (double)value);
    }
}
