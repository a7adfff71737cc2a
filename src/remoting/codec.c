/* Codecs of message bodies: zlib (RFC 1950), LZ4 frames, Zstandard. What comes out is bounded while it is made. */
#include "base/mem.h"
#include "remoting/record.h"
#include <limits.h>
#include <lz4frame.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* windows beyond the greatest body are of no use, and a frame may ask for more memory than that */
enum { FIRST_ROOM = 4096, WINDOW_LOG = 26 };

/* Output goes straight into the buffer; one byte over the bound may be written, to see that there is more. */
typedef struct {
    xo_buf *out;
    size_t begin, max;
} sink;

/* Makes room behind what is there; the number of bytes that may be written, 0 = failed. */
static size_t sink_room(sink *s, size_t hint)
{
    xo_buf *b = s->out;
    size_t done = b->len - s->begin, left = s->max - done + 1, want = b->cap - b->len > 1 ? b->cap - b->len - 1 : 0;
    if (want == 0) {
        want = done > hint ? done : hint;
        want = want > left ? left : want;
        char *p = b->failed || want > SIZE_MAX - b->len - 1 ? NULL : xo_grow(b->p, &b->cap, b->len + want + 1, 1);
        if (!p) {
            b->failed = 1;
            return 0;
        }
        b->p = p;
        want = b->cap - b->len - 1;
    }
    return want > left ? left : want;
}

static xonce_status too_large(const sink *s)
{
    return xo_fail(XONCE_E_PROTOCOL, "a body unpacks to more than the %zu bytes allowed", s->max);
}

static xonce_status corrupt(const char *codec, const char *why)
{
    return xo_fail(XONCE_E_PROTOCOL, "a body does not unpack: %s: %s", codec, why);
}

static int sink_full(const sink *s)
{
    return s->out->len - s->begin > s->max;
}

static xonce_status unpack_zlib(const void *p, size_t n, sink *s)
{
    z_stream z = {0};
    int rc = Z_OK;
    xonce_status st = XONCE_OK;
    if (n > UINT_MAX || inflateInit(&z) != Z_OK) {
        return n > UINT_MAX ? corrupt("zlib", "too long") : xo_nomem();
    }
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    while (st == XONCE_OK && rc != Z_STREAM_END) {
        size_t room = sink_room(s, n < SIZE_MAX / 4 && n * 4 > FIRST_ROOM ? n * 4 : FIRST_ROOM);
        uInt now = room < UINT_MAX ? (uInt)room : UINT_MAX;
        if (!room) {
            st = xo_nomem();
            break;
        }
        z.next_out = (Bytef *)s->out->p + s->out->len;
        z.avail_out = now;
        rc = inflate(&z, Z_NO_FLUSH);
        s->out->len += now - z.avail_out;
        if (sink_full(s)) {
            st = too_large(s);
        } else if (rc == Z_MEM_ERROR) {
            st = xo_nomem();
        } else if (rc != Z_OK && rc != Z_STREAM_END) {
            st = corrupt("zlib", rc == Z_BUF_ERROR ? "it ends too early" : z.msg ? z.msg : "bad data");
        }
    }
    (void)inflateEnd(&z);
    return st;
}

static xonce_status unpack_lz4(const void *p, size_t n, sink *s)
{
    LZ4F_dctx *ctx;
    const char *in = n ? p : "";
    size_t hint = 1; /* 0 at the end of a frame; another may follow */
    int stuck = 0;
    xonce_status st = XONCE_OK;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&ctx, LZ4F_VERSION))) {
        return xo_nomem();
    }
    while (st == XONCE_OK && (n > 0 || hint != 0) && !stuck) {
        size_t room = sink_room(s, FIRST_ROOM), wrote = room, took = n;
        if (!room) {
            st = xo_nomem();
            break;
        }
        hint = LZ4F_decompress(ctx, s->out->p + s->out->len, &wrote, in, &took, NULL);
        if (LZ4F_isError(hint)) {
            st = strstr(LZ4F_getErrorName(hint), "allocation") ? xo_nomem() : corrupt("LZ4", LZ4F_getErrorName(hint));
            break;
        }
        s->out->len += wrote;
        in += took;
        n -= took;
        stuck = !wrote && !took;
        if (sink_full(s)) {
            st = too_large(s);
        }
    }
    (void)LZ4F_freeDecompressionContext(ctx);
    return st == XONCE_OK && hint != 0 ? corrupt("LZ4", "it ends too early") : st;
}

