/* A configuration: values of the keys of config_table.c. */
#include "base/config.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct xonce_config {
    char **text; /* one per key of the table; NULL = the default holds */
};

enum { MAX_VALUE = 64 * 1024 };

xonce_status xonce_config_new(xonce_config **out)
{
    xonce_config *c = xo_calloc(1, sizeof(*c));
    *out = NULL;
    if (c) {
        c->text = xo_calloc(xo_config_count, sizeof(*c->text));
    }
    if (!c || !c->text) {
        free(c);
        return xo_nomem();
    }
    *out = c;
    return XONCE_OK;
}

void xonce_config_free(xonce_config *c)
{
    if (c) {
        for (size_t i = 0; i < xo_config_count; i++) {
            xo_wipe_free(c->text[i]);
        }
        free(c->text);
        free(c);
    }
}

/* aliases: "a|b" */
static int is_alias(const char *aliases, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = aliases; p && *p;) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, name, n) == 0) {
            return 1;
        }
        p += n + (p[n] == '|');
    }
    return 0;
}

/* The position in the table; xo_config_count when there is none. */
static size_t find(const char *name, int *by_alias)
{
    for (size_t i = 0; i < xo_config_count; i++) {
        if (strcmp(xo_config_keys[i].key, name) == 0) {
            *by_alias = 0;
            return i;
        }
        if (is_alias(xo_config_keys[i].alias, name)) {
            *by_alias = 1;
            return i;
        }
    }
    return xo_config_count;
}

enum { MOST_NAMES = 256 };

/* Each of "a|b" for itself. */
static size_t add_names(xo_arena *memory, const char *words, const char **names, size_t n)
{
    for (const char *p = words; p && *p && n < MOST_NAMES;) {
        size_t len = strcspn(p, "|");
        names[n] = xo_arena_dup(memory, p, len);
        n += names[n] != NULL;
        p += len + (p[len] == '|');
    }
    return n;
}

static xonce_status unknown_key(const char *name)
{
    const char *elsewhere = xo_config_elsewhere(name);
    if (elsewhere) {
        return xo_fail(XONCE_E_INVALID, "%s is no setting here: %s", name, elsewhere);
    }
    xo_arena memory = {0};
    const char *names[MOST_NAMES], *near;
    size_t n = 0;
    for (size_t i = 0; i < xo_config_count; i++) {
        n = add_names(&memory, xo_config_keys[i].key, names, n);
        n = add_names(&memory, xo_config_keys[i].alias, names, n);
    }
    near = xo_nearest(name, names, n);
    xonce_status st = near ? xo_fail(XONCE_E_INVALID, "there is no setting \"%.60s\"; did you mean \"%s\"?", name, near)
                           : xo_fail(XONCE_E_INVALID, "there is no setting \"%.60s\"; xonce.conf(5) lists them", name);
    xo_arena_free(&memory);
    return st;
}

static xonce_status parse_integer(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || text[0] == ' ' || text[0] == '+') {
        return xo_fail(XONCE_E_INVALID, "\"%.40s\" is not a whole number", text);
    }
    *out = v;
    return XONCE_OK;
}

static xonce_status parse_size(const char *text, const char *unit, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    const char *suffix = *end ? end : unit ? unit : "";
    int shift = suffix[0] == 0 ? 0 : strchr("kK", suffix[0]) ? 10 : suffix[0] == 'M' ? 20 : suffix[0] == 'G' ? 30 : -1;
    int64_t n;
    if (end == text || text[0] < '0' || text[0] > '9' || errno || shift < 0 || (suffix[0] && suffix[1]) ||
        __builtin_mul_overflow((int64_t)v, INT64_C(1) << shift, &n)) {
        return xo_fail(XONCE_E_INVALID, "\"%.40s\" is no size; write a whole number with k, M or G, as 512M", text);
    }
    *out = n;
    return XONCE_OK;
}

