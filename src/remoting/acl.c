/* Signatures of requests: HMAC-SHA1 over the values of all fields, in the order of their names, and the body. */
#include "base/text.h"
#include "remoting/command.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const xo_command_field *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static xonce_status digest(const xo_command *c, const char *secret, unsigned char out[20])
{
    const xo_command_field **sorted = xo_calloc(c->nfields ? c->nfields : 1, sizeof(*sorted));
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const unsigned char *)secret, strlen(secret));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = 0, len = 20;
    int have = sorted && key && ctx, good = have && EVP_DigestSignInit(ctx, NULL, EVP_sha1(), NULL, key) == 1;
    for (size_t i = 0; good && i < c->nfields; i++) {
        if (strcmp(c->fields[i].name, "Signature") != 0) {
            sorted[n++] = &c->fields[i];
        }
    }
    if (n) {
        qsort(sorted, n, sizeof(*sorted), by_name);
    }
    for (size_t i = 0; good && i < n; i++) {
        good = EVP_DigestSignUpdate(ctx, sorted[i]->value, strlen(sorted[i]->value)) == 1;
    }
    good = good && (!c->body_len || EVP_DigestSignUpdate(ctx, c->body, c->body_len) == 1) && EVP_DigestSignFinal(ctx, out, &len) == 1 && len == 20;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    free(sorted);
    if (!have) {
        return xo_nomem();
    }
    return good ? XONCE_OK : xo_fail(XONCE_E_INVALID, "the crypto library refused HMAC-SHA1, which requests are signed with");
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
