/* The XML requests of clients, as an endpoint reads them. */
#include "base/mem.h"
#include "proto/xml.h"
#include "proto/xml_read.h"
#include <stdlib.h>
#include <string.h>

static xonce_status take_send(void *arg, const xo_xml_field *f)
{
    xo_xml_send *s = arg;
    if (!f[0].text || !f[0].len)
        return xo_fail(XONCE_E_PROTOCOL, "MessageBody");
    s->body = xo_memdup0(f[0].text, f[0].len);
    s->body_len = f[0].len;
    s->tag = f[1].text && f[1].len ? xo_memdup0(f[1].text, f[1].len) : NULL;
    s->properties = f[2].text && f[2].len ? xo_memdup0(f[2].text, f[2].len) : NULL;
    if (!s->body || (f[1].text && f[1].len && !s->tag) || (f[2].text && f[2].len && !s->properties))
        return xo_nomem();
    return XONCE_OK;
}

xonce_status xo_xml_read_send(xo_xml_send *out, const char *doc, size_t n)
{
    static const char *const fields[] = {"MessageBody", "MessageTag", "Properties", NULL};
    static const xo_xml_shape shape = {"Message", NULL, 0, fields, take_send};
    memset(out, 0, sizeof *out);
    xonce_status st = xo_xml_read(&shape, out, doc, n);
    if (st)
        xo_xml_send_free(out);
    return st;
}

void xo_xml_send_free(xo_xml_send *s)
{
    if (!s)
        return;
    free(s->body);
    free(s->tag);
    free(s->properties);
    memset(s, 0, sizeof *s);
}

typedef struct {
    char **list;
    size_t count, cap;
} handle_list;

static xonce_status take_handle(void *arg, const xo_xml_field *f)
{
    handle_list *l = arg;
    char **grown = xo_grow(l->list, &l->cap, l->count + 1, sizeof *grown);
    if (!grown)
        return xo_nomem();
    l->list = grown;
    if (!(l->list[l->count] = xo_memdup0(f[0].text, f[0].len)))
        return xo_nomem();
    l->count++;
    return XONCE_OK;
}

xonce_status xo_xml_read_handles(char ***handles, size_t *count, const char *doc, size_t n)
{
    static const char *const fields[] = {"ReceiptHandle", NULL};
    static const xo_xml_shape shape = {"ReceiptHandles", NULL, 1, fields, take_handle};
    handle_list l = {NULL, 0, 0};
    *handles = NULL;
    *count = 0;
    xonce_status st = xo_xml_read(&shape, &l, doc, n);
    if (st) {
        xo_xml_handles_free(l.list, l.count);
        return st;
    }
    *handles = l.list;
    *count = l.count;
    return XONCE_OK;
}

void xo_xml_handles_free(char **handles, size_t n)
{
    for (size_t i = 0; handles && i < n; i++)
        free(handles[i]);
    free(handles);
}
