/* Sections of a configuration file become subscriptions and databases. */
#include "cli/plan.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/output.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sections ---- */

typedef struct {
    const char *key;
    size_t at; /* of a char * */
} text_key;
#define SUB(key, field) {key, offsetof(xo_plan_sub, field)}
static const text_key sub_keys[] = {SUB("from", from), SUB("group", group), SUB("topic", topic), SUB("tags", tags), SUB("store", store), SUB("sql", sql), SUB("exec", exec), SUB("id", id), SUB("route", route)};
static const text_key store_keys[] = {{"uri", offsetof(xo_plan_store, uri)}, {"tenants", offsetof(xo_plan_store, tenants)}};
static const text_key consume_keys[] = {{"from", offsetof(xo_plan, from)}, {"group", offsetof(xo_plan, group)}, {"store", offsetof(xo_plan, store)}};
enum { BATCH_MOST = 1024 };
enum { SUB_KEYS = sizeof(sub_keys) / sizeof(sub_keys[0]), STORE_KEYS = sizeof(store_keys) / sizeof(store_keys[0]), CONSUME_KEYS = sizeof(consume_keys) / sizeof(consume_keys[0]) };

/* 1 when it is one of them; *st says whether it could be set. */
static int set_text(void *into, const text_key *keys, size_t n, const char *key, const char *value, xonce_status *st)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i].key, key) != 0) {
            continue;
        }
        char **at = (char **)(void *)((char *)into + keys[i].at);
        if (!*value) {
            return 1; /* as if it were not there */
        }
        char *copy = xo_strdup(value);
        *st = *at ? xo_fail(XONCE_E_INVALID, "%s is given twice", key) : copy ? XONCE_OK : xo_nomem();
        if (*st == XONCE_OK) {
            *at = copy;
        } else {
            free(copy);
        }
        return 1;
    }
    return 0;
}

static xonce_status unknown(const char *kind, const char *key, const text_key *keys, size_t n, const char *const *more, size_t nmore)
{
    const char *names[32];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        names[k++] = keys[i].key;
    }
    for (size_t i = 0; i < nmore; i++) {
        names[k++] = more[i];
    }
    const char *near = xo_nearest(key, names, k);
    return near ? xo_fail(XONCE_E_INVALID, "a section [%s] has no \"%.60s\"; did you mean \"%s\"?", kind, key, near)
                : xo_fail(XONCE_E_INVALID, "a section [%s] has no \"%.60s\"; xonce-consume(1) lists its lines, and settings for all stand in front of the first section", kind, key);
}

static xonce_status set_sub(xo_plan_sub *s, const char *key, const char *value)
{
    static const char *const more[] = {"ordered", "claim", "exec-timeout", "batch"};
    xonce_status st = XONCE_OK;
    if (set_text(s, sub_keys, SUB_KEYS, key, value, &st)) {
        return st;
    }
    if (strcmp(key, "ordered") == 0) {
        s->ordered = strcmp(value, "yes") == 0 || strcmp(value, "on") == 0;
        return s->ordered || strcmp(value, "no") == 0 || strcmp(value, "off") == 0 ? XONCE_OK : xo_fail(XONCE_E_INVALID, "ordered: \"%.40s\" is neither yes nor no", value);
    }
    if (strcmp(key, "claim") == 0) {
        s->claim = strcmp(value, "record") == 0 ? XONCE_CLAIM_RECORD : strcmp(value, "offset") == 0 ? XONCE_CLAIM_OFFSET : -1;
        return s->claim >= 0 ? XONCE_OK : xo_fail(XONCE_E_INVALID, "claim: \"%.40s\" is none of record|offset", value);
    }
    if (strcmp(key, "exec-timeout") == 0) {
        st = xo_parse_duration(value, "ms", &s->exec_timeout);
        return st == XONCE_OK && (s->exec_timeout < 1 || s->exec_timeout > XO_EXEC_TIMEOUT_MAX_MS) ? xo_fail(XONCE_E_INVALID, "exec-timeout: %.40s is out of range; it may be 1ms to 179m", value) : st;
    }
    if (strcmp(key, "batch") == 0) {
        char *end;
        s->batch = *value >= '0' && *value <= '9' ? strtol(value, &end, 10) : 0;
        return s->batch >= 1 && s->batch <= BATCH_MOST && !*end ? XONCE_OK : xo_fail(XONCE_E_INVALID, "batch: \"%.40s\" is not a whole number of 1 to %d", value, BATCH_MOST);
    }
    return unknown("subscription", key, sub_keys, SUB_KEYS, more, sizeof(more) / sizeof(more[0]));
}

