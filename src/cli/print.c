/* Messages as lines of text or JSON. */
#include "cli/print.h"
#include "base/clock.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/output.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, WAIT_MS = 250, LATER_MS = 24 * 3600 * 1000 };

static void json_text(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, "\"%s\":", name);
    xo_buf_json(b, value, strlen(value));
    xo_buf_char(b, ',');
}

static void json_property(const char *name, const char *value, void *arg)
{
    xo_buf *b = arg;
    if (b->p[b->len - 1] != '{') {
        xo_buf_char(b, ',');
    }
    xo_buf_json(b, name, strlen(name));
    xo_buf_char(b, ':');
    xo_buf_json(b, value, strlen(value));
}

static void print_json(xo_buf *b, const xonce_message *m)
{
    size_t n;
    const char *body = xonce_message_body(m, &n);
    xo_buf_char(b, '{');
    json_text(b, "id", xonce_message_id(m));
    json_text(b, "topic", xonce_message_topic(m));
    json_text(b, "tag", xonce_message_tag(m));
    json_text(b, "key", xonce_message_key(m));
    xo_buf_printf(b, "\"attempt\":%d,\"stored_ms\":%" PRId64 ",\"properties\":{", xonce_message_attempt(m), xonce_message_store_time(m));
    if (!b->failed) {
        xonce_message_each_property(m, json_property, b);
    }
    if (xo_utf8_valid(body, n, NULL)) {
        xo_buf_str(b, "},\"body\":");
        xo_buf_json(b, body, n);
    } else {
        char *coded = xo_base64(body, n);
        xo_buf_str(b, "},\"body_base64\":");
        xo_buf_json(b, coded ? coded : "", coded ? strlen(coded) : 0);
        free(coded);
    }
    xo_buf_str(b, "}\n");
}

static void print_text(xo_buf *b, const xonce_message *m)
{
    size_t n;
    const char *body = xonce_message_body(m, &n), *tag = xonce_message_tag(m), *key = xonce_message_key(m);
    xo_buf head = {0};
    xo_buf_printf(&head, "%s", xonce_message_id(m));
    if (*tag) {
        xo_buf_printf(&head, " tag=%s", tag);
    }
    if (*key) {
        xo_buf_printf(&head, " key=%s", key);
    }
    if (xonce_message_attempt(m) > 1) {
        xo_buf_printf(&head, " attempt=%d", xonce_message_attempt(m));
    }
    xo_buf_char(&head, ' ');
    xo_buf_add(&head, body, n);
    char *clean = head.failed ? NULL : xo_out_clean(head.p, head.len);
    xo_buf_str(b, clean ? clean : "");
    xo_buf_char(b, '\n');
    b->failed |= clean == NULL;
    free(clean);
    xo_buf_free(&head);
}

static void print_list(xonce_source *source, const xo_print_job *job, xonce_message *list)
{
    while (list) {
        xonce_message *m = list;
        xo_buf b = {0};
        list = m->next;
        m->next = NULL;
        (job->json ? print_json : print_text)(&b, m);
        xo_out_buf(&b);
        source->ops->nack(source, m, LATER_MS); /* not at once: a source that hands it out again by itself would show the same messages for ever */
    }
    (void)fflush(stdout);
}

int xo_print_messages(xonce_source *source, const xo_print_job *job)
{
    int rc = XO_EXIT_OK;
    int64_t last = xo_mono_ms(), told = 0;
    int down = 0;
    if (source->ops->subscribe(source, job->group, job->topic, job->tags, job->ordered) != XONCE_OK || source->ops->start(source) != XONCE_OK) {
        (void)xo_out_failed(NULL);
        return XO_EXIT_USAGE;
    }
    while (!*job->stop && rc == XO_EXIT_OK) {
        xonce_message *list = NULL;
        if (source->ops->poll(source, BATCH, WAIT_MS, &list) != XONCE_OK) {
            if (!xonce_error_last()->again) {
                rc = xo_out_failed(NULL);
            } else if (xo_mono_ms() - told > 5000 || !told) {
                (void)xo_out_failed("will try again");
                told = xo_mono_ms();
            }
            xo_pause_ms(rc == XO_EXIT_OK ? WAIT_MS : 0);
            down = 1;
        }
        if (list) {
            last = xo_mono_ms();
            down = 0;
            print_list(source, job, list);
        } else if (job->idle_ms && xo_mono_ms() - last >= job->idle_ms) {
            rc = down ? XO_EXIT_FAILED : rc;
            break;
        }
    }
    (void)source->ops->stop(source, 1000);
    return rc;
}
