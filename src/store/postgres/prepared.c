/* Statements kept prepared on a PostgreSQL connection: found by key, bounded, forgotten when the server has forgotten
 * them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "store/postgres/impl.h"

static xo_pg_prep *find(xo_pg_conn *c, uint64_t key)
{
    size_t i;
    for (i = 0; i < c->nprep; i++)
        if (c->prep[i].key == key)
            return &c->prep[i];
    return NULL;
}

static xo_pg_prep *oldest(xo_pg_conn *c)
{
    xo_pg_prep *old = NULL;
    size_t i;
    for (i = 0; i < c->nprep; i++)
        if (c->prep[i].used != c->exchanges && !c->prep[i].dropping && (!old || c->prep[i].used < old->used))
            old = &c->prep[i];
    return old;
}

const xo_pg_prep *xo_pg_prepared_get(xo_pg_conn *c, uint64_t key, int *fresh, const xo_pg_prep **victim)
{
    xo_pg_prep *p;
    *fresh = 0;
    *victim = NULL;
    /* a user's session keeps the user's names only; a pooler's sessions keep none */
    if (!key || c->pub.joined || c->prep_trouble >= PG_PREP_TROUBLE)
        return NULL;
    p = find(c, key);
    if (p && p->dropping)
        return NULL;
    if (!p) {
        if (!c->prep)
            c->prep = xo_calloc(PG_PREPARED_MAX, sizeof(*c->prep));
        if (!c->prep)
            return NULL;
        if (c->nprep == PG_PREPARED_MAX) {
            xo_pg_prep *old = oldest(c);
            if (old && old->ready) {
                old->dropping = 1;
                *victim = old;
            }
            return NULL; /* unnamed this time: the place is free when the server has dropped the victim */
        }
        p = &c->prep[c->nprep++];
        memset(p, 0, sizeof(*p));
        p->key = key;
        (void)snprintf(p->name, sizeof(p->name), "xonce_%ld_%lu_%u", (long)getpid(), c->serial, ++c->names);
        *fresh = 1;
    }
    p->used = c->exchanges;
    return p;
}

void xo_pg_prepared_result(xo_pg_conn *c, const xo_pg_op *op, int ok)
{
    xo_pg_prep *p = find(c, op->key);
    if (!p || strcmp(p->name, op->name) != 0)
        return;
    if (op->kind == PG_PREPARE && ok) {
        p->ready = 1;
    } else if (op->kind == PG_PREPARE || (op->kind == PG_DROP && ok)) {
        *p = c->prep[--c->nprep];
    } else if (op->kind == PG_DROP) {
        p->dropping = 0;
    }
}

void xo_pg_prepared_forget(xo_pg_conn *c)
{
    c->nprep = 0;
}

int xo_pg_prepared_gone(xo_pg_conn *c, const xo_pg_op *op, const PGresult *r)
{
    const char *state = xo_pg_field(r, PG_DIAG_SQLSTATE);
    int named = op->name[0] && strstr(xo_pg_field(r, PG_DIAG_MESSAGE_PRIMARY), op->name) != NULL;
    int vanished = named && (strcmp(state, "26000") == 0 || strcmp(state, "42P05") == 0);
    int stale = op->name[0] && strcmp(state, "0A000") == 0 &&
                strcmp(xo_pg_field(r, PG_DIAG_SOURCE_FUNCTION), "RevalidateCachedQuery") == 0;
    if (vanished)
        c->prep_trouble++;
    if (vanished || stale)
        xo_pg_prepared_forget(c); /* names are never used twice, so that what is left on the server does no harm */
    return vanished || stale;
}
