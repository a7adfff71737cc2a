/* Big-endian numbers: reading within bounds with sticky failure, appending to a buffer. */
#ifndef XO_WIRE_H
#define XO_WIRE_H
#include "base/buf.h"

typedef struct {
    const char *p;
    size_t n, at;
    int failed; /* something was asked for that is not there */
} xo_reader;

static inline xo_reader xo_reader_of(const void *p, size_t n)
{
    return (xo_reader){.p = p, .n = n};
}

/* The next n bytes, NULL when there are fewer. */
static inline const char *xo_take(xo_reader *r, size_t n)
{
    if (r->failed || n > r->n - r->at) {
        r->failed = 1;
        return NULL;
    }
    const char *p = r->p + r->at;
    r->at += n;
    return p;
}

static inline uint64_t xo_get(xo_reader *r, size_t n)
{
    const char *p = xo_take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++) {
        v = v << 8 | (unsigned char)p[i];
    }
    return v;
}

static inline uint8_t xo_get8(xo_reader *r)
{
    return (uint8_t)xo_get(r, 1);
}

static inline uint16_t xo_get16(xo_reader *r)
{
    return (uint16_t)xo_get(r, 2);
}

static inline uint32_t xo_get32(xo_reader *r)
{
    return (uint32_t)xo_get(r, 4);
}

static inline uint64_t xo_get64(xo_reader *r)
{
    return xo_get(r, 8);
}

static inline void xo_set32(char *p, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8) {
        p[i] = (char)(unsigned char)(v & 0xff);
    }
}

static inline void xo_put32(xo_buf *b, uint32_t v)
{
    char t[4];
    xo_set32(t, v);
    xo_buf_add(b, t, 4);
}

static inline void xo_put16(xo_buf *b, uint16_t v)
{
    char t[4];
    xo_set32(t, v);
    xo_buf_add(b, t + 2, 2);
}

static inline void xo_put64(xo_buf *b, uint64_t v)
{
    xo_put32(b, (uint32_t)(v >> 32));
    xo_put32(b, (uint32_t)v);
}
#endif
