/* Long options: parsing, help, and what to say when they are wrong. */
#include "cli/options.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/output.h"
#include "cli/service.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

int xo_args_wrong(const xo_usage *u, const char *fmt, ...)
{
    va_list ap;
    (void)fprintf(stderr, "%sxonce %s: ", xo_service_level(XO_ERROR), u->name);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "\nusage: xonce %s %s\nxonce %s --help tells more\n", u->name, u->synopsis, u->name);
    return XO_EXIT_USAGE;
}

enum { INDENT = 28, WIDTH = 110 };

/* Words in lines that fit, indented; `used` columns of the first line are taken. Line ends of the text stay. */
static void print_wrapped(const char *p, int indent, int used)
{
    while (*p) {
        size_t line = strcspn(p, "\n"), room = (size_t)(WIDTH - indent), n = line;
        if (n > room) {
            n = room;
            while (n > 1 && p[n] != ' ') {
                n--;
            }
        }
        printf("%*s%.*s\n", indent > used ? indent - used : 0, "", (int)n, p);
        used = 0;
        p += n;
        p += *p == '\n' ? 1 : strspn(p, " ");
    }
}

static void print_argument(const xo_arg *a)
{
    int used = printf("  --%s%s%s", a->name, a->value ? " " : "", a->value ? a->value : "");
    if (used > INDENT - 2) {
        printf("\n");
        used = 0;
    }
    print_wrapped(a->help, INDENT, used);
}

static int print_help(const xo_usage *u)
{
    printf("usage: xonce %s %s\n\n", u->name, u->synopsis);
    print_wrapped(u->about, 0, 0);
    printf("\noptions:\n");
    for (size_t i = 0; i < u->nargs; i++) {
        print_argument(&u->args[i]);
    }
    if (u->notes) {
        printf("\n");
        print_wrapped(u->notes, 0, 0);
    }
    printf("\nexample:\n%s\n", u->example);
    return fflush(stdout) == 0 ? XO_EXIT_OK : XO_EXIT_FAILED;
}

static const xo_arg *find(const xo_usage *u, const char *name, size_t n)
{
    for (size_t i = 0; i < u->nargs; i++) {
        if (strncmp(u->args[i].name, name, n) == 0 && u->args[i].name[n] == 0) {
            return &u->args[i];
        }
    }
    return NULL;
}

static int unknown_option(const xo_usage *u, const char *name, size_t n)
{
    char *word = xo_memdup0(name, n);
    const char **names = xo_calloc(u->nargs + 1, sizeof(*names)), *near = NULL;
    if (names && word) {
        for (size_t i = 0; i < u->nargs; i++) {
            names[i] = u->args[i].name;
        }
        near = xo_nearest(word, names, u->nargs);
    }
    int rc = near ? xo_args_wrong(u, "there is no option --%s; did you mean --%s?", word, near)
                  : xo_args_wrong(u, "there is no option --%s", word ? word : "");
    free(names);
    free(word);
    return rc;
}

static int set_integer(const xo_usage *u, const xo_arg *a, const char *value)
{
    int64_t v;
    char *end;
    if (a->kind == XO_ARG_DURATION) {
        if (xo_parse_duration(value, "ms", &v) != XONCE_OK) {
            return xo_args_wrong(u, "--%s: %s", a->name, xonce_error_last()->text);
        }
    } else {
        errno = 0;
        v = strtoll(value, &end, 10);
        if (end == value || *end || errno || strchr(" \t\n+", *value)) {
            return xo_args_wrong(u, "--%s: \"%.60s\" is not a whole number", a->name, value);
        }
    }
    if (v < a->min || v > a->max) {
        char lo[32], hi[32];
        (void)snprintf(lo, sizeof(lo), "%" PRId64, a->min);
        (void)snprintf(hi, sizeof(hi), "%" PRId64, a->max);
        if (a->kind == XO_ARG_DURATION) {
            xo_format_duration(a->min, lo, sizeof(lo));
            xo_format_duration(a->max, hi, sizeof(hi));
        }
        return xo_args_wrong(u, "--%s: %.60s is out of range; it may be %s to %s", a->name, value, lo, hi);
    }
    *(int64_t *)a->out = v;
    return XO_GO_ON;
}

