/* The XML answers of an endpoint, as a client reads them. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "proto/properties.h"
#include "proto/receipt.h"
#include "proto/xml.h"
#include "proto/xml_read.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a client gets is at fault in one way only: the other side does not speak the protocol. */
static xonce_status as_protocol(xonce_status st, const char *what)
{
    xo_error e;
    if (st == XONCE_E_INVALID) {
        xo_error_context("%s", what);
        xo_error_save(&e);
        e.pub.code = XONCE_E_PROTOCOL;
        e.pub.again = 1;
        return xo_error_restore(&e);
    }
    return st == XONCE_E_PROTOCOL ? xo_error_context("%s: element missing, damaged or unexpected", what) : st;
}

static char *copy(const xo_xml_field *f)
{
    return f->text ? xo_memdup0(f->text, f->len) : xo_memdup0("", 0);
}

/* ---- the answer to a send ---- */

static xonce_status take_sent(void *arg, const xo_xml_field *f)
{
    xo_xml_sent *s = arg;
    if (!f[0].text || !f[0].len)
        return xo_fail(XONCE_E_PROTOCOL, "MessageId");
    s->id = copy(&f[0]);
    s->body_md5 = copy(&f[1]);
    s->handle = f[2].text && f[2].len ? copy(&f[2]) : NULL;
    return !s->id || !s->body_md5 || (f[2].text && f[2].len && !s->handle) ? xo_nomem() : XONCE_OK;
}

xonce_status xo_xml_read_sent(xo_xml_sent *out, const char *doc, size_t n)
{
    static const char *const fields[] = {"MessageId", "MessageBodyMD5", "ReceiptHandle", NULL};
    static const xo_xml_shape shape = {"Message", NULL, 0, fields, take_sent};
    memset(out, 0, sizeof *out);
    xonce_status st = xo_xml_read(&shape, out, doc, n);
    if (st)
        xo_xml_sent_free(out);
    return as_protocol(st, "answer to a send");
}

void xo_xml_sent_free(xo_xml_sent *s)
{
    if (!s)
        return;
    free(s->id);
    free(s->body_md5);
    free(s->handle);
    memset(s, 0, sizeof *s);
}

/* ---- errors ---- */

static xonce_status take_error(void *arg, const xo_xml_field *f)
{
    xo_xml_error *e = arg;
    if (!f[0].text || !f[0].len)
        return xo_fail(XONCE_E_PROTOCOL, "Code");
    e->code = copy(&f[0]);
    e->message = copy(&f[1]);
    e->request_id = copy(&f[2]);
    e->host_id = copy(&f[3]);
    return e->code && e->message && e->request_id && e->host_id ? XONCE_OK : xo_nomem();
}

xonce_status xo_xml_read_error(xo_xml_error *out, const char *doc, size_t n)
{
    static const char *const fields[] = {"Code", "Message", "RequestId", "HostId", NULL};
    static const xo_xml_shape shape = {"Error", NULL, 0, fields, take_error};
    memset(out, 0, sizeof *out);
    xonce_status st = xo_xml_read(&shape, out, doc, n);
    if (st)
        xo_xml_error_free(out);
    return as_protocol(st, "error answer");
}

void xo_xml_error_free(xo_xml_error *e)
{
    if (!e)
        return;
    free(e->code);
    free(e->message);
    free(e->request_id);
    free(e->host_id);
    memset(e, 0, sizeof *e);
}

typedef struct {
    xo_xml_ack_error *list;
    size_t count, cap;
} ack_errors;

static xonce_status take_ack_error(void *arg, const xo_xml_field *f)
{
    ack_errors *l = arg;
    if (!f[0].text || !f[2].text)
        return xo_fail(XONCE_E_PROTOCOL, "%s", f[0].text ? "ReceiptHandle" : "ErrorCode");
    xo_xml_ack_error *grown = xo_grow(l->list, &l->cap, l->count + 1, sizeof *grown);
    if (!grown)
        return xo_nomem();
    l->list = grown;
    xo_xml_ack_error *e = &l->list[l->count++];
    e->code = copy(&f[0]);
    e->message = copy(&f[1]);
    e->handle = copy(&f[2]);
    return e->code && e->message && e->handle ? XONCE_OK : xo_nomem();
}

xonce_status xo_xml_read_ack_errors(xo_xml_ack_error **out, size_t *count, const char *doc, size_t n)
{
    static const char *const fields[] = {"ErrorCode", "ErrorMessage", "ReceiptHandle", NULL};
    static const xo_xml_shape shape = {"Errors", "Error", 0, fields, take_ack_error};
    ack_errors l = {NULL, 0, 0};
    *out = NULL;
    *count = 0;
    xonce_status st = xo_xml_read(&shape, &l, doc, n);
    if (!st && !l.count)
        st = xo_fail(XONCE_E_PROTOCOL, "Error");
    if (st) {
        xo_xml_ack_errors_free(l.list, l.count);
        return as_protocol(st, "answer to an acknowledgement");
    }
    *out = l.list;
    *count = l.count;
    return XONCE_OK;
}