static xonce_status set_store(xo_plan_store *s, const char *key, const char *value)
{
    xonce_status st = XONCE_OK;
    if (set_text(s, store_keys, STORE_KEYS, key, value, &st)) {
        return st;
    }
    if (strncmp(key, "store.", 6) != 0 && strncmp(key, "postgresql.", 11) != 0 && strncmp(key, "mysql.", 6) != 0) {
        return unknown("store", key, store_keys, STORE_KEYS, NULL, 0);
    }
    return xonce_config_set(s->cfg, key, value);
}

static xo_plan_store *find_store(xo_plan *p, const char *name)
{
    for (size_t i = 0; i < p->nstores; i++) {
        if (p->stores[i].name && strcmp(p->stores[i].name, name) == 0) {
            return &p->stores[i];
        }
    }
    return NULL;
}

static xo_plan_store *add_store(xo_plan *p, const char *name, const char *uri)
{
    xo_plan_store *stores = xo_grow(p->stores, &p->cap_stores, p->nstores + 1, sizeof(*stores));
    if (!stores) {
        return NULL;
    }
    p->stores = stores;
    xo_plan_store *s = &stores[p->nstores++];
    *s = (xo_plan_store){.name = xo_strdup(name), .uri = xo_strdup(uri)};
    return (!name || s->name) && (!uri || s->uri) && xonce_config_new(&s->cfg) == XONCE_OK ? s : NULL;
}

static xo_plan_sub *add_sub(xo_plan *p, const char *name)
{
    xo_plan_sub *subs = xo_grow(p->subs, &p->cap_subs, p->nsubs + 1, sizeof(*subs));
    if (!subs) {
        return NULL;
    }
    p->subs = subs;
    xo_plan_sub *s = &subs[p->nsubs++];
    *s = (xo_plan_sub){.name = xo_strdup(name), .claim = -1};
    return !name || s->name ? s : NULL;
}

static xonce_status begin(xo_plan *p, const char *kind, const char *name)
{
    int twice = 0;
    if (strcmp(kind, "store") == 0) {
        twice = find_store(p, name) != NULL;
        return twice ? xo_fail(XONCE_E_INVALID, "[store %.60s] stands here twice", name) : add_store(p, name, NULL) ? XONCE_OK : xo_nomem();
    }
    if (strcmp(kind, "subscription") == 0) {
        for (size_t i = 0; i < p->nsubs; i++) {
            twice = twice || strcmp(p->subs[i].name, name) == 0;
        }
        return twice ? xo_fail(XONCE_E_INVALID, "[subscription %.60s] stands here twice", name) : add_sub(p, name) ? XONCE_OK : xo_nomem();
    }
    return XONCE_OK;
}

xonce_status xo_plan_line(const char *kind, const char *name, const char *key, const char *value, void *arg)
{
    xo_plan *p = arg;
    xonce_status st = XONCE_OK;
    if (!key) {
        return begin(p, kind, name);
    }
    if (strcmp(kind, "store") == 0) {
        return set_store(&p->stores[p->nstores - 1], key, value);
    }
    if (strcmp(kind, "subscription") == 0) {
        return set_sub(&p->subs[p->nsubs - 1], key, value);
    }
    return set_text(p, consume_keys, CONSUME_KEYS, key, value, &st) ? st : unknown(kind, key, consume_keys, CONSUME_KEYS, NULL, 0);
}