/* What was seen so far: the last value per option, and whether it was given. */
typedef struct {
    const char *value;
    int given;
    xo_list_value settings; /* XO_ARG_SETTINGS */
} seen_arg;

static int append(const xo_usage *u, xo_list_value *list, const char *value)
{
    const char **items = xo_grow(list->items, &list->cap, list->n + 1, sizeof(*items));
    if (!items) {
        return xo_args_wrong(u, "out of memory");
    }
    list->items = items;
    items[list->n++] = value;
    return XO_GO_ON;
}

static int set(const xo_usage *u, const xo_arg *a, const char *value, seen_arg *seen)
{
    if (seen->given && a->kind != XO_ARG_LIST && a->kind != XO_ARG_SWITCH && a->kind != XO_ARG_SETTINGS) {
        return xo_args_wrong(u, "--%s is given twice", a->name);
    }
    seen->given = 1;
    seen->value = value;
    switch (a->kind) {
    case XO_ARG_SWITCH: *(int *)a->out = 1; break;
    case XO_ARG_TEXT: *(const char **)a->out = value; break;
    case XO_ARG_LIST: return append(u, a->out, value);
    case XO_ARG_INT:
    case XO_ARG_DURATION: return set_integer(u, a, value);
    case XO_ARG_SETTINGS: return append(u, &seen->settings, value);
    case XO_ARG_SETTING:
    case XO_ARG_CONFIG:
    case XO_ARG_SECTIONS: break; /* configure() */
    }
    return XO_GO_ON;
}

/* --set KEY=VALUE */
static int configure_one(const xo_usage *u, const xo_arg *a, const char *setting)
{
    const char *eq = strchr(setting, '=');
    if (!eq || eq == setting) {
        return xo_args_wrong(u, "--%s: \"%.60s\" is not KEY=VALUE", a->name, setting);
    }
    char *key = xo_memdup0(setting, (size_t)(eq - setting));
    xonce_status st = key ? xonce_config_set(*(xonce_config **)a->out, key, eq + 1) : xo_nomem();
    free(key);
    return st == XONCE_OK ? XO_GO_ON : xo_args_wrong(u, "--%s: %s", a->name, xonce_error_last()->text);
}

static xonce_status load_file(const xo_arg *a, const char *path)
{
    const xo_sections *s = a->out;
    return a->kind == XO_ARG_CONFIG ? xonce_config_load(*(xonce_config **)a->out, path) : xo_config_load_sections(*s->cfg, path, s->fn, s->arg);
}

static int is_setting(const xo_arg *a)
{
    return a->kind == XO_ARG_SETTING || a->kind == XO_ARG_SETTINGS || a->kind == XO_ARG_CONFIG;
}

/* XONCE_... of each key; what looks like one and is none is told, but may be somebody else's. */
static int configure_by_environment(const xo_usage *u)
{
    const xonce_config *done = NULL;
    for (size_t i = 0; i < u->nargs; i++) {
        xonce_config *cfg = is_setting(&u->args[i]) ? *(xonce_config **)u->args[i].out : NULL;
        if (cfg && cfg != done && xonce_config_env(cfg) != XONCE_OK) {
            return xo_args_wrong(u, "%s", xonce_error_last()->text);
        }
        done = cfg ? cfg : done;
    }
    for (char **e = environ; done && *e; e++) {
        char *name = strncmp(*e, "XONCE_", 6) == 0 ? xo_memdup0(*e, strcspn(*e, "=")) : NULL;
        char *near = name ? xo_config_mistyped(name) : NULL;
        if (near) {
            xo_out_error("the environment variable %s is no setting; did you mean %s?", name, near);
        }
        free(near);
        free(name);
    }
    return XO_GO_ON;
}

