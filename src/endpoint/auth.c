/* The checks of a request's head, in the order of the protocol: authorization, date, key, signature, age, token, digest. */
#include "base/text.h"
#include "endpoint/request.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEADERS_MAX = 64, EXPIRES_MS = 15 * 60 * 1000 };

static const char *header(const xo_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

typedef struct {
    xo_header list[HEADERS_MAX];
    size_t n;
} headers;

static enum MHD_Result collect(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    headers *h = arg;
    (void)kind;
    int signed_one = strncasecmp(name, "x-mq-", 5) == 0 || strcasecmp(name, "content-md5") == 0 || strcasecmp(name, "content-type") == 0 ||
                     strcasecmp(name, "date") == 0;
    if (signed_one && h->n < HEADERS_MAX)
        h->list[h->n++] = (xo_header){name, value ? value : ""};
    return MHD_YES;
}

static xo_refusal check_signature(const xo_request *r, const char *signature)
{
    headers h = {.n = 0};
    char *text = NULL, expected[29];
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, collect, &h);
    if (xo_string_to_sign(&text, r->method_text, r->target, h.list, h.n) != XONCE_OK)
        return XO_INTERNAL_ERROR;
    xonce_status st = xo_sign(expected, r->ep->credentials.access_key_secret, text);
    free(text);
    if (st != XONCE_OK)
        return XO_INTERNAL_ERROR;
    size_t n = strcspn(signature, " \t");
    char given[29] = "";
    if (n < sizeof given)
        memcpy(given, signature, n);
    return n < sizeof given && xo_equal_secret(expected, given) ? XO_NO_REFUSAL : XO_BAD_SIGNATURE;
}

/* Temporary credentials are good only together with their token. */
static xo_refusal check_token(const xo_request *r)
{
    const char *wanted = r->ep->credentials.security_token, *given = header(r, "security-token");
    if (!wanted)
        return XO_NO_REFUSAL;
    if (!given)
        return XO_INVALID_ACCESS_KEY;
    return xo_equal_secret(wanted, given) ? XO_NO_REFUSAL : XO_ACCESS_DENIED;
}

xo_refusal xo_auth_check(xo_request *r)
{
    if (!r->ep->check)
        return XO_NO_REFUSAL;
    const char *authorization = header(r, "Authorization"), *date = header(r, "Date"), *signature;
    char id[256];
    int64_t then;
    if (!authorization)
        return XO_MISSING_AUTHORIZATION;
    if (xo_parse_authorization(authorization, id, sizeof id, &signature) != XONCE_OK)
        return XO_INVALID_AUTHORIZATION;
    if (!date)
        return XO_MISSING_DATE;
    if (xo_parse_http_date(date, &then) != XONCE_OK)
        return XO_INVALID_DATE;
    if (!xo_equal_secret(r->ep->credentials.access_key_id, id))
        return XO_INVALID_ACCESS_KEY;
    xo_refusal why = check_signature(r, signature);
    if (why == XO_NO_REFUSAL)
        why = check_token(r);
    int64_t age = xo_engine_now(r->ep->engine) - then;
    if (why == XO_NO_REFUSAL && (age > EXPIRES_MS || age < -EXPIRES_MS))
        why = XO_TIME_EXPIRED;
    return why;
}

/* Clients send the base64 of the hex digits, RFC 1864 says of the bytes. */
xo_refusal xo_digest_check(xo_request *r)
{
    const char *given = header(r, "Content-MD5");
    if (!given)
        return XO_NO_REFUSAL;
    unsigned char md5[16];
    char hex[33];
    if (xo_md5(r->body.p ? r->body.p : "", r->body.len, md5) != 0)
        return XO_INTERNAL_ERROR;
    xo_hex(hex, md5, sizeof md5, 0);
    char *of_hex = xo_base64(hex, 32), *of_bytes = xo_base64(md5, sizeof md5);
    xo_refusal why = !of_hex || !of_bytes ? XO_INTERNAL_ERROR : strcmp(given, of_hex) == 0 || strcmp(given, of_bytes) == 0 ? XO_NO_REFUSAL : XO_INVALID_DIGEST;
    free(of_hex);
    free(of_bytes);
    return why;
}
