/* Signatures of requests: HMAC-SHA1 over the values of all fields, in the order of their names, and the body. */
#include "base/text.h"
#include "remoting/command.h"
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const xo_command_field *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static xonce_status digest(const xo_command *c, const char *secret, unsigned char out[20])
{
    const xo_command_field **sorted = xo_calloc(c->nfields + 1, sizeof(*sorted));
    xo_part *parts = xo_calloc(c->nfields + 1, sizeof(*parts));
    size_t n = 0;
    xonce_status st = sorted && parts ? XONCE_OK : xo_nomem();
    for (size_t i = 0; !st && i < c->nfields; i++) {
        if (strcmp(c->fields[i].name, "Signature") != 0) {
            sorted[n++] = &c->fields[i];
        }
    }
    if (n) {
        qsort(sorted, n, sizeof(*sorted), by_name);
    }
    for (size_t i = 0; i < n; i++) {
        parts[i] = (xo_part){sorted[i]->value, strlen(sorted[i]->value)};
    }
    if (!st) {
        parts[n] = (xo_part){c->body, c->body_len};
        if (xo_hmac_sha1_parts(secret, strlen(secret), parts, n + 1, out) != 0) {
            st = xo_fail(XONCE_E_INVALID, "the crypto library refused HMAC-SHA1, which requests are signed with");
        }
    }
    free(parts);
    free(sorted);
    return st;
}

xonce_status xo_acl_sign(xo_command *c, const char *access_key, const char *secret, const char *token, const char *ons_channel)
{
    unsigned char mac[20];
    if (!access_key) {
        return XONCE_OK;
    }
    if (!*access_key || !secret || !*secret) {
        return xo_fail(XONCE_E_INVALID, "requests cannot be signed: the credentials lack the key or the secret");
    }
    xo_command_set(c, "AccessKey", access_key);
    xo_command_set(c, "SecurityToken", token && *token ? token : NULL);
    xo_command_set(c, "OnsChannel", ons_channel && *ons_channel ? ons_channel : NULL);
    if (c->failed) {
        return xo_nomem();
    }
    xonce_status st = digest(c, secret, mac);
    if (st != XONCE_OK) {
        return st;
    }
    char *text = xo_base64(mac, sizeof(mac));
    xo_command_set(c, "Signature", text);
    c->failed |= !text;
    free(text);
    return c->failed ? xo_nomem() : XONCE_OK;
}
