/* What measuring leaves in a database, and how it goes again: a table of its own, and records under a group of its own. */
#include "cli/measure.h"
#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 5000, WAYS = 31, LONG_ENOUGH_MS = 1000 };

static xonce_status query(xonce_store *s, const char *sql)
{
    return xo_store_query(s, sql, NULL, 0, NULL, NULL, NULL);
}

xonce_status xo_measure_create(xo_measure *m)
{
    static const char *const key[] = {[XO_DIALECT_PG] = "bigserial PRIMARY KEY", [XO_DIALECT_MYSQL] = "bigint AUTO_INCREMENT PRIMARY KEY", [XO_DIALECT_SQLITE] = "integer PRIMARY KEY"};
    char sql[256];
    (void)snprintf(sql, sizeof(sql), "CREATE TABLE %s (n %s, id varchar(64) NOT NULL, payload varchar(%zu))%s", m->table, key[m->s->d->kind], m->body_len,
                   m->s->d->kind == XO_DIALECT_MYSQL ? " ENGINE=InnoDB" : "");
    return query(m->s, sql);
}

xonce_status xo_measure_drop(xo_measure *m)
{
    char sql[128];
    (void)snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS %s", m->table);
    return query(m->s, sql);
}

static int on_key(const xonce_row *r, void *arg)
{
    (void)snprintf(arg, XO_KEY_SIZE, "%s", xonce_row_text(r, 0));
    return 1;
}

/* The next chunk's records, which lie side by side in the unique key. *last "": there was none. */
static xonce_status forget_chunk(xonce_store *s, char *last, int64_t *deleted)
{
    static const char look[] = "SELECT max(x.message_id) FROM (SELECT message_id FROM transaction_record WHERE message_id > $1 AND message_id < $2 ORDER BY message_id LIMIT $3) x";
    static const char del[] = "DELETE FROM transaction_record WHERE message_id > $1 AND message_id <= $2 AND consumer_group = $3";
    char first[XO_KEY_SIZE];
    memcpy(first, last, sizeof(first));
    last[0] = 0;
    xonce_value range[] = {xonce_text(first), xonce_text(XO_MEASURE_IDS "G"), xonce_int(CHUNK)}; /* G: behind the last hex digit */
    xonce_status st = xo_store_query(s, look, range, 3, on_key, last, NULL);
    if (st != XONCE_OK || !last[0]) {
        return st;
    }
    xonce_value chunk[] = {xonce_text(first), xonce_text(last), xonce_text(s->group)};
    int64_t n = 0;
    st = xo_store_query(s, del, chunk, 3, NULL, NULL, &n);
    *deleted += n;
    return st;
}

xonce_status xo_measure_forget(xo_measure *m, int gently, void (*progress)(int64_t deleted), int64_t *deleted)
{
    char last[XO_KEY_SIZE] = XO_MEASURE_IDS;
    xonce_status st = XONCE_OK;
    *deleted = 0;
    while (st == XONCE_OK && last[0]) {
        int64_t began = xo_mono_ms();
        st = forget_chunk(m->s, last, deleted);
        if (st == XONCE_OK && progress) {
            progress(*deleted);
        }
        if (gently && last[0]) {
            xo_pause_ms(xo_mono_ms() - began);
        }
    }
    return st;
}

/* ---- the ways there and back ---- */

static xonce_status one_way(xo_measure *m, double *us)
{
    int64_t began = xo_mono_us();
    xonce_status st = query(m->s, "SELECT 1");
    *us = (double)(xo_mono_us() - began);
    return st;
}

static xonce_status one_commit(xo_measure *m, double *us)
{
    xonce_tx *tx;
    xonce_status st = xonce_tx_begin(m->s, &tx);
    if (st != XONCE_OK) {
        return st;
    }
    st = xonce_exec(tx, m->insert, xonce_text("commit"), xonce_text(m->body));
    if (st == XONCE_OK) {
        st = xonce_tx_flush(tx);
    }
    if (st != XONCE_OK) {
        xonce_tx_rollback(tx);
        return st;
    }
    int64_t began = xo_mono_us();
    st = xonce_tx_commit(tx);
    *us = (double)(xo_mono_us() - began);
    return st;
}

static xonce_status several(xo_measure *m, xonce_status (*one)(xo_measure *, double *), double *us)
{
    double all[WAYS];
    size_t n = 0;
    int64_t until = xo_mono_ms() + LONG_ENOUGH_MS;
    xonce_status st = one(m, us); /* warm */
    while (st == XONCE_OK && n < WAYS && (n == 0 || xo_mono_ms() < until)) {
        st = one(m, &all[n++]);
    }
    *us = n ? xo_measure_median(all, n) : 0;
    return st;
}

xonce_status xo_measure_ways(xo_measure *m, double *round_trip_us, double *commit_us)
{
    *commit_us = 0;
    xonce_status st = several(m, one_way, round_trip_us);
    return st == XONCE_OK ? several(m, one_commit, commit_us) : st;
}
