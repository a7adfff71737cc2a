/* The endpoint in this process, see endpoint_rig.h. */
#include "tests/proto/endpoint_rig.h"
#include "base/clock.h"
#include "base/mem.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rig_init(rig *r)
{
    memset(r, 0, sizeof *r);
    (void)snprintf(r->dir, sizeof r->dir, "%s", "/tmp/xonce-endpoint-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(r->dir));
    r->o = (xo_endpoint_options){.listen = "127.0.0.1:0", .data = r->dir, .instance = "", .redeliver_ms = 1200};
}

void rig_start(rig *r)
{
    xonce_status st = xo_endpoint_start(&r->ep, &r->o);
    ck_assert_msg(st == XONCE_OK, "%s", xonce_error_last()->text);
    r->port = (int)strtol(strrchr(xo_endpoint_url(r->ep), ':') + 1, NULL, 10);
    r->w.port = r->port;
}

void rig_stop(rig *r)
{
    wire_close(&r->w);
    xo_endpoint_stop(r->ep);
    r->ep = NULL;
}

void rig_end(rig *r)
{
    static const char *const files[] = {"queues.db", "queues.db-wal", "queues.db-shm", "lock"};
    rig_stop(r);
    wire_free(&r->w);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *path = xo_printf("%s/%s", r->dir, files[i]);
        (void)unlink(path);
        free(path);
    }
    ck_assert_int_eq(rmdir(r->dir), 0);
}

void rig_requests(rig *r, long long n)
{
    long long seen = 0;
    for (int64_t until = xo_mono_ms() + 60000; seen < n; xo_pause_ms(2)) {
        xo_buf b = {0};
        ck_assert_msg(xo_mono_ms() < until, "%lld of %lld requests came", seen, n);
        xo_endpoint_stats(r->ep, &b);
        seen = strtoll(b.p, NULL, 10);
        xo_buf_free(&b);
    }
}

static long long number(const wire *w, const char *name, int i)
{
    char *text = wire_element(w, name, i);
    ck_assert_msg(text != NULL, "no %s", name);
    long long v = strtoll(text, NULL, 10);
    free(text);
    return v;
}

void rig_take(rig *r, wire *w, taken *t, const char *topic, const char *group, int max, int wait_s, const char *more)
{
    memset(t, 0, sizeof *t);
    w->port = r->port;
    int status = wire_consume(w, topic, group, max, wait_s, more);
    if (status == 404) {
        rig_refused(w, 404, "MessageNotExist");
        return;
    }
    ck_assert_msg(status == 200, "%d %s", status, w->body.p ? w->body.p : "");
    t->n = wire_count(w, "Message");
    ck_assert_int_ge(t->n, 1);
    ck_assert_int_le(t->n, max);
    for (int i = 0; i < t->n; i++) {
        t->id[i] = wire_element(w, "MessageId", i);
        t->body[i] = wire_element(w, "MessageBody", i);
        t->handle[i] = wire_element(w, "ReceiptHandle", i);
        t->times[i] = number(w, "ConsumedTimes", i);
        t->first[i] = number(w, "FirstConsumeTime", i);
        t->next[i] = number(w, "NextConsumeTime", i);
    }
}

int rig_ack(wire *w, const taken *t, const char *topic, const char *group, const char *more)
{
    return wire_ack(w, topic, group, t->handle, t->n, more);
}

void taken_free(taken *t)
{
    for (int i = 0; i < t->n; i++) {
        free(t->id[i]);
        free(t->body[i]);
        free(t->handle[i]);
    }
    memset(t, 0, sizeof *t);
}

char *rig_send(wire *w, const char *topic, const char *body, const char *tag, const char *properties)
{
    int status = wire_send(w, topic, body, tag, properties);
    ck_assert_msg(status == 201, "%d %s", status, w->body.p ? w->body.p : "");
    char *id = wire_element(w, "MessageId", 0);
    ck_assert_ptr_nonnull(id);
    ck_assert_uint_eq(strlen(id), 32);
    ck_assert_uint_eq(strspn(id, "0123456789ABCDEF"), 32);
    return id;
}

void rig_sent(wire *w, const char *topic, const char *body, const char *tag, const char *properties)
{
    free(rig_send(w, topic, body, tag, properties));
}

void rig_refused(const wire *w, int status, const char *code)
{
    ck_assert_msg(w->status == status, "%d instead of %d %s: %s", w->status, status, code, w->body.p ? w->body.p : "");
    char *got = wire_element(w, "Code", 0), *id = wire_element(w, "RequestId", 0), *host = wire_element(w, "HostId", 0),
         *text = wire_element(w, "Message", 0);
    ck_assert_ptr_nonnull(got);
    ck_assert_str_eq(got, code);
    ck_assert(id && strlen(id) == 24 && strstr(w->head.p, id) && host && strncmp(host, "http://", 7) == 0 && text && *text);
    ck_assert_ptr_nonnull(strstr(w->body.p, "<Error xmlns=\"http://mq.aliyuncs.com/doc/v1\">"));
    free(got);
    free(id);
    free(host);
    free(text);
}
