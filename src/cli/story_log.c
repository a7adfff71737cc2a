/* What log files say about one message: lines with its id or its place, as text, logfmt or JSON. */
#include "base/clock.h"
#include "cli/story.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FILES = 1000, LINE_MAX_BYTES = 64 * 1024, MOST_LINES = 10000, NAME_MAX_BYTES = 24 };

typedef enum { TIME, LEVEL, MSG, ID, GROUP, CAUSE, REASON, TRACE, ATTEMPT, PID, TOPIC, BROKER, QUEUE, OFFSET, NAMES } name;
static const char *const names[NAMES] = {"time", "level", "msg", "id", "group", "cause", "reason", "trace_id", "attempt", "pid", "topic", "broker", "queue", "offset"};
typedef struct {
    const char *text[NAMES]; /* in the line, which is changed for it */
} parsed;

static void set(parsed *p, const char *word, size_t n, const char *value)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (strlen(names[i]) == n && memcmp(names[i], word, n) == 0) {
            p->text[i] = value;
        }
    }
}

static int hex(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef", *d = p[i] ? strchr(digits, p[i]) : NULL;
        if (!d) {
            return -1;
        }
        v = v * 16 + (int)(d - digits);
    }
    return v;
}

/* A quoted value in place; returns what is behind it, NULL when it does not end. */
static char *unquote(char *p, char **value)
{
    char *out = p + 1;
    *value = out;
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1] == 'u') {
            int v = hex(p + 2);
            if (v < 0) {
                return NULL;
            }
            *out++ = v > 0 && v < 0x80 ? (char)v : '?'; /* only control characters are written so */
            p += 5;
        } else if (*p == '\\' && p[1]) {
            p++;
            *out++ = *p == 'n' || *p == 'r' || *p == 't' ? ' ' : *p;
        } else {
            *out++ = *p;
        }
    }
    if (!*p) {
        return NULL;
    }
    *out = 0;
    return p + 1;
}

/* name=value and name="value", between whatever else the line says. */
static void parse_pairs(parsed *p, char *line)
{
    for (char *at = line; *at;) {
        size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
        if (n && n < NAME_MAX_BYTES && at[n] == '=' && (at == line || at[-1] == ' ' || at[-1] == 0)) {
            char *value = at + n + 1, *end = value;
            if (*value == '"') {
                end = unquote(value, &value);
                if (!end) {
                    return;
                }
            } else {
                end += strcspn(end, " ");
            }
            set(p, at, n, value);
            at = *end ? end + 1 : end;
            *end = 0;
        } else {
            at += n ? n : 1;
        }
    }
}

/* "TIME LEVEL area: what it says id=..." */
static void parse_text(parsed *p, char *line)
{
    char *level = strchr(line, ' '), *area = level ? strchr(level + 1, ' ') : NULL, *text = area ? strstr(area, ": ") : NULL;
    if (!text) {
        return;
    }
    parse_pairs(p, text + 2);
    char *pairs = strstr(text, " topic=");
    if (pairs) {
        *pairs = 0;
    }
    *level = *area = 0;
    p->text[TIME] = line;
    p->text[LEVEL] = level + 1;
    p->text[MSG] = text + 2;
}

static int is_it(const xo_story *s, const char *id)
{
    size_t n = strlen(id);
    return strcmp(id, s->id) == 0 || (strncmp(id, s->key, n) == 0 && s->key[n] == '#');
}

static int is_there(const xo_story_place *at, const parsed *p)
{
    return p->text[TOPIC] && p->text[BROKER] && p->text[QUEUE] && p->text[OFFSET] && strcmp(p->text[TOPIC], at->topic) == 0 && strcmp(p->text[BROKER], at->broker) == 0 &&
           strtoll(p->text[QUEUE], NULL, 10) == at->queue && strtoll(p->text[OFFSET], NULL, 10) == at->offset;
}