/* ---- what is missing, and what belongs together ---- */

/* [subscription NAME], or what the command line calls it. */
static const char *label(const xo_plan_sub *s, char *out, size_t size)
{
    (void)snprintf(out, size, s->name ? "[subscription %.100s]" : "the command line", s->name ? s->name : "");
    return out;
}

static int fill_in(char **at, const char *first, const char *second)
{
    const char *from = first ? first : second;
    if (!*at && from) {
        *at = xo_strdup(from);
        return *at ? 0 : -1;
    }
    return 0;
}

static int from_words(xo_plan *p, const xo_usage *u, const xo_plan_words *w)
{
    if (p->nsubs && (w->topic || w->sql || w->exec || w->id || w->tags || w->ordered)) {
        return xo_args_wrong(u, "the file has [subscription] sections: --topic, --tags, --ordered, --sql, --exec and --id stand in them");
    }
    int failed = 0;
    if (!p->nsubs) {
        xo_plan_sub *s = add_sub(p, NULL);
        if (!s || fill_in(&s->topic, w->topic, NULL) != 0 || fill_in(&s->tags, w->tags, NULL) != 0 || fill_in(&s->sql, w->sql, NULL) != 0 || fill_in(&s->exec, w->exec, NULL) != 0 ||
            fill_in(&s->id, w->id, NULL) != 0) {
            return xo_out_failed(NULL);
        }
        s->ordered = w->ordered;
    }
    const char *variable = getenv("XONCE_STORE"), *only = p->nstores == 1 ? p->stores[0].name : NULL;
    const char *store = w->store ? w->store : variable && *variable ? variable : p->store ? p->store : only;
    for (size_t i = 0; i < p->nsubs; i++) {
        xo_plan_sub *s = &p->subs[i];
        failed |= fill_in(&s->from, w->from, p->from) | fill_in(&s->group, w->group, p->group) | (s->route ? 0 : fill_in(&s->store, store, NULL));
        s->exec_timeout = s->exec_timeout ? s->exec_timeout : w->exec_timeout;
    }
    return failed ? xo_out_failed(NULL) : XO_GO_ON;
}

static int parse_field(const xo_usage *u, const xo_plan_sub *s, const char *what, const char *text, xo_msg_field *out)
{
    char where[160];
    if (!text) {
        return XO_GO_ON;
    }
    if (text[0] != ':' || xo_field_parse(out, text + 1, strlen(text + 1)) != XONCE_OK) {
        const char *why = text[0] == ':' ? xonce_error_last()->text : "write :key or :body.path";
        return s->name ? xo_args_wrong(u, "%s: %s: %s", label(s, where, sizeof(where)), what, why) : xo_args_wrong(u, "--%s: %s", what, why);
    }
    return XO_GO_ON;
}

static int complain(const xo_usage *u, const xo_plan_sub *s, const char *option, const char *what)
{
    char where[160];
    return s->name ? xo_args_wrong(u, "%s: %s", label(s, where, sizeof(where)), what) : xo_args_wrong(u, "%s%s", option, what);
}

static int check_sub(const xo_usage *u, xo_plan_sub *s)
{
    if (!s->from || !s->topic || !s->group) {
        return s->name ? complain(u, s, "", !s->from ? "from is missing" : !s->topic ? "topic is missing" : "group is missing")
                       : xo_args_wrong(u, "%s is missing", !s->from ? "--from" : !s->topic ? "--topic" : "--group");
    }
    if (!s->sql == !s->exec) {
        return s->name ? complain(u, s, "", s->sql ? "sql and exec exclude each other" : "one of sql and exec is needed")
                       : xo_args_wrong(u, s->sql ? "--sql and --exec exclude each other" : "one of --sql and --exec is needed");
    }
    int rc = parse_field(u, s, "id", s->id, &s->id_field);
    return rc == XO_GO_ON ? parse_field(u, s, "route", s->route, &s->route_field) : rc;
}