/* Files first, then the environment: what stands on the command line wins. */
static int configure(const xo_usage *u, const seen_arg *seen)
{
    for (size_t i = 0; i < u->nargs; i++) {
        const xo_arg *a = &u->args[i];
        if (seen[i].given && (a->kind == XO_ARG_CONFIG || a->kind == XO_ARG_SECTIONS) && load_file(a, seen[i].value) != XONCE_OK) {
            return xo_args_wrong(u, "--%s: %s", a->name, xonce_error_last()->text);
        }
    }
    int by_environment = configure_by_environment(u);
    if (by_environment != XO_GO_ON) {
        return by_environment;
    }
    for (size_t i = 0; i < u->nargs; i++) {
        const xo_arg *a = &u->args[i];
        if (seen[i].given && a->kind == XO_ARG_SETTING && xonce_config_set(*(xonce_config **)a->out, a->key, seen[i].value) != XONCE_OK) {
            return xo_args_wrong(u, "--%s: %s", a->name, xonce_error_last()->text);
        }
        for (size_t k = 0; k < seen[i].settings.n; k++) {
            int rc = configure_one(u, a, seen[i].settings.items[k]);
            if (rc != XO_GO_ON) {
                return rc;
            }
        }
    }
    return XO_GO_ON;
}

/* One option at argv[*i]; moves *i over a value of its own. */
static int parse_option(const xo_usage *u, int argc, char **argv, int *i, seen_arg *seen)
{
    const char *name = argv[*i] + 2, *eq = strchr(name, '=');
    size_t n = eq ? (size_t)(eq - name) : strlen(name);
    const xo_arg *a = find(u, name, n);
    if (!a) {
        return unknown_option(u, name, n);
    }
    const char *value = eq ? eq + 1 : NULL;
    if (a->kind == XO_ARG_SWITCH && eq) {
        return xo_args_wrong(u, "--%s takes no value", a->name);
    }
    if (a->kind != XO_ARG_SWITCH && !eq) {
        if (*i + 1 >= argc) {
            return xo_args_wrong(u, "--%s needs a value: --%s %s", a->name, a->name, a->value);
        }
        value = argv[++*i];
    }
    return set(u, a, value, &seen[a - u->args]);
}

int xo_args_parse(const xo_usage *u, int argc, char **argv, size_t *nrest)
{
    int only_rest = 0, rc = XO_GO_ON, last = 1;
    seen_arg *seen = xo_calloc(u->nargs, sizeof(*seen));
    *nrest = 0;
    if (!seen) {
        return xo_args_wrong(u, "out of memory");
    }
    for (int i = 1; i < argc && rc == XO_GO_ON; i++) {
        char *word = argv[i];
        if (only_rest || word[0] != '-' || word[1] == 0) {
            if (*nrest == u->max_rest) {
                rc = xo_args_wrong(u, u->max_rest ? "too many arguments: \"%.60s\"" : "takes no argument \"%.60s\"", word);
            } else {
                argv[i] = argv[last]; /* swapped, so that each word still stands somewhere */
                argv[last++] = word;
                ++*nrest;
            }
        } else if (strcmp(word, "--") == 0) {
            only_rest = 1;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            rc = print_help(u);
        } else if (word[1] != '-') {
            rc = xo_args_wrong(u, "there is no option %.60s; options are written out, with two dashes", word);
        } else {
            rc = parse_option(u, argc, argv, &i, seen);
        }
    }
    if (rc == XO_GO_ON) {
        rc = configure(u, seen);
    }
    for (size_t i = 0; i < u->nargs; i++) {
        xo_list_free(&seen[i].settings);
    }
    free(seen);
    return rc;
}

void xo_list_free(xo_list_value *l)
{
    free(l->items);
    l->items = NULL;
    l->n = l->cap = 0;
}
