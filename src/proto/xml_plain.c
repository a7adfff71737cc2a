/* Reads XML in the one form that almost every document of the protocol has: elements without attributes, texts of
 * UTF-8 with the five named references, nothing else. It is three times as fast as libxml2, which reads the rest and
 * alone tells what is wrong with a document. */
#include "proto/properties.h"
#include "proto/xml_read.h"
#include <stdlib.h>
#include <string.h>

enum {
    PLAIN_MAX = 256 * 1024, /* not more than libxml2 would be given of tags; a larger document's time goes elsewhere */
    TEXTS_MAX = 256         /* 16 messages of 11 fields */
};

typedef struct {
    const char *from, *to;
    int field, item, raw; /* item: counted from 0; raw: without references */
} text;

typedef struct {
    const xo_xml_shape *shape;
    const char *p, *end;
    size_t lengths[XO_XML_FIELDS];
    int nfields, expected; /* expected: the field that stood behind the last one in the shape's order */
    int items;
    text texts[TEXTS_MAX];
    size_t ntexts;
} reader;

#define ONES 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
/* 0: ASCII that stands for itself in a text. */
static const unsigned char special[256] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 0 /* tab */, 0 /* line feed */, 1, 1, 1, 1, 1, ONES, /* 00 to 1f */
    0, 0, 0, 0, 0, 0, 1 /* & */, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 /* < */, 0, 1 /* > */, 0,
    [0x7f] = 1, ONES, ONES, ONES, ONES, ONES, ONES, ONES, ONES,
};

static void skip_blanks(reader *r)
{
    while (r->p < r->end && (*r->p == '\n' || *r->p == ' ' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
}

/* Passes over s when it stands here. */
static int skip(reader *r, const char *s, size_t n)
{
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, s, n))
        return 0;
    r->p += n;
    return 1;
}

static int skip_char(reader *r, char c)
{
    return r->p < r->end && *r->p == c && ++r->p;
}

static int skip_open(reader *r, const char *name, size_t n)
{
    return skip_char(r, '<') && skip(r, name, n) && skip_char(r, '>');
}

static int skip_close(reader *r, const char *name, size_t n)
{
    return skip_char(r, '<') && skip_char(r, '/') && skip(r, name, n) && skip_char(r, '>');
}

static int skip_text(reader *r, const char *s)
{
    return skip(r, s, strlen(s));
}

#define REFERENCE(text, stands_for) {text, sizeof text - 1, stands_for}
static const struct {
    const char *text;
    size_t len;
    char stands_for;
} references[] = {REFERENCE("&quot;", '"'), REFERENCE("&lt;", '<'),   REFERENCE("&gt;", '>'),  REFERENCE("&amp;", '&'),
                  REFERENCE("&apos;", '\''), REFERENCE("&#13;", '\r'), REFERENCE("&#xD;", '\r')};

static int find_reference(const char *p, const char *end)
{
    for (int i = 0; i < (int)(sizeof references / sizeof *references); i++)
        if ((size_t)(end - p) >= references[i].len && !memcmp(p, references[i].text, references[i].len))
            return i;
    return -1;
}

/* Behind a text that ends in front of '<'. "]]>" is not well-formed, CR would have to become LF. */
static int read_text(reader *r, text *t)
{
    const unsigned char *p = (const unsigned char *)r->p, *end = (const unsigned char *)r->end;
    t->from = r->p;
    t->raw = 1;
    for (;;) {
        while (p < end && !special[*p])
            p++;
        if (p == end)
            return 0;
        if (*p == '<')
            break;
        if (*p == '&') {
            int i = find_reference((const char *)p, r->end);
            if (i < 0)
                return 0;
            p += references[i].len;
            t->raw = 0;
        } else if (*p == '>') {
            if ((const char *)p - t->from >= 2 && p[-1] == ']' && p[-2] == ']')
                return 0;
            p++;
        } else {
            size_t n = *p < 0x80 ? 0 : xo_xml_char(p, (size_t)(end - p));
            if (!n)
                return 0;
            p += n;
        }
    }
    t->to = r->p = (const char *)p;
    return 1;
}

