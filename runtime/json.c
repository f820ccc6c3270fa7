/* SPDX-License-Identifier: Apache-2.0
 * json.c - a strict cursor over JSON text in memory.
 *
 * Only what headers of tensor files hold is read: objects, arrays, strings and unsigned whole
 * numbers. Anything else is a mistake there, so there is no code for it. */
#include "runtime/json.h"

#include <string.h>

static bool fail(lap_json *j, const char *error)
{
    if (!j->error) {
        j->error = error;
    }
    return false;
}

/* Bytes of the well-formed sequence at p, 0 when it is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0x80) {
        return 1;
    }
    size_t length = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (length == 0 || length > n) {
        return 0;
    }
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool lap_utf8_valid(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(p + i, n - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

bool lap_json_begin(lap_json *j, const void *text, size_t n)
{
    *j = (lap_json){.at = text, .begin = text, .end = (const unsigned char *)text + n};
    return lap_utf8_valid(text, n) || fail(j, "text is not UTF-8");
}

int lap_json_peek(lap_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) {
        j->at++;
    }
    return j->at < j->end ? *j->at : 0;
}

bool lap_json_finish(lap_json *j)
{
    if (j->error) {
        return false;
    }
    lap_json_peek(j);
    return j->at == j->end || fail(j, "text after the end");
}

bool lap_json_enter(lap_json *j, char bracket)
{
    if (j->error) {
        return false;
    }
    if (lap_json_peek(j) != bracket) {
        return fail(j, bracket == '{' ? "expected an object" : "expected a list");
    }
    if (++j->depth > LAP_JSON_DEPTH) {
        return fail(j, "nested too deeply");
    }
    j->at++;
    j->is_first = true;
    return true;
}

bool lap_json_next(lap_json *j, char bracket)
{
    if (j->error) {
        return false;
    }
    int c = lap_json_peek(j);
    if (c == (bracket == '{' ? '}' : ']')) {
        j->at++;
        j->depth--;
        j->is_first = false;
        return false;
    }
    if (!j->is_first) {
        if (c != ',') {
            return fail(j, "expected ',' or the end of the object or list");
        }
        j->at++;
    }
    j->is_first = false;
    return true;
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    unsigned char low = c | 0x20;
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static bool hex4(lap_json *j, uint32_t *out)
{
    if (j->end - j->at < 4) {
        return fail(j, "bad escape in a string");
    }
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(*j->at++);
        if (digit < 0) {
            return fail(j, "bad escape in a string");
        }
        value = value << 4 | (uint32_t)digit;
    }
    *out = value;
    return true;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    int shift = c < 0x800 ? 6 : c < 0x10000 ? 12 : 18;
    *to++ = (char)(uint8_t)((c >> shift) | (c < 0x800 ? 0xc0u : c < 0x10000 ? 0xe0u : 0xf0u));
    while (shift > 0) {
        shift -= 6;
        *to++ = (char)(uint8_t)(0x80u | ((c >> shift) & 0x3fu));
    }
    return to;
}

/* A \u escape, the "\u" taken; a surrogate must come with its other half. */
static bool unicode_escape(lap_json *j, char **to)
{
    uint32_t c, low;
    if (!hex4(j, &c)) {
        return false;
    }
    if (c >= 0xd800 && c < 0xe000) {
        if (c >= 0xdc00 || j->end - j->at < 6 || j->at[0] != '\\' || j->at[1] != 'u') {
            return fail(j, "half a surrogate pair in a string");
        }
        j->at += 2;
        if (!hex4(j, &low)) {
            return false;
        }
        if (low < 0xdc00 || low >= 0xe000) {
            return fail(j, "half a surrogate pair in a string");
        }
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    if (c == 0) {
        return fail(j, "zero byte in a string");
    }
    *to = put_utf8(*to, c);
    return true;
}

static bool escape(lap_json *j, char **to)
{
    static const char from[] = "\"\\/bfnrt", made[] = "\"\\/\b\f\n\r\t";
    if (j->at == j->end) {
        return fail(j, "string without an end");
    }
    unsigned char c = *j->at++;
    if (c == 'u') {
        return unicode_escape(j, to);
    }
    const char *found = c ? strchr(from, c) : NULL;
    if (!found) {
        return fail(j, "bad escape in a string");
    }
    *(*to)++ = made[found - from];
    return true;
}

bool lap_json_string(lap_json *j, char **into, const char **out)
{
    if (j->error) {
        return false;
    }
    if (lap_json_peek(j) != '"') {
        return fail(j, "expected a string");
    }
    j->at++;
    char *to = *into;
    *out = to;
    while (j->at < j->end && *j->at != '"') {
        unsigned char c = *j->at++;
        if (c < 0x20) {
            return fail(j, "control character in a string");
        }
        if (c != '\\') {
            *to++ = (char)c;
        } else if (!escape(j, &to)) {
            return false;
        }
    }
    if (j->at == j->end) {
        return fail(j, "string without an end");
    }
    j->at++;
    *to++ = '\0';
    *into = to;
    return true;
}

bool lap_json_key(lap_json *j, char **into, const char **out)
{
    if (!lap_json_string(j, into, out)) {
        return false;
    }
    if (lap_json_peek(j) != ':') {
        return fail(j, "expected ':'");
    }
    j->at++;
    return true;
}

bool lap_json_uint(lap_json *j, uint64_t *out)
{
    if (j->error) {
        return false;
    }
    int c = lap_json_peek(j);
    if (c < '0' || c > '9') {
        return fail(j, "expected a whole number");
    }
    uint64_t value = 0;
    const unsigned char *start = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9') {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*j->at - '0'), &value)) {
            return fail(j, "number too large");
        }
        j->at++;
    }
    if (*start == '0' && j->at - start > 1) {
        return fail(j, "number with a leading zero");
    }
    if (j->at < j->end && (*j->at == '.' || *j->at == 'e' || *j->at == 'E')) {
        return fail(j, "expected a whole number");
    }
    *out = value;
    return true;
}