static xonce_status unpack_zstd(const void *p, size_t n, sink *s)
{
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    ZSTD_inBuffer in = {n ? p : "", n, 0};
    size_t hint = 1;
    int stuck = 0;
    xonce_status st = XONCE_OK;
    if (!ctx || ZSTD_isError(ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, WINDOW_LOG))) {
        (void)ZSTD_freeDCtx(ctx);
        return xo_nomem();
    }
    while (st == XONCE_OK && (in.pos < in.size || hint != 0) && !stuck) {
        size_t room = sink_room(s, FIRST_ROOM), before = in.pos;
        if (!room) {
            st = xo_nomem();
            break;
        }
        ZSTD_outBuffer out = {s->out->p + s->out->len, room, 0};
        hint = ZSTD_decompressStream(ctx, &out, &in);
        if (ZSTD_isError(hint)) {
            st = ZSTD_getErrorCode(hint) == ZSTD_error_memory_allocation ? xo_nomem() : corrupt("Zstandard", ZSTD_getErrorName(hint));
            break;
        }
        s->out->len += out.pos;
        stuck = !out.pos && in.pos == before;
        if (sink_full(s)) {
            st = too_large(s);
        }
    }
    (void)ZSTD_freeDCtx(ctx);
    return st == XONCE_OK && hint != 0 ? corrupt("Zstandard", "it ends too early") : st;
}

xonce_status xo_codec_unpack(int sys_flag, const void *p, size_t n, size_t max, xo_buf *out)
{
    sink s = {out, out->len, max < SIZE_MAX - 1 ? max : SIZE_MAX - 2};
    xonce_status st;
    if (!(sys_flag & XO_SYS_COMPRESSED)) {
        if (n > max) {
            return too_large(&s);
        }
        xo_buf_add(out, p, n);
        return xo_buf_status(out);
    }
    switch (sys_flag & XO_SYS_CODEC) {
    case 0: /* before 5.0 there was nothing else */
    case XO_SYS_ZLIB: st = unpack_zlib(p, n, &s); break;
    case XO_SYS_LZ4: st = unpack_lz4(p, n, &s); break;
    case XO_SYS_ZSTD: st = unpack_zstd(p, n, &s); break;
    default: st = xo_fail(XONCE_E_PROTOCOL, "a body does not unpack: codec %d is not known", (sys_flag & XO_SYS_CODEC) >> 8);
    }
    if (st != XONCE_OK && !out->failed) {
        out->len = s.begin;
    }
    if (out->p) {
        out->p[out->len] = 0;
    }
    return st;
}

/* The most that packing makes of n bytes. */
static size_t bound_of(int codec, size_t n)
{
    switch (codec) {
    case XO_SYS_LZ4: return LZ4F_compressFrameBound(n, NULL);
    case XO_SYS_ZSTD: return ZSTD_compressBound(n);
    default: return compressBound((uLong)n);
    }
}

xonce_status xo_codec_pack(int codec, int level, const void *p, size_t n, xo_buf *out)
{
    if (codec != XO_SYS_LZ4 && codec != XO_SYS_ZSTD && codec != XO_SYS_ZLIB) {
        return xo_fail(XONCE_E_INVALID, "codec %d is not known", codec);
    }
    size_t bound = n <= XO_BODY_MAX ? bound_of(codec, n) : 0, packed = 0;
    if (n > XO_BODY_MAX) {
        return xo_fail(XONCE_E_INVALID, "a body of %zu bytes is too large to be packed", n);
    }
    char *to = out->failed ? NULL : xo_grow(out->p, &out->cap, out->len + bound + 1, 1);
    if (!to) {
        out->failed = 1;
        return xo_nomem();
    }
    out->p = to;
    to += out->len;
    int bad = 0;
    if (codec == XO_SYS_LZ4) {
        /* Java clients cannot read blocks that refer to the one before */
        LZ4F_preferences_t prefs = {.frameInfo = {.contentSize = n, .blockMode = LZ4F_blockIndependent}, .compressionLevel = level};
        packed = LZ4F_compressFrame(to, bound, n ? p : "", n, &prefs);
        bad = LZ4F_isError(packed) != 0;
    } else if (codec == XO_SYS_ZSTD) {
        packed = ZSTD_compress(to, bound, n ? p : "", n, level);
        bad = ZSTD_isError(packed) != 0;
    } else {
        uLongf size = bound;
        bad = compress2((Bytef *)to, &size, n ? p : (const void *)"", (uLong)n, level < -1 || level > 9 ? -1 : level) != Z_OK;
        packed = size;
    }
    if (bad) {
        *to = 0;
        return xo_fail(XONCE_E_NOMEM, "a body of %zu bytes could not be packed", n);
    }
    out->len += packed;
    out->p[out->len] = 0;
    return XONCE_OK;
}