static int by_value(const void *a, const void *b)
{
    const xo_plan_tenant *x = a, *y = b;
    int c = memcmp(x->value, y->value, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

/* The values of a store's tenants. -1: no memory. */
static int add_tenants(xo_plan_sub *s, const char *tenants, size_t at)
{
    for (const char *p = tenants; *p;) {
        const char *sep = strstr(p, "||"), *end = sep ? sep : p + strlen(p), *next = sep ? sep + 2 : end;
        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }
        while (end > p && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }
        if (end > p) {
            xo_plan_tenant *grown = xo_grow(s->tenants, &s->cap_tenants, s->ntenants + 1, sizeof(*grown));
            if (!grown) {
                return -1;
            }
            s->tenants = grown;
            grown[s->ntenants++] = (xo_plan_tenant){p, (size_t)(end - p), at};
        }
        p = next;
    }
    return 0;
}

static int route_sub(xo_plan *p, const xo_usage *u, xo_plan_sub *s)
{
    for (size_t i = 0; i < p->nstores; i++) {
        if (!p->stores[i].tenants) {
            continue;
        }
        size_t at = s->nstores;
        for (size_t k = 0; k < s->nstores; k++) {
            at = s->stores[k] == i ? k : at;
        }
        if (at == s->nstores) {
            s->stores[s->nstores++] = i;
        }
        if (add_tenants(s, p->stores[i].tenants, at) != 0) {
            return xo_out_failed(NULL);
        }
    }
    if (!s->ntenants) {
        return complain(u, s, "", "it has a route, but no [store] says which tenants are its");
    }
    qsort(s->tenants, s->ntenants, sizeof(*s->tenants), by_value);
    for (size_t i = 1; i < s->ntenants; i++) {
        if (by_value(&s->tenants[i - 1], &s->tenants[i]) == 0) {
            return xo_args_wrong(u, "tenant \"%.*s\" is of two stores", (int)(s->tenants[i].n < 100 ? s->tenants[i].n : 100), s->tenants[i].value);
        }
    }
    return XO_GO_ON;
}

static int place_sub(xo_plan *p, const xo_usage *u, xo_plan_sub *s)
{
    char what[200];
    s->stores = xo_calloc(p->nstores + p->nsubs + 1, sizeof(*s->stores));
    if (!s->stores) {
        return xo_out_failed(NULL);
    }
    if (!s->route && !s->store) {
        return s->name ? complain(u, s, "", "store is missing") : xo_args_wrong(u, "--store URI is missing, and XONCE_STORE is not set");
    }
    if (s->store) {
        xo_plan_store *store = find_store(p, s->store);
        for (size_t i = 0; i < p->nstores && !store; i++) {
            store = !p->stores[i].name && strcmp(p->stores[i].uri, s->store) == 0 ? &p->stores[i] : NULL;
        }
        if (!store && s->name && !strchr(s->store, ':')) {
            (void)snprintf(what, sizeof(what), "there is no [store %.100s]", s->store);
            return complain(u, s, "", what);
        }
        store = store ? store : add_store(p, NULL, s->store);
        if (!store) {
            return xo_out_failed(NULL);
        }
        s->stores[s->nstores++] = (size_t)(store - p->stores);
        s->others = 1;
    }
    return s->route ? route_sub(p, u, s) : XO_GO_ON;
}

static int check_twice(const xo_plan *p, const xo_usage *u)
{
    for (size_t i = 0; i < p->nsubs; i++) {
        const xo_plan_sub *a = &p->subs[i];
        for (size_t k = 0; k < i; k++) {
            const xo_plan_sub *b = &p->subs[k];
            if (strcmp(a->from, b->from) == 0 && strcmp(a->group, b->group) == 0 && strcmp(a->topic, b->topic) == 0) {
                return xo_args_wrong(u, "[subscription %.60s] and [subscription %.60s] take the same topic for the same group: one of them is enough, or another group", b->name, a->name);
            }
        }
    }
    return XO_GO_ON;
}

int xo_plan_finish(xo_plan *p, const xo_usage *u, const xo_plan_words *w)
{
    int rc = from_words(p, u, w);
    for (size_t i = 0; i < p->nstores && rc == XO_GO_ON; i++) {
        if (!p->stores[i].uri) {
            rc = xo_args_wrong(u, "[store %.100s]: uri is missing", p->stores[i].name);
        }
    }
    for (size_t i = 0; i < p->nsubs && rc == XO_GO_ON; i++) {
        rc = check_sub(u, &p->subs[i]);
        rc = rc == XO_GO_ON ? place_sub(p, u, &p->subs[i]) : rc;
    }
    return rc == XO_GO_ON ? check_twice(p, u) : rc;
}

/* ---- read again ---- */

static int same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void add_key(char *keys, size_t size, const char *key)
{
    size_t n = strlen(keys);
    (void)snprintf(keys + n, size - n, "%s%s", n ? ", " : "", key);
}

xo_plan_change xo_plan_sub_change(const xo_plan_sub *was, const xo_plan_sub *is, char *keys, size_t size)
{
    char live[40] = "";
    keys[0] = 0;
    for (size_t i = 0; i < SUB_KEYS; i++) {
        const char *a = *(char *const *)(const void *)((const char *)was + sub_keys[i].at), *b = *(char *const *)(const void *)((const char *)is + sub_keys[i].at);
        int is_sql = strcmp(sub_keys[i].key, "sql") == 0 && a && b;
        if (!same_text(a, b)) {
            add_key(is_sql ? live : keys, is_sql ? sizeof(live) : size, sub_keys[i].key);
        }
    }
    if (was->batch != is->batch) {
        add_key(live, sizeof(live), "batch");
    }
    const struct {
        const char *key;
        int differs;
    } others[] = {{"ordered", was->ordered != is->ordered}, {"claim", was->claim != is->claim}, {"exec-timeout", was->exec_timeout != is->exec_timeout}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].differs) {
            add_key(keys, size, others[i].key);
        }
    }
    if (keys[0]) {
        return XO_PLAN_RESTART;
    }
    (void)snprintf(keys, size, "%s", live);
    return live[0] ? XO_PLAN_LIVE : XO_PLAN_SAME;
}

