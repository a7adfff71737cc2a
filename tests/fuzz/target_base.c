/* Fuzz targets: settings, URIs, small texts, and the identity of a message. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include "message/message.h"
#include "tests/fuzz/targets.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- settings ---- */

static int choices(const xo_config_key *k)
{
    int n = 1;
    for (const char *p = k->choices; *p; p++) {
        n += *p == '|';
    }
    return n;
}

/* A value that was taken is in range, and its text means the same when it is set again. */
static void check_settings(xonce_config *c)
{
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        int64_t v = xo_config_int(c, k->key);
        if (!xo_config_is_set(c, k->key)) {
            continue;
        }
        if (k->type == XO_T_CHOICE) {
            PROMISE(v >= 0 && v < choices(k));
        } else if (k->type == XO_T_BOOL) {
            PROMISE(v == 0 || v == 1);
        } else if (k->type != XO_T_TEXT) {
            PROMISE(v >= k->min && v <= k->max);
        }
        char *text = xo_strdup(xo_config_text(c, k->key));
        PROMISE(text && xonce_config_set(c, k->key, text) == XONCE_OK && xo_config_int(c, k->key) == v);
        PROMISE(strcmp(text, xo_config_text(c, k->key)) == 0);
        free(text);
    }
}

static xonce_status on_section(const char *kind, const char *name, const char *key, const char *value, void *arg)
{
    PROMISE(kind[0] && name && !key == !value && arg);
    return key && strlen(key) + strlen(value) > 200 ? xo_fail(XONCE_E_INVALID, "too long for this test") : XONCE_OK;
}

/* Sections change nothing about the settings in front of them. */
static void check_sections(const char *path, const xonce_config *passed)
{
    xonce_config *c = NULL;
    int arg = 0;
    PROMISE(xonce_config_new(&c) == XONCE_OK);
    int ok = xo_config_load_sections(c, path, on_section, &arg) == XONCE_OK;
    for (size_t i = 0; i < xo_config_count; i++) {
        const char *key = xo_config_keys[i].key;
        PROMISE(xo_config_is_set(c, key) == (ok && xo_config_is_set(passed, key)));
    }
    xonce_config_free(c);
}

void fuzz_config(const uint8_t *p, size_t n)
{
    char path[64];
    xonce_config *c = NULL;
    int fd = fuzz_file(p, n, path);
    PROMISE(fd >= 0 && xonce_config_new(&c) == XONCE_OK);
    if (xonce_config_load(c, path) == XONCE_OK) {
        check_settings(c);
        check_sections(path, c);
    } else {
        PROMISE(xonce_error_last()->text[0]);
        for (size_t i = 0; i < xo_config_count; i++) {
            PROMISE(!xo_config_is_set(c, xo_config_keys[i].key)); /* unchanged after an error */
        }
    }
    xonce_config_free(c);
    close(fd);
}

/* "key=value", or the number of a key as one byte and its value. */
void fuzz_setting(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n), *eq = strchr(s, '=');
    xonce_config *c = NULL;
    PROMISE(xonce_config_new(&c) == XONCE_OK);
    if (eq) {
        *eq = 0;
    }
    if (n && p[0] < xo_config_count) {
        (void)xonce_config_set(c, xo_config_keys[p[0]].key, s + 1);
    } else if (eq) {
        (void)xonce_config_set(c, s, eq + 1);
    }
    check_settings(c);
    xonce_config_free(c);
    free(s);
}

/* ---- URIs ---- */

/* A secret of some length without a '*', which stands in the first n bytes of the text as it is with these marks around it, and nowhere else, is not in
   what is shown. */
static int hidden(const char *text, size_t n, const char *shown, const char *before, const char *secret, const char *after)
{
    char *whole = xo_printf("%s%s%s", before, secret, after), *found = whole ? memmem(text, n, whole, strlen(whole)) : NULL;
    const char *at = found ? found + strlen(before) : NULL;
    free(whole);
    return !at || strlen(secret) < 8 || strchr(secret, '*') || strstr(text, secret) != at || strstr(at + 1, secret) || !strstr(shown, secret);
}

/* A name with '@' may have been taken for the end of a password, and is not shown then. */
static int is_secret(const char *name)
{
    static const char *const parts[] = {"passw", "pwd", "secret", "token", "signature", "access"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcasestr(name, parts[i])) {
            return !strchr(name, '@');
        }
    }
    return 0;
}

static void check_shown(const xo_uri *u, const char *text, const char *mask)
{
    size_t front = strlen(u->scheme) + 1; /* up to the path */
    front += strncmp(text + front, "//", 2) == 0 ? 2 + strcspn(text + front + 2, "/?#") : 0;
    PROMISE(!u->password || hidden(text, front, mask, ":", u->password, "@"));
    for (size_t i = 0; i < u->nquery; i++) {
        if (is_secret(u->query[i].name)) {
            char *before = xo_printf("%s=", u->query[i].name);
            PROMISE(before && hidden(text, strlen(text), mask, before, u->query[i].value, ""));
            free(before);
        }
    }
}

