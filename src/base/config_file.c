/* Configuration out of files and the environment. */
#include "base/buf.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 20 };

/* ---- files ---- */

static xonce_status read_all(FILE *f, const char *path, xo_buf *b)
{
    char chunk[4096];
    size_t n;
    b->max = MAX_FILE;
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && !b->failed) {
        xo_buf_add(b, chunk, n);
    }
    xo_wipe(chunk, sizeof(chunk));
    if (ferror(f)) {
        return xo_fail(XONCE_E_INVALID, "%s: cannot be read: %s", path, strerror(errno));
    }
    if (xo_buf_status(b) != XONCE_OK) {
        return xo_error_context("%s", path);
    }
    if (b->p && memchr(b->p, 0, b->len)) {
        return xo_fail(XONCE_E_INVALID, "%s: holds a zero byte; this is no settings file", path);
    }
    return XONCE_OK;
}

static const char *trim(const char *p, const char **end)
{
    while (p < *end && strchr(" \t\r", *p)) {
        p++;
    }
    while (*end > p && strchr(" \t\r", (*end)[-1])) {
        (*end)--;
    }
    return p;
}

/* Replaces ${NAME}. What a variable holds is taken as it is. */
static xonce_status expand(xo_buf *out, const char *p, const char *end)
{
    while (p < end) {
        const char *close = NULL;
        if (p + 1 < end && p[0] == '$' && p[1] == '{') {
            close = memchr(p, '}', (size_t)(end - p));
            if (!close) {
                return xo_fail(XONCE_E_INVALID, "\"${\" has no \"}\"");
            }
        }
        if (!close) {
            xo_buf_char(out, *p++);
            continue;
        }
        char name[128];
        size_t n = (size_t)(close - p) - 2;
        if (n == 0 || n >= sizeof(name)) {
            return xo_fail(XONCE_E_INVALID, "\"${...}\" needs a variable's name of up to 127 bytes");
        }
        memcpy(name, p + 2, n);
        name[n] = 0;
        const char *value = getenv(name);
        if (!value) {
            return xo_fail(XONCE_E_INVALID, "the environment variable %s is not set", name);
        }
        xo_buf_str(out, value);
        p = close + 1;
    }
    return xo_buf_status(out);
}

/* What a file is read into, and where the reading is. */
typedef struct {
    xonce_config *c;
    xo_section_fn fn;
    void *arg;
    char *kind, *name; /* of the section; NULL in front of the first */
} reading;

/* '#' starts a comment where a word could start, so that it may stand inside a value. */
static const char *before_comment(const char *p, const char *end)
{
    for (const char *q = p; q < end; q++) {
        if (*q == '#' && (q == p || q[-1] == ' ' || q[-1] == '\t')) {
            return q;
        }
    }
    return end;
}

static int is_section(const char *kind)
{
    return strcmp(kind, "consume") == 0 || strcmp(kind, "subscription") == 0 || strcmp(kind, "store") == 0;
}

/* [KIND] or [KIND NAME]; p is behind the bracket. */
static xonce_status begin_section(reading *r, const char *p, const char *end)
{
    static const char wanted[] = "expected [consume], [subscription NAME] or [store NAME]";
    if (p == end || end[-1] != ']') {
        return xo_fail(XONCE_E_INVALID, "%s", wanted);
    }
    end--;
    p = trim(p, &end);
    size_t n = 0;
    while (p + n < end && p[n] != ' ' && p[n] != '\t') {
        n++;
    }
    free(r->kind);
    free(r->name);
    r->kind = xo_memdup0(p, n);
    p = trim(p + n, &end);
    r->name = xo_memdup0(p, (size_t)(end - p));
    if (!r->kind || !r->name) {
        return xo_nomem();
    }
    if (!is_section(r->kind) || (strcmp(r->kind, "consume") == 0) != (r->name[0] == 0)) {
        return xo_fail(XONCE_E_INVALID, "%s", wanted);
    }
    return r->fn ? r->fn(r->kind, r->name, NULL, NULL, r->arg) : XONCE_OK;
}

static xonce_status set_value(reading *r, const char *name, const char *v, const char *end)
{
    xo_buf value = {0};
    if (r->kind && !r->fn) {
        return XONCE_OK;
    }
    xonce_status st = expand(&value, v, end);
    char *text = st == XONCE_OK ? xo_buf_take(&value) : NULL;
    if (st == XONCE_OK && !text) {
        st = xo_nomem();
    }
    if (st == XONCE_OK) {
        st = r->kind ? r->fn(r->kind, r->name, name, text, r->arg) : xonce_config_set(r->c, name, text);
    }
    xo_buf_free(&value);
    xo_wipe_free(text);
    return st;
}

static xonce_status set_line(reading *r, const char *p, const char *end)
{
    end = before_comment(p, end);
    p = trim(p, &end);
    if (p == end) {
        return XONCE_OK;
    }
    if (*p == '[') {
        return begin_section(r, p + 1, end);
    }
    const char *eq = memchr(p, '=', (size_t)(end - p)), *name_end = eq;
    if (!eq) {
        return xo_fail(XONCE_E_INVALID, "expected \"key = value\"");
    }
    p = trim(p, &name_end);
    char *name = xo_memdup0(p, (size_t)(name_end - p));
    xonce_status st = name ? set_value(r, name, trim(eq + 1, &end), end) : xo_nomem();
    free(name);
    return st;
}