xo_plan_sub *xo_plan_find_sub(const xo_plan *p, const char *name)
{
    for (size_t i = 0; i < p->nsubs; i++) {
        if (same_text(p->subs[i].name, name)) {
            return &p->subs[i];
        }
    }
    return NULL;
}

static int same_store(const xo_plan_store *a, const xo_plan_store *b)
{
    int same = same_text(a->uri, b->uri) && same_text(a->tenants, b->tenants);
    for (size_t i = 0; i < xo_config_count && same; i++) {
        const char *key = xo_config_keys[i].key;
        same = xo_config_is_set(a->cfg, key) == xo_config_is_set(b->cfg, key) && same_text(xo_config_text(a->cfg, key), xo_config_text(b->cfg, key));
    }
    return same;
}

static void tell(const char *kind, const char *name, const char *what)
{
    xo_log(XO_WARN, "consume", "[%s %.100s] %s", kind, name, what);
}

void xo_plan_tell_left(const xo_plan *was, const xo_plan *is)
{
    char keys[200], what[260];
    for (size_t i = 0; i < is->nstores; i++) {
        const xo_plan_store *s = &is->stores[i], *old = s->name ? find_store((xo_plan *)(uintptr_t)was, s->name) : NULL;
        if (s->name && (!old || !same_store(old, s))) {
            tell("store", s->name, old ? "has changed: that holds after a restart" : "is new: it is there after a restart");
        }
    }
    for (size_t i = 0; i < was->nstores; i++) {
        if (was->stores[i].name && !find_store((xo_plan *)(uintptr_t)is, was->stores[i].name)) {
            tell("store", was->stores[i].name, "is gone: it is used until a restart");
        }
    }
    for (size_t i = 0; i < is->nsubs; i++) {
        const xo_plan_sub *s = &is->subs[i], *old = xo_plan_find_sub(was, s->name);
        if (!old) {
            tell("subscription", s->name ? s->name : "", "is new: it begins with a restart");
        } else if (xo_plan_sub_change(old, s, keys, sizeof(keys)) == XO_PLAN_RESTART) {
            (void)snprintf(what, sizeof(what), "%s: changed, but all of it stays as it was until a restart", keys);
            tell("subscription", s->name ? s->name : "", what);
        }
    }
    for (size_t i = 0; i < was->nsubs; i++) {
        if (!xo_plan_find_sub(is, was->subs[i].name)) {
            tell("subscription", was->subs[i].name ? was->subs[i].name : "", "is gone: it goes on until a restart");
        }
    }
}

