/* Opening a source by its URI, and closing any. */
#include "source/source.h"
#include "base/config.h"
#include "base/text.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static xonce_status named(xonce_status st, const char *uri, xonce_source **s)
{
    if (st == XONCE_OK && !((*s)->uri = xo_uri_mask(uri))) {
        xonce_source_close(*s);
        *s = NULL;
        return xo_nomem();
    }
    return st;
}

xonce_status xonce_source_open(xonce_source **out, const char *uri, const xonce_config *cfg)
{
    if (!out) {
        return xo_fail(XONCE_E_INVALID, "xonce_source_open: no place for the source");
    }
    *out = NULL;
    if (!uri) {
        return xo_fail(XONCE_E_INVALID, "xonce_source_open: no URI; http://host:port?instance=MQ_INST_x and rocketmq://host:9876 are such");
    }
    if (strncasecmp(uri, "http://", 7) == 0 || strncasecmp(uri, "https://", 8) == 0) {
        return named(xo_source_http_open(out, uri, cfg), uri, out);
    }
    if (strncasecmp(uri, "rocketmq://", 11) == 0) {
        return named(xo_source_rocketmq_open(out, uri, cfg), uri, out);
    }
    static const char *const schemes[] = {"http", "https", "rocketmq"};
    size_t n = strcspn(uri, ":/?#@ ");
    char scheme[32] = "";
    if (uri[n] == ':' && n > 0 && n < sizeof(scheme)) {
        memcpy(scheme, uri, n);
    }
    const char *near = scheme[0] ? xo_nearest(scheme, schemes, 3) : NULL;
    if (near) {
        return xo_fail(XONCE_E_INVALID, "no source is known for \"%s:\"; did you mean %s://host:port ?", scheme, near);
    }
    return xo_fail(XONCE_E_INVALID, "a source URI begins with http://, https:// or rocketmq://%s%s%s", scheme[0] ? ", not with " : "", scheme, scheme[0] ? ":" : "");
}

void xo_source_queues_free(xo_source_queue *q, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(q[i].topic);
        free(q[i].broker);
    }
    free(q);
}

void xonce_source_close(xonce_source *s)
{
    if (s) {
        char *uri = s->uri;
        s->ops->close(s);
        free(uri);
    }
}
