/* What consume is at, section by section, as the status page shows it. */
#include "cli/inforce.h"
#include "base/config.h"
#include "base/mem.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    xo_fact *facts; /* with texts of their own */
    size_t n, cap;
    int failed;
    char section[160]; /* that lines are added to */
} list;

static void add(list *l, const char *key, const char *value)
{
    if (!value || l->failed) {
        return;
    }
    xo_fact *grown = xo_grow(l->facts, &l->cap, l->n + 1, sizeof(*grown));
    if (!grown) {
        l->failed = 1;
        return;
    }
    l->facts = grown;
    xo_fact *f = &grown[l->n++];
    *f = (xo_fact){xo_strdup(l->section), xo_strdup(key), xo_strdup(value)};
    l->failed |= !f->section || !f->key || !f->value;
}

static void add_uri(list *l, const char *key, const char *uri)
{
    char *masked = xo_uri_mask(uri);
    l->failed |= !masked;
    add(l, key, masked);
    free(masked);
}

static void list_free(list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free((void *)(uintptr_t)l->facts[i].section);
        free((void *)(uintptr_t)l->facts[i].key);
        free((void *)(uintptr_t)l->facts[i].value);
    }
    free(l->facts);
}

static void begin(list *l, const char *kind, const char *name)
{
    (void)snprintf(l->section, sizeof(l->section), name ? "%s %.100s" : "%s", kind, name);
}

/* The names of its databases; one that was given by its URI has none. */
static void add_stores(list *l, const xo_plan *p, const xo_plan_sub *s)
{
    xo_buf names = {0};
    for (size_t i = 0; i < s->nstores; i++) {
        const xo_plan_store *store = &p->stores[s->stores[i]];
        char *masked = store->name ? NULL : xo_uri_mask(store->uri);
        xo_buf_printf(&names, "%s%s", i ? ", " : "", store->name ? store->name : masked ? masked : "");
        free(masked);
    }
    l->failed |= xo_buf_status(&names) != XONCE_OK;
    add(l, "store", names.p);
    xo_buf_free(&names);
}

static void add_sub(list *l, const xo_plan *p, const xo_plan_sub *s)
{
    static const char *const claims[] = {[XONCE_CLAIM_RECORD] = "record", [XONCE_CLAIM_OFFSET] = "offset"};
    begin(l, "subscription", s->name);
    add_uri(l, "from", s->from);
    add(l, "group", s->group);
    add(l, "topic", s->topic);
    add(l, "tags", s->tags ? s->tags : "*");
    add(l, "ordered", s->ordered ? "yes" : NULL);
    add(l, "claim", s->claim >= 0 ? claims[s->claim] : NULL);
    add(l, "sql", s->sql);
    add(l, "exec", s->exec);
    if (s->exec) {
        char timeout[40];
        (void)snprintf(timeout, sizeof(timeout), "%" PRId64 "ms", s->exec_timeout);
        add(l, "exec-timeout", timeout);
    }
    if (s->batch > 0) {
        char batch[32];
        (void)snprintf(batch, sizeof(batch), "%" PRId64, s->batch);
        add(l, "batch", batch);
    }
    add(l, "id", s->id);
    add(l, "route", s->route);
    add_stores(l, p, s);
}

static void add_store(list *l, const xo_plan_store *s)
{
    begin(l, "store", s->name);
    add_uri(l, "uri", s->uri);
    add(l, "tenants", s->tenants);
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        if (xo_config_is_set(s->cfg, k->key)) {
            add(l, k->key, k->secret ? "***" : xo_config_text(s->cfg, k->key));
        }
    }
}

static int uses(const xo_plan_sub *s, size_t store)
{
    for (size_t i = 0; i < s->nstores; i++) {
        if (s->stores[i] == store) {
            return 1;
        }
    }
    return 0;
}

static int is_of(const xo_plan_sub *s, const xo_fleet *f, size_t member)
{
    const char *from, *group;
    xo_fleet_ends(f, member, &from, &group);
    return strcmp(s->from, from) == 0 && strcmp(s->group, group) == 0;
}

static xonce_status tell(xo_status *status, const xo_fleet *f, size_t member, const xo_plan *p)
{
    list l = {.n = 0};
    for (size_t i = 0; i < p->nsubs; i++) {
        if (is_of(&p->subs[i], f, member)) {
            add_sub(&l, p, &p->subs[i]);
        }
    }
    for (size_t k = 0; k < p->nstores; k++) {
        int used = 0;
        for (size_t i = 0; i < p->nsubs && !used; i++) {
            used = is_of(&p->subs[i], f, member) && uses(&p->subs[i], k);
        }
        if (used) {
            add_store(&l, &p->stores[k]);
        }
    }
    xonce_status st = l.failed ? xo_nomem() : xo_status_facts(status, xo_fleet_at(f, member), l.facts, l.n);
    list_free(&l);
    return st;
}

xonce_status xo_inforce_tell(xo_status *s, const xo_fleet *f, const xo_plan *p)
{
    xonce_status st = XONCE_OK;
    for (size_t i = 0; i < xo_fleet_count(f) && st == XONCE_OK; i++) {
        st = tell(s, f, i, p);
    }
    return st;
}
