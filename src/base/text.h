/* Text: URIs, percent, hex, base64, UTF-8, digests (OpenSSL). */
#ifndef XO_TEXT_H
#define XO_TEXT_H
#include "base/error.h"
typedef struct {
    char *name, *value; /* decoded */
} xo_pair;
typedef struct {
    char *scheme;           /* lower case, "postgresql", "sqlite", "http" */
    char *user, *password;  /* decoded, NULL when absent */
    char *host;             /* without [ ] of IPv6; "" when absent */
    int port;               /* 0 when absent */
    char *path;             /* decoded, as written from the first '/' (or after "scheme:" when there is no "//"); "" when absent */
    xo_pair *query;         /* decoded items in order */
    size_t nquery;
} xo_uri;
/* Parses scheme:rest and scheme://[user[:password]@]host[:port][/path][?query]. The error names what is wrong and never shows the password. */
xonce_status xo_uri_parse(xo_uri *out, const char *text);
const char *xo_uri_query(const xo_uri *u, const char *name); /* NULL when absent */
void xo_uri_free(xo_uri *u);                                 /* wipes the password */
/* A copy of a URI fit for output: password and secret-looking query values become "***". Works on malformed text too. Caller frees. */
char *xo_uri_mask(const char *text);

int xo_utf8_valid(const char *s, size_t n, size_t *bad);  /* bad: offset of the first offending byte */
void xo_hex(char *out, const void *p, size_t n, int upper); /* out has 2n+1 bytes */
char *xo_base64(const void *p, size_t n);                 /* with padding; caller frees */
unsigned char *xo_unbase64(const char *s, size_t n, size_t *len); /* strict; NULL when not base64 or no memory */
char *xo_percent(const char *s);                          /* all but unreserved is escaped */
char *xo_unpercent(const char *s, size_t n, int plus_is_blank, size_t *len); /* NULL when malformed or no memory */
int xo_md5(const void *p, size_t n, unsigned char out[16]);     /* 0 = done, -1 = refused by the crypto library */
int xo_sha256(const void *p, size_t n, unsigned char out[32]);
int xo_hmac_sha1(const void *key, size_t nkey, const void *p, size_t n, unsigned char out[20]);
typedef struct {
    const void *p;
    size_t n;
} xo_part;
int xo_hmac_sha1_parts(const void *key, size_t nkey, const xo_part *parts, size_t n, unsigned char out[20]); /* of one text in n parts */
int xo_equal_secret(const char *a, const char *b);        /* constant time in the length of a */
/* Edit distance for "did you mean". NULL when nothing is near. */
const char *xo_nearest(const char *word, const char *const *words, size_t n);
#endif