/* How many bytes a line has, with those that it goes on in: in a section, one that ends in a backslash, whose place a blank takes. */
static size_t whole_line(char *p, int goes_on, int *lines)
{
    size_t n = strcspn(p, "\n");
    *lines = 1;
    while (goes_on && n && p[n] == '\n') {
        size_t last = n - (n > 1 && p[n - 1] == '\r');
        if (!last || p[last - 1] != '\\') {
            break;
        }
        memset(p + last - 1, ' ', n - last + 2);
        n += strcspn(p + n, "\n");
        ++*lines;
    }
    return n;
}

static xonce_status set_lines(reading *r, const char *path, char *p)
{
    int lines;
    for (int line = 1; *p; line += lines) {
        size_t n = whole_line(p, r->kind != NULL, &lines);
        if (set_line(r, p, p + n) != XONCE_OK) {
            return xo_error_context("%s:%d", path, line);
        }
        p += n + (p[n] == '\n');
    }
    return XONCE_OK;
}

xonce_status xo_config_load_sections(xonce_config *c, const char *path, xo_section_fn fn, void *arg)
{
    reading r = {.fn = fn, .arg = arg};
    xo_buf b = {0};
    FILE *f = fopen(path, "re");
    if (!f) {
        return xo_fail(XONCE_E_INVALID, "%s: cannot be opened: %s", path, strerror(errno));
    }
    xonce_status rc = read_all(f, path, &b);
    (void)fclose(f);
    if (rc == XONCE_OK) {
        rc = xo_config_copy(&r.c, c);
    }
    if (rc == XONCE_OK && b.p) {
        rc = set_lines(&r, path, b.p);
    }
    if (rc == XONCE_OK) {
        xo_config_swap(c, r.c);
    }
    xonce_config_free(r.c);
    free(r.kind);
    free(r.name);
    xo_wipe(b.p, b.len);
    xo_buf_free(&b);
    return rc;
}

xonce_status xonce_config_load(xonce_config *c, const char *path)
{
    if (!c || !path) {
        return xo_fail(XONCE_E_INVALID, "xonce_config_load: configuration and path must not be NULL");
    }
    return xo_config_load_sections(c, path, NULL, NULL);
}

/* ---- environment ---- */

void xo_config_variable(const char *key, char *out, size_t size)
{
    (void)snprintf(out, size, "XONCE_%s", key);
    for (char *p = out; *p; p++) {
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p == '.' || *p == '-' ? '_' : *p;
    }
}

xonce_status xonce_config_env(xonce_config *c)
{
    xonce_config *next = NULL;
    if (!c) {
        return xo_fail(XONCE_E_INVALID, "xonce_config_env: configuration must not be NULL");
    }
    xonce_status st = xo_config_copy(&next, c);
    for (size_t i = 0; st == XONCE_OK && i < xo_config_count; i++) {
        char name[XO_CONFIG_NAME];
        xo_config_variable(xo_config_keys[i].key, name, sizeof(name));
        const char *value = getenv(name);
        if (value && *value && xonce_config_set(next, xo_config_keys[i].key, value) != XONCE_OK) {
            st = xo_error_context("environment variable %s", name);
        }
    }
    if (st == XONCE_OK) {
        xo_config_swap(c, next);
    }
    xonce_config_free(next);
    return st;
}

/* Variables of ours that are no settings: what --exec gives its programs, the store's URI, what tests use. */
static int is_other(const char *name)
{
    static const char *const others[] = {"XONCE_STORE", "XONCE_FAILPOINTS", "XONCE_ID", "XONCE_TOPIC", "XONCE_TAG", "XONCE_KEY", "XONCE_ATTEMPT"};
    static const char *const beginnings[] = {"XONCE_PROPERTY_", "XONCE_TEST_"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(name, others[i]) == 0) {
            return 1;
        }
    }
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

char *xo_config_mistyped(const char *name)
{
    enum { SHORTEST = 10 }; /* of shorter ones too many are near */
    xo_arena memory = {0};
    char *found = NULL;
    const char **names = xo_calloc(xo_config_count, sizeof(*names));
    size_t n = 0;
    int known = strncmp(name, "XONCE_", 6) != 0 || strlen(name) < SHORTEST || is_other(name);
    for (size_t i = 0; names && !known && i < xo_config_count; i++) {
        char variable[XO_CONFIG_NAME];
        xo_config_variable(xo_config_keys[i].key, variable, sizeof(variable));
        known = strcmp(variable, name) == 0;
        names[n] = xo_arena_dup(&memory, variable, strlen(variable));
        n += names[n] != NULL;
    }
    if (names && !known) {
        const char *near = xo_nearest(name, names, n);
        found = near ? xo_strdup(near) : NULL;
    }
    free(names);
    xo_arena_free(&memory);
    return found;
}
