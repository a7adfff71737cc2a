/* The reader of plain documents against libxml2, which is what decides: for the unit test and the fuzzer. */
#ifndef XO_TEST_PLAIN_H
#define XO_TEST_PLAIN_H
#include "base/buf.h"
#include "proto/xml_read.h"
#include <string.h>

static xonce_status plain_note(void *arg, const xo_xml_field *f)
{
    xo_buf *b = arg;
    xo_buf_char(b, '[');
    for (int i = 0; i < XO_XML_FIELDS; i++) {
        if (!f[i].text)
            continue;
        xo_buf_printf(b, "%d:%zu:", i, f[i].len);
        xo_buf_add(b, f[i].text, f[i].len + 1); /* with its NUL */
    }
    xo_buf_char(b, ']');
    return XONCE_OK;
}

static const char *const plain_messages[] = {"MessageId", "MessageBodyMD5", "MessageBody", "ReceiptHandle", NULL};
static const char *const plain_handles[] = {"ReceiptHandle", NULL};
static const xo_xml_shape plain_shapes[] = {
    {"Messages", "Message", 0, plain_messages, plain_note},
    {"Message", NULL, 0, plain_messages, plain_note},
    {"ReceiptHandles", NULL, 1, plain_handles, plain_note},
};
enum { PLAIN_SHAPES = sizeof plain_shapes / sizeof *plain_shapes };

/* -1: they differ. 1: it was read as a plain document. 0: it was left to libxml2, and nothing was taken. */
static int plain_compare(const xo_xml_shape *shape, const char *doc, size_t n)
{
    xo_buf by_plain = {0}, by_libxml2 = {0}, longer = {0};
    xonce_status st = XONCE_OK;
    int plain = xo_xml_read_plain(shape, &by_plain, doc, n, &st), same = plain || !by_plain.len;
    if (plain) {
        xo_buf_add(&longer, doc, n);
        xo_buf_str(&longer, "<!---->"); /* the same document, but for the reader of plain ones */
        same = !st && !xo_xml_read(shape, &by_libxml2, longer.p, longer.len) && by_plain.len == by_libxml2.len &&
               (!by_plain.len || !memcmp(by_plain.p, by_libxml2.p, by_plain.len));
    }
    xo_buf_free(&by_plain);
    xo_buf_free(&by_libxml2);
    xo_buf_free(&longer);
    return same ? plain : -1;
}
#endif