static void keep(xo_story *s, const parsed *p)
{
    int64_t time;
    if (!p->text[ID] || !p->text[GROUP] || !p->text[TIME] || strcmp(p->text[GROUP], s->store->group) != 0 || xo_parse_time(p->text[TIME], &time) != XONCE_OK) {
        return;
    }
    if (!(s->at ? is_there(s->at, p) : is_it(s, p->text[ID])) || s->nlines >= MOST_LINES) {
        return;
    }
    xo_story_line *lines = xo_grow(s->lines, &s->cap_lines, s->nlines + 1, sizeof(*lines));
    if (!lines) {
        s->failed = 1;
        return;
    }
    s->lines = lines;
    const char *t[NAMES];
    for (size_t i = 0; i < NAMES; i++) {
        t[i] = xo_story_text(s, p->text[i], p->text[i] ? strlen(p->text[i]) : 0);
    }
    lines[s->nlines++] = (xo_story_line){.time = time, .level = t[LEVEL], .text = t[MSG], .cause = t[CAUSE], .reason = t[REASON], .trace = t[TRACE],
                                         .attempt = t[ATTEMPT] ? strtoll(t[ATTEMPT], NULL, 10) : -1, .pid = t[PID] ? strtoll(t[PID], NULL, 10) : -1};
}

static void take_json(xo_story *s, const char *line)
{
    json_t *j = json_loads(line, 0, NULL);
    parsed p = {{0}};
    char numbers[NAMES][24];
    for (size_t i = 0; j && i < NAMES; i++) {
        const json_t *v = json_object_get(j, names[i]);
        p.text[i] = json_string_value(v);
        if (json_is_integer(v)) {
            (void)snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)json_integer_value(v));
            p.text[i] = numbers[i];
        }
    }
    keep(s, &p);
    json_decref(j);
}

static void take_line(xo_story *s, char *line, const char *part)
{
    parsed p = {{0}};
    if (!strstr(line, part)) {
        return; /* almost all of them */
    }
    if (line[0] == '{') {
        take_json(s, line);
    } else if (strncmp(line, "time=", 5) == 0) {
        parse_pairs(&p, line);
        keep(s, &p);
    } else {
        parse_text(&p, line);
        keep(s, &p);
    }
}

static void read_file(xo_story *s, FILE *f, char *line, const char *part)
{
    int rest = 0; /* of a line that is too long to be one of ours */
    while (fgets(line, LINE_MAX_BYTES, f)) {
        size_t n = strlen(line);
        int whole = n && line[n - 1] == '\n';
        if (whole) {
            line[n - 1] = 0;
        }
        if (!rest) {
            take_line(s, line, part);
        }
        rest = !whole;
    }
}

static char *nth(const char *path, int n)
{
    return n ? xo_printf("%s.%d", path, n) : xo_strdup(path);
}

/* The oldest one there is. */
static int last_number(const char *path)
{
    int n = 0;
    for (; n < MOST_FILES; n++) {
        char *file = nth(path, n + 1);
        FILE *f = file ? fopen(file, "re") : NULL;
        free(file);
        if (!f) {
            break;
        }
        (void)fclose(f);
    }
    return n;
}

xonce_status xo_story_logs(xo_story *s, const char *path)
{
    char *line = xo_calloc(LINE_MAX_BYTES, 1), *part = s->at ? xo_printf("%" PRId64, s->at->offset) : xo_strdup(s->key);
    xonce_status st = line && part ? XONCE_OK : xo_nomem();
    if (st == XONCE_OK && !s->at) {
        part[strlen(part) - strlen(s->store->group) - 1] = 0;
        part[strcspn(part, "\"\\")] = 0; /* from there on it is written otherwise */
    }
    for (int n = st == XONCE_OK ? last_number(path) : -1; st == XONCE_OK && n >= 0; n--) {
        char *file = nth(path, n);
        FILE *f = file ? fopen(file, "re") : NULL;
        if (!f && n == 0) {
            st = file ? xo_fail(XONCE_E_INVALID, "the log file %.300s cannot be read: %s", path, strerror(errno)) : xo_nomem();
        }
        if (f) {
            read_file(s, f, line, part);
            (void)fclose(f);
            s->files++;
        }
        free(file);
    }
    free(line);
    free(part);
    return st == XONCE_OK && s->failed ? xo_nomem() : st;
}
