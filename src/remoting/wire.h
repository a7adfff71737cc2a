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

static inline uint8_t xo_get8(xo_reader *r)
{
    const unsigned char *p = (const unsigned char *)xo_take(r, 1);
    return p ? p[0] : 0;
}

static inline uint16_t xo_get16(xo_reader *r)
{
    const unsigned char *p = (const unsigned char *)xo_take(r, 2);
    return (uint16_t)(p ? p[0] << 8 | p[1] : 0);
}

static inline uint32_t xo_get32(xo_reader *r)
{
    const unsigned char *p = (const unsigned char *)xo_take(r, 4);
    return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline uint64_t xo_get64(xo_reader *r)
{
    const unsigned char *p = (const unsigned char *)xo_take(r, 8);
    return p ? (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 | (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | p[7]
             : 0;
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
