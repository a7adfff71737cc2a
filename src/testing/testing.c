/* libxonce-test: the endpoint in a test's own process; starting, sending, faults. */
#include "base/text.h"
#include "endpoint/inside.h"
#include "proto/properties.h"
#include "testing/testing.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REDELIVER_MS = 2000, REDELIVER_MIN_MS = 100, REDELIVER_MAX_MS = 86400000, DELAY_MAX_MS = 60000 };

xonce_status xo_testing_told(xonce_status st)
{
    return st == XONCE_OK ? st : xonce_set_error(st, "%s", xonce_error_last()->text);
}

/* ---- the folder ---- */

static xonce_status make_folder(xonce_test *t)
{
    const char *tmp = getenv("TMPDIR");
    t->folder = xo_printf("%s/xonce-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!t->folder)
        return xo_nomem();
    if (mkdtemp(t->folder))
        return XONCE_OK;
    xonce_status st = xo_fail(XONCE_E_INVALID, "cannot make a folder like %s: %s (set TMPDIR, or data of xonce_test_options)", t->folder, strerror(errno));
    free(t->folder);
    t->folder = NULL;
    return st;
}

/* The endpoint makes no folders in it. */
static void remove_folder(const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    (void)rmdir(folder);
}

/* ---- starting and stopping ---- */

static xonce_status check_options(const xonce_test_options *o)
{
    if (o->size != sizeof *o)
        return xo_fail(XONCE_E_INVALID, "xonce_test_options.size is %zu: set it to sizeof(xonce_test_options)", o->size);
    if (o->redeliver_ms && (o->redeliver_ms < REDELIVER_MIN_MS || o->redeliver_ms > REDELIVER_MAX_MS))
        return xo_fail(XONCE_E_INVALID, "redeliver_ms is %lld: from %d to %d", (long long)o->redeliver_ms, REDELIVER_MIN_MS, REDELIVER_MAX_MS);
    if (!o->access_key_id != !o->access_key_secret)
        return xo_fail(XONCE_E_INVALID, "access_key_id and access_key_secret go together");
    return o->instance && *o->instance ? xo_check_url_name("instance", o->instance) : XONCE_OK;
}

static xonce_status start(xonce_test *t, const xonce_test_options *o)
{
    t->access_key_id = xo_strdup(o->access_key_id ? o->access_key_id : "test");
    t->access_key_secret = xo_strdup(o->access_key_secret ? o->access_key_secret : "test");
    if (!t->access_key_id || !t->access_key_secret)
        return xo_nomem();
    xonce_status st = o->data ? XONCE_OK : make_folder(t);
    if (st != XONCE_OK)
        return st;
    const xo_credentials credentials = {.access_key_id = t->access_key_id, .access_key_secret = t->access_key_secret};
    const xo_endpoint_options options = {.listen = o->listen ? o->listen : "127.0.0.1:0",
                                         .data = o->data ? o->data : t->folder,
                                         .instance = o->instance,
                                         .redeliver_ms = o->redeliver_ms ? o->redeliver_ms : REDELIVER_MS,
                                         .credentials = o->access_key_id ? &credentials : NULL};
    st = xo_endpoint_start(&t->ep, &options);
    if (st != XONCE_OK)
        return st;
    t->engine = xo_endpoint_engine(t->ep);
    int named = o->instance && *o->instance;
    t->uri = xo_printf("%s%s%s", xo_endpoint_url(t->ep), named ? "?instance=" : "", named ? o->instance : "");
    return t->uri ? XONCE_OK : xo_nomem();
}

/* The two libraries hand each other things whose inside both know. xonce_version() is not among what this one has a copy of. */
static xonce_status check_version(void)
{
    const char *other = xonce_version();
    return strcmp(other, XONCE_VERSION) == 0 ? XONCE_OK
                                             : xo_fail(XONCE_E_INVALID, "libxonce-test is of version " XONCE_VERSION ", libxonce of %.40s: install and link both of one version", other);
}

xonce_status xonce_test_start(xonce_test **out, const xonce_test_options *o)
{
    const xonce_test_options defaults = {.size = sizeof defaults};
    *out = NULL;
    xonce_status st = check_version();
    st = st == XONCE_OK ? check_options(o ? o : &defaults) : st;
    xonce_test *t = st == XONCE_OK ? xo_calloc(1, sizeof *t) : NULL;
    if (st == XONCE_OK)
        st = t ? start(t, o ? o : &defaults) : xo_nomem();
    if (st == XONCE_OK) {
        *out = t;
        return st;
    }
    st = xo_testing_told(st);
    xonce_test_stop(t);
    return st;
}

void xonce_test_stop(xonce_test *t)
{
    if (!t)
        return;
    xo_endpoint_stop(t->ep);
    if (t->folder)
        remove_folder(t->folder);
    xo_wipe_free(t->access_key_secret);
    free(t->access_key_id);
    free(t->folder);
    free(t->uri);
    free(t);
}

const char *xonce_test_uri(const xonce_test *t)
{
    return t->uri;
}

xonce_status xonce_test_configure(const xonce_test *t, xonce_config *c)
{
    xonce_status st = xonce_config_set(c, "credentials.access-key-id", t->access_key_id);
    if (st == XONCE_OK)
        st = xonce_config_set(c, "credentials.access-key-secret", t->access_key_secret);
    return xo_testing_told(st);
}

/* ---- topics and messages ---- */

xonce_status xonce_test_topic(xonce_test *t, const char *name, const char *kind)
{
    xo_kind k = XO_KIND_ANY;
    xonce_status st = xo_check_url_name("topic", name);
    if (st == XONCE_OK && kind && !xo_kind_read(kind, &k))
        st = xo_fail(XONCE_E_INVALID, "topic %s: '%.100s' is no kind: ordered, timed, transaction, or none", name, kind);
    if (st == XONCE_OK)
        st = xo_inside_topic(t->ep, name, k);
    return xo_testing_told(st);
}

xonce_status xonce_test_send(xonce_test *t, const xonce_message *m, char *id)
{
    char made[33];
    return xo_testing_told(xo_inside_send(t->ep, m, id ? id : made));
}

xonce_status xonce_test_send_text(xonce_test *t, const char *topic, const char *tag, const char *body, char *id)
{
    xonce_message *m = NULL;
    xonce_status st = xonce_message_new(&m, topic, NULL, body, strlen(body));
    if (st == XONCE_OK && tag && *tag)
        st = xonce_message_set_property(m, "TAGS", tag);
    st = st == XONCE_OK ? xonce_test_send(t, m, id) : xo_testing_told(st);
    xonce_message_free(m);
    return st;
}

/* ---- faults ---- */

static int chance_ok(double c)
{
    return c >= 0 && c <= 1; /* and not NaN */
}

xonce_status xonce_test_set_faults(xonce_test *t, const xonce_test_faults *f)
{
    const xonce_test_faults none = {.size = sizeof none};
    f = f ? f : &none;
    xonce_status st = XONCE_OK;
    if (f->size != sizeof *f)
        st = xo_fail(XONCE_E_INVALID, "xonce_test_faults.size is %zu: set it to sizeof(xonce_test_faults)", f->size);
    else if (!chance_ok(f->duplicate) || !chance_ok(f->lose_ack) || !chance_ok(f->error) || !chance_ok(f->cut))
        st = xo_fail(XONCE_E_INVALID, "duplicate, lose_ack, error and cut are chances from 0 to 1");
    else if (f->error_status && (f->error_status < 400 || f->error_status > 599))
        st = xo_fail(XONCE_E_INVALID, "error_status is %d: from 400 to 599", f->error_status);
    else if (f->delay_ack_ms < 0 || f->delay_ack_ms > DELAY_MAX_MS)
        st = xo_fail(XONCE_E_INVALID, "delay_ack_ms is %lld: from 0 to %d", (long long)f->delay_ack_ms, DELAY_MAX_MS);
    if (st != XONCE_OK)
        return xo_testing_told(st);
    const xo_faults faults = {.duplicate = f->duplicate, .lose_ack = f->lose_ack, .error = f->error, .cut = f->cut,
                              .error_status = f->error_status ? f->error_status : 503, .delay_ack_ms = f->delay_ack_ms,
                              .clock_skew_ms = f->clock_skew_ms, .reorder = f->reorder != 0};
    xo_endpoint_set_faults(t->ep, &faults);
    return XONCE_OK;
}