static xonce_status parse_bool(const char *text, int64_t *out)
{
    *out = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 || strcmp(text, "on") == 0 || strcmp(text, "1") == 0;
    if (*out || strcmp(text, "no") == 0 || strcmp(text, "false") == 0 || strcmp(text, "off") == 0 || strcmp(text, "0") == 0) {
        return XONCE_OK;
    }
    return xo_fail(XONCE_E_INVALID, "\"%.40s\" is neither yes nor no", text);
}

static xonce_status parse_choice(const xo_config_key *k, const char *text, int64_t *out)
{
    int64_t index = 0;
    for (const char *p = k->choices; *p; index++) {
        size_t n = strcspn(p, "|");
        if (strlen(text) == n && memcmp(p, text, n) == 0) {
            *out = index;
            return XONCE_OK;
        }
        p += n + (p[n] == '|');
    }
    return xo_fail(XONCE_E_INVALID, "\"%.40s\" is none of %s", text, k->choices);
}

/* "HH:MM" up to `limit` minutes, which 24:00 is; NULL when it is none. */
static const char *parse_minute(const char *p, int limit, int *out)
{
    for (int i = 0; i < 5; i++) {
        if (i == 2 ? p[i] != ':' : p[i] < '0' || p[i] > '9') {
            return NULL;
        }
    }
    int hour = (p[0] - '0') * 10 + p[1] - '0', minute = (p[3] - '0') * 10 + p[4] - '0';
    *out = hour * 60 + minute;
    return minute < 60 && *out <= limit ? p + 5 : NULL;
}

enum { DAY_MINUTES = 1440, WINDOW_BASE = 10000 };

/* from * 10000 + to, in minutes; never 0. */
static xonce_status parse_window(const char *text, int64_t *out)
{
    int from = 0, to = 0;
    const char *p = parse_minute(text, DAY_MINUTES - 1, &from);
    p = p && *p == '-' ? parse_minute(p + 1, DAY_MINUTES, &to) : NULL;
    if (!p || *p) {
        return xo_fail(XONCE_E_INVALID, "\"%.40s\" is no window; write two times of day in UTC, as 01:30-05:00 or 22:00-04:00", text);
    }
    if (from == to) {
        return xo_fail(XONCE_E_INVALID, "the window \"%.40s\" is empty; leave it unset for the whole day", text);
    }
    *out = (int64_t)from * WINDOW_BASE + to;
    return XONCE_OK;
}

int xo_window_open(int64_t window, int64_t now_ms)
{
    int64_t from = window / WINDOW_BASE, to = window % WINDOW_BASE, now = now_ms / 60000 % DAY_MINUTES;
    if (window == 0) {
        return 1;
    }
    return from < to ? from <= now && now < to : from <= now || now < to;
}

static void show(const xo_config_key *k, int64_t v, char *out, size_t size)
{
    if (k->type == XO_T_DURATION) {
        xo_format_duration(v, out, size);
    } else if (k->type == XO_T_SIZE && v % 1048576 == 0) {
        (void)snprintf(out, size, "%" PRId64 "M", v / 1048576);
    } else {
        (void)snprintf(out, size, "%" PRId64, v);
    }
}

static xonce_status parse_value(const xo_config_key *k, int by_alias, const char *text, int64_t *out)
{
    const char *unit = by_alias && k->alias_unit ? k->alias_unit : k->unit;
    xonce_status rc = XONCE_OK;
    switch (k->type) {
    case XO_T_TEXT: *out = 0; return XONCE_OK;
    case XO_T_BOOL: return parse_bool(text, out);
    case XO_T_CHOICE: return parse_choice(k, text, out);
    case XO_T_WINDOW: return parse_window(text, out);
    case XO_T_INT: rc = parse_integer(text, out); break;
    case XO_T_DURATION: rc = xo_parse_duration(text, unit, out); break;
    case XO_T_SIZE: rc = parse_size(text, unit, out); break;
    }
    if (rc == XONCE_OK && (*out < k->min || *out > k->max)) {
        char lo[32], hi[32];
        show(k, k->min, lo, sizeof(lo));
        show(k, k->max, hi, sizeof(hi));
        rc = xo_fail(XONCE_E_INVALID, "%.40s is out of range; it may be %s to %s", text, lo, hi);
    }
    return rc;
}