/* One field, from its '<' on, which is none twice in an item. */
static int read_field(reader *r, size_t first_of_item)
{
    int field = -1;
    for (int i = 0; field < 0 && i < r->nfields; i++) {
        int k = (r->expected + i) % r->nfields;
        const char *before = r->p;
        if (skip_open(r, r->shape->fields[k], r->lengths[k]))
            field = k;
        else
            r->p = before;
    }
    if (field < 0 || r->ntexts == TEXTS_MAX)
        return 0;
    for (size_t i = first_of_item; i < r->ntexts && !r->shape->repeat; i++)
        if (r->texts[i].field == field)
            return 0;
    text *t = &r->texts[r->ntexts++];
    t->field = field;
    t->item = r->items;
    r->items += r->shape->repeat;
    r->expected = field + 1;
    return read_text(r, t) && skip_close(r, r->shape->fields[field], r->lengths[field]);
}

/* Fields up to the end of the element that they stand in, which is passed over. */
static int read_fields(reader *r, const char *name)
{
    size_t n = strlen(name), first = r->ntexts;
    for (skip_blanks(r); r->end - r->p > 1 && r->p[1] != '/'; skip_blanks(r))
        if (!read_field(r, first))
            return 0;
    return skip_close(r, name, n);
}

static int read_items(reader *r)
{
    const char *item = r->shape->item;
    size_t n = strlen(item);
    for (skip_blanks(r); r->end - r->p > 1 && r->p[1] != '/'; skip_blanks(r)) {
        if (!skip_open(r, item, n) || !read_fields(r, item))
            return 0;
        r->items++;
    }
    return skip_close(r, r->shape->root, strlen(r->shape->root));
}

static int read_document(reader *r)
{
    static const char *const declarations[] = {"<?xml version=\"1.0\" ?>", "<?xml version=\"1.0\"?>",
                                               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<?xml version=\"1.0\" encoding=\"utf-8\"?>"};
    for (size_t i = 0; i < sizeof declarations / sizeof *declarations && !skip_text(r, declarations[i]);)
        i++;
    skip_blanks(r);
    if (!skip_text(r, "<") || !skip_text(r, r->shape->root))
        return 0;
    if (skip_text(r, " xmlns=\"http://mq.aliyuncs.com/doc/v1") && ((void)skip_text(r, "/"), !skip_text(r, "\"")))
        return 0;
    if (!skip_text(r, ">"))
        return 0;
    int whole = r->shape->item ? read_items(r) : read_fields(r, r->shape->root);
    if (!r->shape->item && !r->shape->repeat)
        r->items = 1;
    skip_blanks(r);
    return whole && r->p == r->end;
}

/* The text as it is meant, with a NUL behind it, in room for as many bytes as were written. Returns behind the NUL. */
static char *decode(char *to, const text *t, xo_xml_field *f)
{
    f->text = to;
    for (const char *p = t->from, *stop; p < t->to; p = stop) {
        stop = t->raw ? t->to : memchr(p, '&', (size_t)(t->to - p));
        if (!stop)
            stop = t->to;
        memcpy(to, p, (size_t)(stop - p));
        to += stop - p;
        if (stop < t->to) {
            int i = find_reference(stop, t->to);
            *to++ = references[i].stands_for;
            stop += references[i].len;
        }
    }
    f->len = (size_t)(to - f->text);
    *to++ = 0;
    return to;
}

static xonce_status take_items(const reader *r, void *arg, char *room)
{
    const text *t = r->texts, *end = t + r->ntexts;
    xonce_status st = XONCE_OK;
    for (int item = 0; item < r->items && !st; item++) {
        xo_xml_field f[XO_XML_FIELDS];
        memset(f, 0, sizeof f);
        for (char *to = room; t < end && t->item == item; t++)
            to = decode(to, t, &f[t->field]);
        st = r->shape->take(arg, f);
    }
    return st;
}

int xo_xml_read_plain(const xo_xml_shape *shape, void *arg, const char *doc, size_t n, xonce_status *st)
{
    reader r;
    if (n > PLAIN_MAX)
        return 0;
    r.shape = shape;
    r.p = doc;
    r.end = doc + n;
    r.expected = r.items = r.nfields = 0;
    r.ntexts = 0;
    for (; shape->fields[r.nfields]; r.nfields++)
        r.lengths[r.nfields] = strlen(shape->fields[r.nfields]);
    if (!read_document(&r))
        return 0;
    char *room = malloc(n + 1); /* an item's texts are shorter than their tags and they together */
    *st = room ? take_items(&r, arg, room) : xo_nomem();
    free(room);
    return 1;
}
