/* Failpoints: parsing of XONCE_FAILPOINTS and what happens at a hit. */
#include "base/failpoint.h"
#include "base/clock.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_RULES = 32, MAX_NAME = 40 };
typedef enum { CRASH, ERROR, DELAY } action;
typedef enum { ALWAYS, AT, FROM, CHANCE } when;
typedef struct {
    char name[MAX_NAME];
    action what;
    when trigger;
    int64_t delay_ms, n;
    atomic_long hits;
} rule;

/* Written by load() only, which runs before threads do (or in a test, alone). */
static rule rules[MAX_RULES];
static size_t nrules;
static int broken;
int xo_failpoints_on;

static int copy_span(char *out, size_t size, const char *p, size_t n)
{
    if (n == 0 || n >= size) {
        return 0;
    }
    memcpy(out, p, n);
    out[n] = 0;
    return 1;
}

static int parse_count(const char *p, int64_t *n, const char **end)
{
    char *e;
    long v = strtol(p, &e, 10);
    *n = v;
    *end = e;
    return e != p && *p >= '0' && *p <= '9';
}

/* ACTION[@N|@N+|%P] */
static int parse_action(rule *r, const char *text)
{
    size_t n = strcspn(text, "@%");
    const char *tail = text + n;
    char word[MAX_NAME];
    if (!copy_span(word, sizeof(word), text, n)) {
        return 0;
    }
    if (strcmp(word, "crash") == 0) {
        r->what = CRASH;
    } else if (strcmp(word, "error") == 0) {
        r->what = ERROR;
    } else if (strncmp(word, "delay:", 6) == 0 && xo_parse_duration(word + 6, "ms", &r->delay_ms) == XONCE_OK) {
        r->what = DELAY;
    } else {
        return 0;
    }
    r->trigger = ALWAYS;
    if (*tail) {
        const char *end;
        if (!parse_count(tail + 1, &r->n, &end) || r->n < 1) {
            return 0;
        }
        r->trigger = *tail == '%' ? CHANCE : *end == '+' ? FROM : AT;
        if (*tail == '%' && r->n > 100) {
            return 0;
        }
        end += r->trigger == FROM;
        return *end == 0;
    }
    return 1;
}

static int parse_rule(rule *r, const char *text, size_t n)
{
    char copy[2 * MAX_NAME];
    const char *eq = memchr(text, '=', n);
    if (!eq || !copy_span(r->name, sizeof(r->name), text, (size_t)(eq - text)) ||
        !copy_span(copy, sizeof(copy), eq + 1, n - (size_t)(eq - text) - 1)) {
        return 0;
    }
    atomic_store(&r->hits, 0);
    return parse_action(r, copy);
}

xonce_status xo_failpoints_load(const char *spec)
{
    if (!spec) {
        spec = getenv("XONCE_FAILPOINTS");
    }
    nrules = 0;
    broken = 0;
    xo_failpoints_on = 0;
    for (const char *p = spec ? spec : ""; *p;) {
        size_t n = strcspn(p, ";");
        if (n > 0) {
            if (nrules == MAX_RULES || !parse_rule(&rules[nrules], p, n)) {
                /* a test that names its point wrongly must not pass because nothing happens */
                broken = xo_failpoints_on = 1;
                return xo_fail(XONCE_E_INVALID, "XONCE_FAILPOINTS: cannot read \"%.*s\"", (int)(n > 80 ? 80 : n), p);
            }
            nrules++;
        }
        p += n + (p[n] == ';');
    }
    xo_failpoints_on = nrules > 0;
    return XONCE_OK;
}

static int fires(rule *r)
{
    long hit = atomic_fetch_add(&r->hits, 1) + 1;
    switch (r->trigger) {
    case ALWAYS: return 1;
    case AT: return hit == r->n;
    case FROM: return hit >= r->n;
    case CHANCE: return (int64_t)(xo_random() % 100) < r->n;
    }
    return 0;
}

xonce_status xo_failpoint_hit(const char *name)
{
    if (broken) {
        return xo_fail(XONCE_E_CONNECT, "XONCE_FAILPOINTS cannot be read, so every step fails");
    }
    xonce_status rc = XONCE_OK;
    for (size_t i = 0; i < nrules; i++) {
        if (strcmp(rules[i].name, name) != 0 || !fires(&rules[i])) {
            continue;
        }
        switch (rules[i].what) {
        case CRASH: (void)kill(getpid(), SIGKILL); break;
        case ERROR: rc = xo_fail_sql(XONCE_E_CONNECT, XO_SQL_LOST, 0, NULL, "failpoint %s: the connection is said to be lost", name); break;
        case DELAY: xo_pause_ms(rules[i].delay_ms); break;
        }
    }
    return rc;
}

__attribute__((constructor)) static void load_from_environment(void)
{
    (void)xo_failpoints_load(NULL);
}
