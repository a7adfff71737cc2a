/* Coordinates of a message read from, and written into, a receipt handle of the open-source form. */
#include "proto/receipt.h"
#include "base/mem.h"
#include "base/text.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number that fills n bytes exactly; -1 when it is not one. */
static int64_t number(const char *s, size_t n)
{
    int64_t v = 0;
    if (!n || n > 19)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        int d = s[i] - '0';
        if (v > (INT64_MAX - d) / 10)
            return -1;
        v = v * 10 + d;
    }
    return v;
}

static int broker_ok(const char *s, size_t n)
{
    if (!n || n >= sizeof((xo_receipt *)0)->broker)
        return 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] >= 0x7f)
            return 0;
    return 1;
}

/* text is 8 fields between single blanks: check-point offset, pop time, invisible time, revive queue, topic type,
 * broker, queue, offset */
static int read_fields(xo_receipt *r, const char *text, size_t n)
{
    const char *field[8], *p = text, *end = text + n;
    size_t length[8];
    for (int i = 0; i < 8; i++) {
        const char *stop = i < 7 ? memchr(p, ' ', (size_t)(end - p)) : end;
        if (!stop || stop == p)
            return 0;
        field[i] = p;
        length[i] = (size_t)(stop - p);
        p = i < 7 ? stop + 1 : end;
    }
    int64_t ck = number(field[0], length[0]), revive = number(field[3], length[3]), queue = number(field[6], length[6]);
    r->pop_time = number(field[1], length[1]);
    r->invisible_ms = number(field[2], length[2]);
    r->offset = number(field[7], length[7]);
    if (ck < 0 || revive < 0 || r->pop_time < 0 || r->invisible_ms < 0 || r->offset < 0 || queue < 0 ||
        queue > INT32_MAX || !broker_ok(field[5], length[5]))
        return 0;
    r->queue = (int32_t)queue;
    memcpy(r->broker, field[5], length[5]);
    r->broker[length[5]] = 0;
    return 1;
}

int xo_receipt_read(xo_receipt *out, const char *handle)
{
    memset(out, 0, sizeof *out);
    out->queue = -1;
    out->offset = -1;
    const char *dash = handle ? strrchr(handle, '-') : NULL;
    if (!dash || dash == handle || !dash[1])
        return 0;
    size_t n = 0;
    unsigned char *text = xo_unbase64(dash + 1, strlen(dash + 1), &n);
    if (!text)
        return 0;
    xo_receipt r;
    memset(&r, 0, sizeof r);
    int known = read_fields(&r, (const char *)text, n);
    free(text);
    if (known)
        *out = r;
    return known;
}

size_t xo_decimal(char out[XO_DECIMAL_SIZE], int64_t v)
{
    char digits[XO_DECIMAL_SIZE], *p = digits + sizeof digits, *to = out;
    uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        *to++ = '-';
    size_t n = (size_t)(digits + sizeof digits - p);
    memcpy(to, p, n);
    to[n] = 0;
    return (size_t)(to - out) + n;
}

static char *add_number(char *to, int64_t v)
{
    to += xo_decimal(to, v);
    *to++ = ' ';
    return to;
}

char *xo_receipt_write(const char *message_id, int64_t ck_offset, int64_t pop_time, int64_t invisible_ms,
                       const char *broker, int32_t queue, int64_t offset)
{
    char text[8 * XO_DECIMAL_SIZE + sizeof((xo_receipt *)0)->broker], *p = text;
    size_t nid = strlen(message_id), nbroker = strlen(broker);
    if (nbroker >= sizeof((xo_receipt *)0)->broker)
        return NULL;
    p = add_number(p, ck_offset);
    p = add_number(p, pop_time);
    p = add_number(p, invisible_ms);
    p = add_number(add_number(p, 0), 0);
    memcpy(p, broker, nbroker);
    p += nbroker;
    *p++ = ' ';
    p = add_number(p, queue);
    p += xo_decimal(p, offset);
    char *encoded = xo_base64(text, (size_t)(p - text));
    size_t n = encoded ? strlen(encoded) : 0;
    char *handle = encoded ? malloc(nid + 1 + n + 1) : NULL;
    if (handle) {
        memcpy(handle, message_id, nid);
        handle[nid] = '-';
        memcpy(handle + nid + 1, encoded, n + 1);
    }
    free(encoded);
    return handle;
}
