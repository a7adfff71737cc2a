/* Escaping, and the requests of the client. */
#include "proto/properties.h"
#include "proto/xml.h"
#include <string.h>

/* What must not stand in a text as it is; NULL: it may. */
static const char *const escapes[256] = {
    ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\r'] = "&#13;", /* a raw CR would arrive as a line feed */
};

void xo_xml_escape(xo_buf *out, const char *s, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const char *as = escapes[(unsigned char)s[i]];
        if (!as)
            continue;
        xo_buf_add(out, s + from, i - from);
        xo_buf_str(out, as);
        from = i + 1;
    }
    xo_buf_add(out, s + from, n - from);
}

#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
#define NAMESPACE " xmlns=\"http://mq.aliyuncs.com/doc/v1/\""

xonce_status xo_xml_write_message(xo_buf *out, const xonce_message *m)
{
    xonce_status st = xo_check_http_message(m);
    if (st)
        return st;
    xo_buf_str(out, DECLARATION "<Message" NAMESPACE "><MessageBody>");
    xo_xml_escape(out, m->body, m->body_len);
    xo_buf_str(out, "</MessageBody>");
    const char *tag = xonce_message_tag(m);
    if (*tag) {
        xo_buf_str(out, "<MessageTag>");
        xo_xml_escape(out, tag, strlen(tag));
        xo_buf_str(out, "</MessageTag>");
    }
    if (m->nproperties > (*tag ? 1u : 0u)) {
        xo_buf text = {0};
        st = xo_properties_write(&text, m);
        if (!st && text.len) {
            xo_buf_str(out, "<Properties>");
            xo_xml_escape(out, text.p, text.len);
            xo_buf_str(out, "</Properties>");
        }
        xo_buf_free(&text);
        if (st)
            return st;
    }
    xo_buf_str(out, "</Message>");
    return xo_buf_status(out);
}

xonce_status xo_xml_write_handles(xo_buf *out, const char *const *handles, size_t n)
{
    xo_buf_str(out, DECLARATION "<ReceiptHandles" NAMESPACE ">");
    for (size_t i = 0; i < n; i++) {
        xo_buf_str(out, "<ReceiptHandle>");
        xo_xml_escape(out, handles[i], strlen(handles[i]));
        xo_buf_str(out, "</ReceiptHandle>");
    }
    xo_buf_str(out, "</ReceiptHandles>");
    return xo_buf_status(out);
}
