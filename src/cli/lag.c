/* The positions of a group: what the brokers have been told, and what the database knows. */
#include "cli/lag.h"
#include "base/clock.h"
#include "cli/broker_view.h"
#include "cli/options.h"
#include "cli/output.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const xo_view *view;
    int64_t *next; /* per queue of the view; -1 none */
} positions;

/* Rows come by generation: the last one is the present history of the queue. */
static int on_position(const xonce_row *r, void *arg)
{
    positions *p = arg;
    for (size_t i = 0; i < p->view->n; i++) {
        const xo_view_queue *q = &p->view->queues[i];
        if (strcmp(q->topic, xonce_row_text(r, 0)) == 0 && strcmp(q->broker, xonce_row_text(r, 1)) == 0 && q->queue == xonce_row_int(r, 2)) {
            p->next[i] = xonce_row_int(r, 3);
        }
    }
    return 0;
}

static xonce_status read_positions(xonce_store *s, const char *group, positions *p)
{
    xonce_value v = xonce_text(group);
    return xo_store_query(s, "SELECT topic_name, broker_name, queue_id, next_offset FROM xonce_settled WHERE consumer_group = $1 ORDER BY generation", &v, 1, on_position, p, NULL);
}

/* Of a queue in which the group has no position yet everything is still to come. */
static int64_t lag_of(const xo_view_queue *q, int64_t next)
{
    int64_t at = next >= 0 ? next : q->committed >= 0 ? q->committed : 0;
    return q->max > at ? q->max - at : 0;
}

static void number(xo_table *t, int64_t v)
{
    if (v >= 0) {
        xo_table_cell(t, "%" PRId64, v);
    } else {
        xo_table_cell(t, "-");
    }
}

static void show_text(const xo_lag_request *r, const positions *p)
{
    static const char *const head[] = {"TOPIC", "BROKER", "QUEUE", "MAX", "COMMITTED", "DATABASE", "LAG", "LAST CONSUMED"};
    enum { COLUMNS = sizeof(head) / sizeof(head[0]) };
    xo_table t = {.columns = COLUMNS};
    int64_t all = 0;
    for (size_t i = 0; i < COLUMNS; i++) {
        xo_table_cell(&t, "%s", head[i]);
    }
    for (size_t i = 0; i < p->view->n; i++) {
        const xo_view_queue *q = &p->view->queues[i];
        char at[40] = "-";
        if (q->last_time >= 0) {
            xo_format_time(q->last_time, at, sizeof(at));
        }
        xo_table_cell(&t, "%s", q->topic);
        xo_table_cell(&t, "%s", q->broker);
        xo_table_cell(&t, "%d", (int)q->queue);
        number(&t, q->max);
        number(&t, q->committed);
        number(&t, p->next[i]);
        number(&t, lag_of(q, p->next[i]));
        xo_table_cell(&t, "%s", at);
        all += lag_of(q, p->next[i]);
    }
    if (p->view->n) {
        xo_table_show(&t);
    } else {
        xo_table_free(&t);
    }
    xo_out("group %s is %" PRId64 " messages behind in %zu queues\n", r->group, all, p->view->n);
}

static void json_number(xo_buf *b, const char *name, int64_t v)
{
    if (v >= 0) {
        xo_buf_printf(b, ",\"%s\":%" PRId64, name, v);
    } else {
        xo_buf_printf(b, ",\"%s\":null", name);
    }
}

static void show_json(const xo_lag_request *r, const positions *p)
{
    xo_buf b = {0};
    xo_buf_str(&b, "{\"group\":");
    xo_buf_json(&b, r->group, strlen(r->group));
    xo_buf_str(&b, ",\"queues\":[");
    for (size_t i = 0; i < p->view->n; i++) {
        const xo_view_queue *q = &p->view->queues[i];
        xo_buf_str(&b, i ? ",{\"topic\":" : "{\"topic\":");
        xo_buf_json(&b, q->topic, strlen(q->topic));
        xo_buf_str(&b, ",\"broker\":");
        xo_buf_json(&b, q->broker, strlen(q->broker));
        xo_buf_printf(&b, ",\"queue\":%d", (int)q->queue);
        json_number(&b, "max_offset", q->max);
        json_number(&b, "committed", q->committed);
        json_number(&b, "database", p->next[i]);
        json_number(&b, "lag", lag_of(q, p->next[i]));
        json_number(&b, "last_consumed_ms", q->last_time);
        xo_buf_char(&b, '}');
    }
    xo_buf_str(&b, "]}\n");
    xo_out_buf(&b);
}

static int show(const xo_lag_request *r, xonce_store *s, const xo_view *v)
{
    positions p = {.view = v, .next = xo_calloc(v->n ? v->n : 1, sizeof(*p.next))};
    if (!p.next) {
        (void)xo_nomem();
        return xo_out_failed(NULL);
    }
    for (size_t i = 0; i < v->n; i++) {
        p.next[i] = -1;
    }
    int rc = XO_EXIT_OK;
    if (s && read_positions(s, r->group, &p) != XONCE_OK) {
        rc = xo_out_failed("positions in the database");
    } else if (r->json) {
        show_json(r, &p);
    } else {
        show_text(r, &p);
    }
    free(p.next);
    return rc;
}

int xo_lag_show(const xo_lag_request *r, xonce_store *s)
{
    xo_cluster *c;
    xo_view v;
    if (xo_cluster_open(&c, r->from, r->cfg, NULL, NULL) != XONCE_OK) {
        (void)xo_out_failed(NULL);
        return XO_EXIT_USAGE;
    }
    int rc = XO_EXIT_FAILED;
    if (xo_view_group(c, r->group, r->topic, &v) == XONCE_OK) {
        rc = show(r, s, &v);
        xo_view_free(&v);
    } else {
        (void)xo_out_failed(NULL);
    }
    xo_cluster_close(c);
    return rc;
}
