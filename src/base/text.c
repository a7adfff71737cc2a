/* Percent, hex, base64, UTF-8, digests and near words. */
#include "base/text.h"
#include "base/mem.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The length of the character at s, 0 when it is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* overlong forms, surrogates, beyond U+10FFFF */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return len;
}

int xo_utf8_valid(const char *s, size_t n, size_t *bad)
{
    for (size_t i = 0; i < n;) {
        uint64_t eight;
        if (n - i >= sizeof(eight) && (memcpy(&eight, s + i, sizeof(eight)), (eight & UINT64_C(0x8080808080808080)) == 0)) { /* ASCII, as most texts are */
            i += sizeof(eight);
            continue;
        }
        size_t len = utf8_length((const unsigned char *)s + i, n - i);
        if (len == 0) {
            if (bad) {
                *bad = i;
            }
            return 0;
        }
        i += len;
    }
    return 1;
}

void xo_hex(char *out, const void *p, size_t n, int upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *xo_base64(const void *p, size_t n)
{
    const unsigned char *b = p;
    if (n > SIZE_MAX / 2) {
        return NULL;
    }
    char *out = xo_calloc((n + 2) / 3 * 4 + 1, 1), *o = out;
    if (!out) {
        return NULL;
    }
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)b[i] << 16 | (i + 1 < n ? (unsigned)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);
        *o++ = alphabet[v >> 18];
        *o++ = alphabet[v >> 12 & 63];
        *o++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
        *o++ = i + 2 < n ? alphabet[v & 63] : '=';
    }
    return out;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

unsigned char *xo_unbase64(const char *s, size_t n, size_t *len)
{
    if (n % 4 != 0) {
        return NULL;
    }
    size_t pad = n && s[n - 1] == '=' ? (s[n - 2] == '=' ? 2 : 1) : 0;
    unsigned char *out = xo_calloc(n / 4 * 3 + 1, 1);
    size_t o = 0;
    for (size_t i = 0; out && i < n; i += 4) {
        size_t digits = i + 4 == n ? 4 - pad : 4;
        unsigned v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k < digits ? base64_digit(s[i + k]) : 0;
            if (d < 0) {
                free(out);
                return NULL;
            }
            v = v << 6 | (unsigned)d;
        }
        /* bits that padding leaves over must be zero: one text for one value */
        if ((digits == 2 && v & 0xffff) || (digits == 3 && v & 0xff)) {
            free(out);
            return NULL;
        }
        for (size_t k = 0; k + 1 < digits; k++) {
            out[o++] = (unsigned char)(v >> (16 - 8 * k));
        }
    }
    if (out) {
        *len = o;
    }
    return out;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *xo_percent(const char *s)
{
    size_t n = strlen(s);
    char *out = n < SIZE_MAX / 3 ? xo_calloc(n * 3 + 1, 1) : NULL, *o = out;
    if (!out) {
        return NULL;
    }
    for (; *s; s++) {
        char c = *s;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c)) {
            *o++ = c;
        } else {
            char hex[3];
            xo_hex(hex, &c, 1, 1);
            *o++ = '%';
            *o++ = hex[0];
            *o++ = hex[1];
        }
    }
    *o = 0;
    return out;
}

char *xo_unpercent(const char *s, size_t n, int plus_is_blank, size_t *len)
{
    char *out = n < SIZE_MAX ? xo_calloc(n + 1, 1) : NULL;
    size_t o = 0;
    for (size_t i = 0; out && i < n; i++) {
        if (s[i] == '%') {
            int whole = n - i > 2;
            int hi = whole ? hex_digit(s[i + 1]) : -1, lo = whole ? hex_digit(s[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                free(out);
                return NULL;
            }
            out[o++] = (char)(hi << 4 | lo);
            i += 2;
        } else {
            out[o++] = plus_is_blank && s[i] == '+' ? ' ' : s[i];
        }
    }
    if (out && len) {
        *len = o;
    }
    return out;
}

/* Looking an algorithm up by name costs more than a short digest, so it is done once for the process; a context is as dear, and each thread keeps one of MD5, which every message needs. */
static EVP_MD *md5, *sha256;
static EVP_MAC_CTX *hmac_sha1; /* with a key of nobody's; copied for each use */
static pthread_key_t md5_context;
static int md5_contexts; /* there is such a key */
static pthread_once_t digests_once = PTHREAD_ONCE_INIT;

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void fetch_hmac(void)
{
    char sha1[] = "SHA1";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha1, 0), OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    hmac_sha1 = mac ? EVP_MAC_CTX_new(mac) : NULL;
    if (hmac_sha1 && EVP_MAC_init(hmac_sha1, (const unsigned char *)"", 0, params) != 1) {
        EVP_MAC_CTX_free(hmac_sha1);
        hmac_sha1 = NULL;
    }
    EVP_MAC_free(mac);
}

