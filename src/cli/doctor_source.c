/* The source's half of doctor: what every source has, and endpoints of the HTTP protocol. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/doctor.h"
#include "proto/httpclient.h"
#include "proto/xml.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PROBE_MS = 10000, CLOCK_NOTE_MS = 5000, CLOCK_MAX_MS = 300000 };

void xo_doctor_clock(xo_findings *f, const char *whose, int64_t off, int64_t exact)
{
    char what[160];
    int64_t by = off < 0 ? -off : off;
    if (by <= CLOCK_NOTE_MS + exact) {
        xo_findings_good(f, "the clock of %s and this machine's agree", whose);
        return;
    }
    (void)snprintf(what, sizeof(what), "the clock of %.60s is %" PRId64 " s %s this machine's", whose, by / 1000, off > 0 ? "ahead of" : "behind");
    xo_findings_add(f, by > CLOCK_MAX_MS ? XO_UNSAFE : XO_NOTE, what,
                    by > CLOCK_MAX_MS ? "pruning goes by time and refuses to work; endpoints refuse requests that are 15 minutes off" : "times in records and logs are off by as much",
                    "synchronise the clocks (NTP)");
}

/* Is the answer to an acknowledgement that names a handle nobody was given? Then all that comes before it was in order. */
static int is_bad_handle(const xo_http_call *c, const char *code)
{
    xo_xml_ack_error *errors = NULL;
    size_t n = 0;
    if (strcmp(code, "MessageNotExist") == 0 || strcmp(code, "ReceiptHandleError") == 0) {
        return 1;
    }
    xo_error before;
    xo_error_save(&before);
    int found = xo_xml_read_ack_errors(&errors, &n, c->answer.p ? c->answer.p : "", c->answer.len) == XONCE_OK && n > 0;
    if (found) {
        xo_xml_ack_errors_free(errors, n);
    }
    (void)xo_error_restore(&before);
    return found;
}

static void judge_answer(const xo_doctor *d, const xo_http_endpoint *e, const xo_http_call *c, xo_findings *f)
{
    char code[64] = "";
    xonce_status st = c->status >= 400 ? xo_http_error(c, "it refuses", code) : XONCE_OK;
    int named = d->topic && d->group;
    if (st != XONCE_OK && !is_bad_handle(c, code) && (named || st == XONCE_E_AUTH || !*code)) {
        xo_findings_failed(f, XO_BROKEN, st == XONCE_E_NOT_FOUND ? "topic, group or instance" : "a signed request");
        return;
    }
    xo_findings_good(f, e->credentials.access_key_id ? "the credentials are accepted" : "it wants no credentials");
    if (named) {
        xo_findings_good(f, "topic %s and group %s are accepted", d->topic, d->group);
    } else {
        xo_findings_add(f, XO_NOTE, "topic and group were not looked at", NULL, "give --topic and --group");
    }
}

static xonce_status probe(const xo_doctor *d, const xo_http_endpoint *e, xo_http_call *c)
{
    static const char *const handle = "xonce-doctor";
    int named = d->topic && d->group;
    xo_buf target = {0};
    xonce_status st = named ? xo_http_target(&target, e, d->topic, d->group) : (xo_buf_str(&target, "/"), xo_buf_status(&target));
    if (st == XONCE_OK && named) { /* asks for no message, so none is kept from others */
        st = xo_xml_write_handles(&c->request, &handle, 1);
    }
    if (st == XONCE_OK) {
        st = xo_http_prepare(c, e, named ? "DELETE" : "GET", target.p, PROBE_MS);
    }
    if (st == XONCE_OK) {
        st = xo_http_perform(c);
    }
    xo_buf_free(&target);
    return st;
}

static void look_at_http(const xo_doctor *d, xo_findings *f)
{
    xo_http_endpoint e;
    xo_http_call c;
    if (xo_http_endpoint_open(&e, d->from, d->cfg) != XONCE_OK) {
        xo_findings_failed(f, XO_BROKEN, "it cannot be asked");
        return;
    }
    if (xo_http_call_init(&c) != XONCE_OK) {
        xo_findings_failed(f, XO_BROKEN, "it cannot be asked");
    } else {
        int64_t before = xo_mono_ms();
        if (probe(d, &e, &c) != XONCE_OK) {
            xo_findings_failed(f, XO_BROKEN, "it does not answer");
        } else {
            xo_findings_good(f, "%s answers, after %" PRId64 " ms", e.base, xo_mono_ms() - before);
            judge_answer(d, &e, &c, f);
            if (c.date_ms >= 0) {
                xo_doctor_clock(f, "the endpoint", c.date_ms - c.sent_ms, 1000);
            }
        }
        xo_http_call_free(&c);
    }
    if (!e.loopback && strncmp(e.base, "http://", 7) == 0) {
        xo_findings_add(f, XO_NOTE, "messages cross the network unencrypted", "anybody on the way can read them; the credentials themselves are not sent", "use https:// where the endpoint has it");
    }
    xo_http_endpoint_close(&e);
}

void xo_doctor_source(const xo_doctor *d, xo_findings *f)
{
    char *shown = xo_uri_mask(d->from);
    xo_findings_area(f, "source", shown ? shown : "");
    free(shown);
    if (strncasecmp(d->from, "rocketmq://", 11) == 0) {
        xo_doctor_rocketmq(d, f);
        return;
    }
    if (strncasecmp(d->from, "http://", 7) == 0 || strncasecmp(d->from, "https://", 8) == 0) {
        look_at_http(d, f);
        return;
    }
    xonce_source *s = NULL;
    if (xonce_source_open(&s, d->from, d->cfg) != XONCE_OK) { /* it says what is wrong with the scheme */
        xo_findings_failed(f, XO_BROKEN, "it cannot be asked");
    }
    xonce_source_close(s);
}