void xo_plan_free(xo_plan *p)
{
    for (size_t i = 0; i < p->nsubs; i++) {
        xo_plan_sub *s = &p->subs[i];
        char *const texts[] = {s->name, s->group, s->topic, s->tags, s->sql, s->exec, s->id, s->route};
        for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
            free(texts[k]);
        }
        xo_wipe_free(s->from);
        xo_wipe_free(s->store);
        xo_field_free(&s->id_field);
        xo_field_free(&s->route_field);
        free(s->stores);
        free(s->tenants);
    }
    for (size_t i = 0; i < p->nstores; i++) {
        free(p->stores[i].name);
        xo_wipe_free(p->stores[i].uri);
        free(p->stores[i].tenants);
        xonce_config_free(p->stores[i].cfg);
    }
    free(p->subs);
    free(p->stores);
    free(p->from);
    free(p->group);
    xo_wipe_free(p->store);
    *p = (xo_plan){0};
}

/* ---- routes ---- */

static int is_tenant(const xo_plan_sub *s, const char *value, size_t n)
{
    const xo_plan_tenant wanted = {value, n, 0};
    const xo_plan_tenant *found = bsearch(&wanted, s->tenants, s->ntenants, sizeof(*s->tenants), by_value);
    return found ? (int)found->at : -1;
}

int xo_plan_find(const xo_plan_sub *s, const xonce_message *m, char *reason, size_t size)
{
    xo_field_reader reader = {.m = m};
    xonce_value v = xonce_null();
    char number[32];
    int at = -1;
    xonce_status st = xo_field_read(&reader, &s->route_field, &v);
    if (st != XONCE_OK) {
        (void)snprintf(reason, size, "no store for it: :%.80s: %.200s", s->route_field.name, xonce_error_last()->text);
    } else if (v.kind == XONCE_INT || v.kind == XONCE_BOOL) {
        (void)snprintf(number, sizeof(number), "%" PRId64, v.v.i);
        at = is_tenant(s, number, strlen(number));
        (void)snprintf(reason, size, "no store for it: :%.80s is %s", s->route_field.name, number);
    } else if (v.kind == XONCE_TEXT) {
        at = is_tenant(s, v.v.p, v.len);
        char *shown = xo_out_clean(v.v.p, v.len < 80 ? v.len : 80);
        (void)snprintf(reason, size, "no store for it: :%.80s is \"%s\"", s->route_field.name, shown ? shown : "");
        free(shown);
    } else {
        (void)snprintf(reason, size, "no store for it: :%.80s is missing", s->route_field.name);
    }
    xo_field_reader_end(&reader);
    return at < 0 && s->others ? 0 : at;
}

size_t xo_plan_route(const xonce_message *m, void *sub)
{
    char reason[400];
    int at = xo_plan_find(sub, m, reason, sizeof(reason));
    return at < 0 ? 0 : (size_t)at;
}