static void fetch_digests(void)
{
    fetch_hmac();
    md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    md5_contexts = pthread_key_create(&md5_context, free_context) == 0;
}

/* NULL: none can be kept. */
static EVP_MD_CTX *kept_context(void)
{
    EVP_MD_CTX *c = md5_contexts ? pthread_getspecific(md5_context) : NULL;
    if (!c && md5_contexts && (c = EVP_MD_CTX_new()) && pthread_setspecific(md5_context, c) != 0) {
        EVP_MD_CTX_free(c);
        c = NULL;
    }
    return c;
}

static int digest(int which, const void *p, size_t n, unsigned char *out)
{
    (void)pthread_once(&digests_once, fetch_digests);
    EVP_MD *md = which == 5 ? md5 : sha256;
    EVP_MD_CTX *kept = which == 5 && md ? kept_context() : NULL;
    const void *bytes = n ? p : "";
    if (kept) {
        return EVP_DigestInit_ex2(kept, md, NULL) == 1 && EVP_DigestUpdate(kept, bytes, n) == 1 && EVP_DigestFinal_ex(kept, out, NULL) == 1 ? 0 : -1;
    }
    return md && EVP_Digest(bytes, n, out, NULL, md, NULL) == 1 ? 0 : -1;
}

int xo_md5(const void *p, size_t n, unsigned char out[16])
{
    return digest(5, p, n, out);
}

int xo_sha256(const void *p, size_t n, unsigned char out[32])
{
    return digest(256, p, n, out);
}

int xo_hmac_sha1_parts(const void *key, size_t nkey, const xo_part *parts, size_t n, unsigned char out[20])
{
    size_t len = 0;
    (void)pthread_once(&digests_once, fetch_digests);
    EVP_MAC_CTX *c = hmac_sha1 ? EVP_MAC_CTX_dup(hmac_sha1) : NULL;
    int good = c && EVP_MAC_init(c, key, nkey, NULL) == 1;
    for (size_t i = 0; good && i < n; i++) {
        good = !parts[i].n || EVP_MAC_update(c, parts[i].p, parts[i].n) == 1;
    }
    good = good && EVP_MAC_final(c, out, &len, 20) == 1 && len == 20;
    EVP_MAC_CTX_free(c);
    return good ? 0 : -1;
}

int xo_hmac_sha1(const void *key, size_t nkey, const void *p, size_t n, unsigned char out[20])
{
    const xo_part all = {p, n};
    return xo_hmac_sha1_parts(key, nkey, &all, 1, out);
}

int xo_equal_secret(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    unsigned char differ = na != nb;
    for (size_t i = 0; i < na; i++) {
        differ |= (unsigned char)((unsigned char)a[i] ^ (unsigned char)b[nb ? i % nb : 0]);
    }
    return differ == 0;
}

/* Insertions, deletions, replacements and swaps of neighbours, case ignored; words of up to 63 bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), row[3][64];
    if (na > 63 || nb > 63) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[0][j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            int same = strncasecmp(a + i - 1, b + j - 1, 1) == 0;
            size_t best = up[j - 1] + !same;
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && strncasecmp(a + i - 1, b + j - 2, 1) == 0 && strncasecmp(a + i - 2, b + j - 1, 1) == 0 &&
                up2[j - 2] + 1 < best) {
                best = up2[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

const char *xo_nearest(const char *word, const char *const *words, size_t n)
{
    const char *found = NULL;
    size_t len = strlen(word), best = len < 4 ? 1 : len < 8 ? 2 : 3;
    if (len == 0) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        size_t d = words[i] ? distance(word, words[i]) : SIZE_MAX;
        if (d < best + (found == NULL)) {
            best = d;
            found = words[i];
        }
    }
    for (size_t i = 0; !found && len >= 3 && i < n; i++) {
        if (words[i] && strncasecmp(words[i], word, len) == 0) {
            found = words[i];
        }
    }
    return found;
}
