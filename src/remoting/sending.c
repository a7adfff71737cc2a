/* What everyone who sends messages to a broker needs: the request, and the queues that may be written to. */
#include "remoting/sending.h"
#include <stdlib.h>
#include <string.h>

#define TEMPLATE_TOPIC "TBW102" /* brokers that make topics by themselves offer it */
enum { TEMPLATE_QUEUES = 4 };

void xo_send_command(xo_command *c, const xo_send_parts *s)
{
    xo_command_init(c, s->batch ? XO_RMQ_SEND_BATCH : XO_RMQ_SEND_V2);
    xo_command_set(c, "a", s->group);
    xo_command_set(c, "b", s->topic);
    xo_command_set(c, "c", TEMPLATE_TOPIC);
    xo_command_set_int(c, "d", TEMPLATE_QUEUES);
    xo_command_set_int(c, "e", s->queue);
    xo_command_set_int(c, "f", s->sys_flag);
    xo_command_set_int(c, "g", s->born_time);
    xo_command_set_int(c, "h", 0);
    xo_command_set(c, "i", s->properties ? s->properties : "");
    xo_command_set_int(c, "j", 0);
    xo_command_set_bool(c, "k", 0);
    xo_command_set_bool(c, "m", s->batch);
    xo_command_set(c, "n", s->broker);
    c->body = s->body;
    c->body_len = s->body_len;
}

/* Of the template each broker gives at most four queues to a new topic. */
static void shorten(xo_queue_id *q, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        if (q[i].id < TEMPLATE_QUEUES) {
            q[kept++] = q[i];
        } else {
            free(q[i].broker);
        }
    }
    *n = kept;
}

static xonce_status queues_of(xo_cluster *c, const char *topic, int64_t max_age_ms, xo_queue_id **out, size_t *n)
{
    xo_route *r;
    xonce_status st = xo_cluster_route(c, topic, max_age_ms, &r);
    if (!st) {
        st = xo_route_queues_of(r, 1, out, n);
        xo_route_free(r);
    }
    return st;
}

xonce_status xo_send_queues(xo_cluster *c, const char *topic, int64_t max_age_ms, xo_queue_id **out, size_t *n, int *made_up)
{
    xo_error why;
    *out = NULL;
    *n = 0;
    *made_up = 0;
    xonce_status st = queues_of(c, topic, max_age_ms, out, n);
    if (st == XONCE_E_NOT_FOUND) {
        xo_error_save(&why);
        st = queues_of(c, TEMPLATE_TOPIC, max_age_ms, out, n);
        if (st == XONCE_E_NOT_FOUND) {
            return xo_error_restore(&why);
        }
        if (!st) {
            *made_up = 1;
            shorten(*out, n);
        }
    }
    if (!st && *n == 0) {
        xo_queue_ids_free(*out, 0);
        *out = NULL;
        st = xo_fail(XONCE_E_NOT_FOUND, "topic %.127s has no queue that may be written to: its brokers have no master now, or it is read-only", topic);
        xo_error_set_native(0, 1);
    }
    return st;
}

xonce_status xo_send_check_name(const char *what, const char *name, size_t max)
{
    size_t n = strlen(name), good = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-%|");
    if (n == 0 || n > max) {
        return xo_fail(XONCE_E_INVALID, "the %s \"%.40s%s\" has %zu characters: 1 to %zu are allowed, those of a namespace included", what, name, n > 40 ? "..." : "", n, max);
    }
    if (good < n) {
        return xo_fail(XONCE_E_INVALID, "the %s \"%.130s\" holds a byte 0x%02x at offset %zu: letters, digits and _ - %% | are allowed", what, name, (unsigned char)name[good], good);
    }
    return XONCE_OK;
}