void fuzz_uri(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n), *mask = xo_uri_mask(s);
    xo_uri u, shown;
    PROMISE(mask);
    if (xo_uri_parse(&u, s) == XONCE_OK) {
        PROMISE(u.scheme && u.scheme[0] && u.host && u.path && u.port >= 0 && u.port <= 65535);
        check_shown(&u, s, mask);
        if (u.password && !strchr(u.path, '@')) { /* what is shown is a URI, too */
            PROMISE(xo_uri_parse(&shown, mask) == XONCE_OK && shown.password && strcmp(shown.password, "***") == 0);
            PROMISE(strcmp(shown.user, u.user) == 0);
            xo_uri_free(&shown);
        }
        xo_uri_free(&u);
    } else {
        PROMISE(xonce_error_last()->text[0]);
    }
    free(mask);
    free(s);
}

/* ---- small texts ---- */

static void codes(const char *s, size_t n)
{
    size_t len;
    unsigned char *raw = xo_unbase64(s, n, &len);
    if (raw) {
        char *back = xo_base64(raw, len);
        PROMISE(back && strlen(back) == n && memcmp(back, s, n) == 0);
        free(back);
        free(raw);
    }
    char *encoded = xo_base64(s, n);
    raw = encoded ? xo_unbase64(encoded, strlen(encoded), &len) : NULL;
    PROMISE(raw && len == n && memcmp(raw, s, n) == 0);
    free(raw);
    free(encoded);
    free(xo_unpercent(s, n, 1, &len));
    char *escaped = xo_percent(s), *plain = escaped ? xo_unpercent(escaped, strlen(escaped), 0, &len) : NULL;
    PROMISE(plain && strcmp(plain, s) == 0);
    free(plain);
    free(escaped);
}

void fuzz_plain(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n), text[64];
    int64_t ms, again, number = 0;
    size_t bad = n;
    if (xo_parse_duration(s, "ms", &ms) == XONCE_OK) {
        xo_format_duration(ms, text, sizeof(text));
        PROMISE(ms >= 0 && xo_parse_duration(text, "ms", &again) == XONCE_OK && again == ms);
    }
    memcpy(&number, p, n < sizeof(number) ? n : sizeof(number));
    xo_format_time(number, text, sizeof(text));
    PROMISE(text[0]);
    codes(s, n);
    xo_buf b = {0};
    xo_buf_json(&b, s, n);
    PROMISE(xo_buf_status(&b) == XONCE_OK && xo_utf8_valid(b.p, b.len, NULL));
    xo_buf_free(&b);
    PROMISE(xo_utf8_valid(s, n, &bad) || (bad < n && xo_utf8_valid(s, bad, NULL)));
    free(s);
}

/* ---- identity ---- */

static void check_key(const char *key, const char *group)
{
    size_t len = strnlen(key, XO_KEY_SIZE), ngroup = strlen(group);
    PROMISE(len < XO_KEY_SIZE && len > ngroup + 1 && strcmp(key + len - ngroup, group) == 0 && key[len - ngroup - 1] == '#');
    for (size_t i = 0; i < len; i++) {
        PROMISE(key[i] >= 0x21 && key[i] <= 0x7e);
    }
}

/* One byte is the group's length, the rest the id: any id has a key that fits, and another id has another key. */
void fuzz_identity(const uint8_t *p, size_t n)
{
    static const char letters[] = "GID_0123456789-%|abcdefghijklmnopqrstuvwxyz";
    char group[129], key[XO_KEY_SIZE], again[XO_KEY_SIZE], digest[33];
    if (n < 2) {
        return;
    }
    size_t ngroup = 1 + p[0] % 128, nuniq = n - 1;
    for (size_t i = 0; i < ngroup; i++) {
        group[i] = letters[i % (sizeof(letters) - 1)];
    }
    group[ngroup] = 0;
    PROMISE(xo_check_group(group) == XONCE_OK);
    char *uniq = fuzz_bytes(p + 1, nuniq);
    PROMISE(xo_identity_key(key, uniq, nuniq, group) == XONCE_OK);
    check_key(key, group);
    PROMISE(xo_identity_key(again, uniq, nuniq, group) == XONCE_OK && strcmp(key, again) == 0);
    /* an id that looks like a key has another key, unless it is that very id */
    size_t nwritten = strlen(key) - ngroup - 1;
    PROMISE(xo_identity_key(again, key, nwritten, group) == XONCE_OK);
    PROMISE(strcmp(key, again) != 0 || (nwritten == nuniq && memcmp(key, uniq, nuniq) == 0));
    xonce_message *m;
    PROMISE(xonce_message_new(&m, "t", "i", uniq, nuniq) == XONCE_OK && xo_message_digest(m, digest) == XONCE_OK && strlen(digest) == 32);
    PROMISE(xo_identity_collision_key(again, uniq, nuniq, group, digest, "topic") == XONCE_OK);
    check_key(again, group);
    PROMISE(strcmp(key, again) != 0);
    uniq[nuniq / 2] = (char)(uniq[nuniq / 2] ^ 0x20); /* the other case, of a letter */
    PROMISE(xo_identity_key(again, uniq, nuniq, group) == XONCE_OK && strcmp(key, again) != 0);
    if (nuniq > 1) {
        uniq[nuniq / 2] = (char)(uniq[nuniq / 2] ^ 0x20);
        PROMISE(xo_identity_key(again, uniq, nuniq - 1, group) == XONCE_OK && strcmp(key, again) != 0);
    }
    xonce_message_free(m);
    free(uniq);
}
