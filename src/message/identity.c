/* What makes two deliveries the same message, and how that is written into the record. */
#include "base/text.h"
#include "message/message.h"
#include <stdio.h>
#include <string.h>

enum { UNIQ_MAX = 190, GROUP_MAX = 128 };

const char *xo_message_uniq(const xonce_message *m, size_t *len)
{
    const char *uniq = m->uniq;
    if (!uniq || !*uniq) {
        uniq = xonce_message_property(m, "EXTEND_UNIQ_INFO");
    }
    if (!uniq || !*uniq) {
        uniq = xonce_message_property(m, "UNIQ_KEY");
    }
    if (!uniq || !*uniq) {
        uniq = m->id;
    }
    *len = strlen(uniq);
    return *len ? uniq : NULL;
}

xonce_status xo_check_group(const char *group)
{
    size_t n = group ? strlen(group) : 0;
    if (n == 0 || n > GROUP_MAX) {
        return xo_fail(XONCE_E_INVALID, "a consumer group has 1 to %d bytes", GROUP_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        char c = group[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '%' || c == '|')) {
            return xo_fail(XONCE_E_INVALID, "consumer group \"%s\": the byte 0x%02x at offset %zu is none of letters, digits, _ - %% |", group,
                           (unsigned)(unsigned char)c, i);
        }
    }
    return XONCE_OK;
}

static const char hashed[] = "sha256:";

/* Can uniq stand in the record as it is, with extra bytes behind it? What looks like a hashed one cannot: it could be taken for another's. */
static int is_plain(const char *uniq, size_t n, size_t ngroup, size_t extra)
{
    if (n == 0 || n > UNIQ_MAX || n + extra + 1 + ngroup >= XO_KEY_SIZE || (n >= sizeof(hashed) - 1 && memcmp(uniq, hashed, sizeof(hashed) - 1) == 0)) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)(uniq[i] - 0x21) > 0x7e - 0x21) {
            return 0;
        }
    }
    return 1;
}

/* out = uniq or its hashed form, then suffix, '#', group. */
static xonce_status write_key(char out[XO_KEY_SIZE], const char *uniq, size_t nuniq, const char *suffix, const char *group)
{
    char hash[sizeof(hashed) + 64];
    unsigned char sum[32];
    size_t ngroup = strlen(group), nsuffix = strlen(suffix);
    if (nuniq == 0 || ngroup > GROUP_MAX) {
        return xo_fail(XONCE_E_INVALID, "a message without an id cannot be claimed");
    }
    if (!is_plain(uniq, nuniq, ngroup, nsuffix)) {
        if (xo_sha256(uniq, nuniq, sum) != 0) {
            return xo_fail(XONCE_E_INVALID, "the crypto library refused SHA-256");
        }
        memcpy(hash, hashed, sizeof(hashed) - 1);
        xo_hex(hash + sizeof(hashed) - 1, sum, sizeof(sum), 0);
        uniq = hash;
        nuniq = sizeof(hashed) - 1 + 64;
    }
    memcpy(out, uniq, nuniq);
    memcpy(out + nuniq, suffix, nsuffix);
    out[nuniq + nsuffix] = '#';
    memcpy(out + nuniq + nsuffix + 1, group, ngroup + 1);
    return XONCE_OK;
}

xonce_status xo_identity_key(char out[XO_KEY_SIZE], const char *uniq, size_t nuniq, const char *group)
{
    return write_key(out, uniq, nuniq, "", group);
}

xonce_status xo_identity_collision_key(char out[XO_KEY_SIZE], const char *uniq, size_t nuniq, const char *group, const char *digest, const char *topic)
{
    char text[512], suffix[16];
    unsigned char sum[32];
    int n = snprintf(text, sizeof(text), "%s\n%s", digest, topic);
    if (n < 0 || (size_t)n >= sizeof(text) || xo_sha256(text, (size_t)n, sum) != 0) {
        return xo_fail(XONCE_E_INVALID, "digest and topic of a message cannot be made part of its id");
    }
    suffix[0] = '~';
    xo_hex(suffix + 1, sum, 6, 0);
    return write_key(out, uniq, nuniq, suffix, group);
}

xonce_status xo_message_digest(const xonce_message *m, char out[33])
{
    if (m->body_md5[0]) {
        memcpy(out, m->body_md5, sizeof(m->body_md5));
        return XONCE_OK;
    }
    unsigned char sum[16];
    if (xo_md5(m->body, m->body_len, sum) != 0) {
        return xo_fail(XONCE_E_INVALID, "the crypto library refused MD5, which message digests are made with");
    }
    xo_hex(out, sum, sizeof(sum), 1);
    return XONCE_OK;
}