void xo_xml_ack_errors_free(xo_xml_ack_error *e, size_t n)
{
    for (size_t i = 0; e && i < n; i++) {
        free(e[i].code);
        free(e[i].message);
        free(e[i].handle);
    }
    free(e);
}

/* ---- messages ---- */

enum { F_ID, F_MD5, F_BODY, F_HANDLE, F_PUBLISHED, F_FIRST, F_NEXT, F_TIMES, F_TAG, F_PROPERTIES };
static const char *const message_fields[] = {
    "MessageId",       "MessageBodyMD5", "MessageBody", "ReceiptHandle", "PublishTime", "FirstConsumeTime",
    "NextConsumeTime", "ConsumedTimes",  "MessageTag",  "Properties",    NULL};

typedef struct {
    const char *topic;
    xonce_message *first, **last;
    size_t count;
    int64_t server_now, mono_now;
} message_list;

/* A decimal number with blanks around it; -1 when absent or not one. */
static int64_t number(const xo_xml_field *f)
{
    static const char blanks[] = " \t\r\n";
    if (!f->text)
        return -1;
    const char *s = f->text + strspn(f->text, blanks);
    size_t n = strspn(s, "0123456789");
    int64_t v = 0;
    if (!n || n > 18 || s[n + strspn(s + n, blanks)])
        return -1;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (s[i] - '0');
    return v;
}

static xonce_status check_md5(xonce_message *m, const xo_xml_field *f)
{
    unsigned char digest[16];
    if (!f->text || !f->len)
        return XONCE_OK;
    if (xo_md5(m->body, m->body_len, digest))
        return XONCE_OK; /* no MD5 in this crypto library: TCP's checksum has to do */
    xo_hex(m->body_md5, digest, sizeof digest, 1);
    if (strcasecmp(m->body_md5, f->text))
        return xo_fail(XONCE_E_PROTOCOL, "MessageBodyMD5 of message %.64s", m->id);
    return XONCE_OK;
}

static xonce_status fill(xonce_message *m, const message_list *l, const xo_xml_field *f)
{
    xo_receipt r;
    int64_t next = number(&f[F_NEXT]), times = number(&f[F_TIMES]);
    m->handle = xo_memdup0(f[F_HANDLE].text, f[F_HANDLE].len);
    if (!m->handle)
        return xo_nomem();
    m->store_time = m->born_time = number(&f[F_PUBLISHED]);
    m->attempt = times < 1 ? 1 : times > INT32_MAX ? INT32_MAX : (int)times;
    m->expires_mono = l->mono_now + (next - l->server_now);
    xonce_status st = check_md5(m, &f[F_MD5]);
    if (!st && xo_receipt_read(&r, m->handle))
        st = xonce_message_set_origin(m, r.broker, r.queue, r.offset);
    if (!st && f[F_PROPERTIES].text)
        st = xo_properties_read(m, f[F_PROPERTIES].text, f[F_PROPERTIES].len);
    if (!st && f[F_TAG].text && f[F_TAG].len)
        st = xo_message_put(m, "TAGS", 4, f[F_TAG].text, f[F_TAG].len);
    return st;
}

static xonce_status take_message(void *arg, const xo_xml_field *f)
{
    static const int wanted[] = {F_ID, F_BODY, F_HANDLE, F_NEXT, F_TIMES};
    message_list *l = arg;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int k = wanted[i];
        if (!f[k].text || (k != F_BODY && !f[k].len) || (k >= F_NEXT && number(&f[k]) < 0))
            return xo_fail(XONCE_E_PROTOCOL, "%s", message_fields[k]);
    }
    xonce_message *m;
    xonce_status st = xonce_message_new(&m, l->topic, f[F_ID].text, f[F_BODY].text, f[F_BODY].len);
    if (!st && (st = fill(m, l, f)))
        xonce_message_free(m);
    if (st)
        return st;
    *l->last = m;
    l->last = &m->next;
    l->count++;
    return XONCE_OK;
}

/* The server's time now. Its Date has whole seconds: our own clock fills in the rest when it agrees, else the end of
 * that second is taken (too early an expiry is the safe side). */
static int64_t server_time(int64_t date_ms)
{
    int64_t now = xo_now_ms();
    if (date_ms < 0 || (now >= date_ms && now < date_ms + 1000))
        return now;
    return date_ms + 999;
}

xonce_status xo_xml_read_messages(xonce_message **list, size_t *count, const char *topic, const char *doc, size_t n,
                                  int64_t date_ms)
{
    static const xo_xml_shape shape = {"Messages", "Message", 0, message_fields, take_message};
    message_list l = {topic, NULL, NULL, 0, server_time(date_ms), xo_mono_ms()};
    l.last = &l.first;
    *list = NULL;
    *count = 0;
    xonce_status st = xo_xml_read(&shape, &l, doc, n);
    if (st) {
        for (xonce_message *m = l.first, *next; m; m = next) {
            next = m->next;
            xonce_message_free(m);
        }
        return as_protocol(st, "answer with messages");
    }
    *list = l.first;
    *count = l.count;
    return XONCE_OK;
}