xonce_status xonce_config_set(xonce_config *c, const char *key, const char *value)
{
    int by_alias = 0;
    if (!c || !key || !value) {
        return xo_fail(XONCE_E_INVALID, "xonce_config_set: configuration, key and value must not be NULL");
    }
    size_t i = find(key, &by_alias);
    if (i == xo_config_count) {
        return unknown_key(key);
    }
    const xo_config_key *k = &xo_config_keys[i];
    int64_t v = 0;
    char *text = NULL;
    if (strlen(value) > MAX_VALUE) {
        return xo_fail(XONCE_E_INVALID, "%s: the value is longer than %d bytes", key, MAX_VALUE);
    }
    if (parse_value(k, by_alias, value, &v) != XONCE_OK) {
        return xo_error_context("%s", key);
    }
    /* numbers are kept in the key's own unit, whatever name they came under */
    if (k->type == XO_T_DURATION) {
        text = xo_printf("%" PRId64 "ms", v);
    } else if (k->type == XO_T_SIZE) {
        text = xo_printf("%" PRId64, v);
    } else {
        text = xo_strdup(value);
    }
    if (!text) {
        return xo_nomem();
    }
    xo_wipe_free(c->text[i]);
    c->text[i] = text;
    return XONCE_OK;
}

xonce_status xo_config_copy(xonce_config **out, const xonce_config *cfg)
{
    xonce_config *c;
    xonce_status rc = xonce_config_new(&c);
    *out = NULL;
    if (rc != XONCE_OK) {
        return rc;
    }
    for (size_t i = 0; cfg && i < xo_config_count; i++) {
        c->text[i] = xo_strdup(cfg->text[i]);
        if (cfg->text[i] && !c->text[i]) {
            xonce_config_free(c);
            return xo_nomem();
        }
    }
    *out = c;
    return XONCE_OK;
}

xonce_status xo_config_overlay(xonce_config **out, const xonce_config *under, const xonce_config *over)
{
    xonce_status st = xo_config_copy(out, under);
    for (size_t i = 0; over && i < xo_config_count && st == XONCE_OK; i++) {
        st = over->text[i] ? xo_config_take(*out, over, xo_config_keys[i].key) : XONCE_OK;
    }
    if (st != XONCE_OK) {
        xonce_config_free(*out);
        *out = NULL;
    }
    return st;
}

const char *xo_config_text(const xonce_config *cfg, const char *key)
{
    int by_alias;
    size_t i = find(key, &by_alias);
    if (i == xo_config_count) {
        return NULL;
    }
    return cfg && cfg->text[i] ? cfg->text[i] : xo_config_keys[i].fallback;
}

int64_t xo_config_int(const xonce_config *cfg, const char *key)
{
    int by_alias;
    int64_t v = 0;
    size_t i = find(key, &by_alias);
    const char *text = xo_config_text(cfg, key);
    if (!text || parse_value(&xo_config_keys[i], 0, text, &v) != XONCE_OK) {
        return 0;
    }
    return v;
}

int xo_config_is_set(const xonce_config *cfg, const char *key)
{
    int by_alias;
    size_t i = find(key, &by_alias);
    return cfg && i < xo_config_count && cfg->text[i] != NULL;
}

void xo_config_swap(xonce_config *a, xonce_config *b)
{
    char **text = a->text;
    a->text = b->text;
    b->text = text;
}

xonce_status xo_config_take(xonce_config *c, const xonce_config *from, const char *key)
{
    int by_alias;
    size_t i = find(key, &by_alias);
    if (i == xo_config_count) {
        return unknown_key(key);
    }
    const char *text = from ? from->text[i] : NULL;
    char *copy = xo_strdup(text);
    if (text && !copy) {
        return xo_nomem();
    }
    xo_wipe_free(c->text[i]);
    c->text[i] = copy;
    return XONCE_OK;
}
