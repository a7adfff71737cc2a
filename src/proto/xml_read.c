/* Reads a small fixed shape of XML through libxml2's SAX2 interface: no tree, no entities, no network, no document
 * type. */
#include "proto/xml_read.h"
#include "base/buf.h"
#include "proto/xml_sax.h"
#include <limits.h>
#include <string.h>

/* of one tag, and of all together: a document of ours has 10 KiB of them at most */
enum { TAG_MAX = 64 * 1024, TAGS_MAX = 256 * 1024 };

typedef struct {
    xo_sax sax;
    const xo_xml_shape *shape;
    void *arg;
    xo_buf text;            /* the texts of one item, each followed by a NUL */
    int depth, field_depth; /* field_depth: where fields stand; a field is open at it when field >= 0 */
    int in_item, field;
    size_t start; /* of the open field in text */
    struct {
        size_t at, len;
        int seen;
    } span[XO_XML_FIELDS];
} walk;

static void stop(walk *w, xonce_status st)
{
    xo_sax_stop(&w->sax, st);
}

static int find_field(const walk *w, const char *name)
{
    for (int i = 0; w->shape->fields[i]; i++)
        if (!strcmp(w->shape->fields[i], name))
            return i;
    return -1;
}

static void begin_item(walk *w)
{
    xo_buf_reset(&w->text);
    memset(w->span, 0, sizeof w->span);
    w->in_item = 1;
}

static void end_item(walk *w)
{
    xo_xml_field f[XO_XML_FIELDS];
    w->in_item = 0;
    xonce_status st = xo_buf_status(&w->text);
    for (int i = 0; i < XO_XML_FIELDS; i++) {
        f[i].text = w->span[i].seen ? w->text.p + w->span[i].at : NULL;
        f[i].len = w->span[i].len;
    }
    if (!st)
        st = w->shape->take(w->arg, f);
    if (st)
        stop(w, st);
}

static void on_start(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri, int nspaces,
                     const xmlChar **spaces, int nattributes, int ndefaulted, const xmlChar **attributes)
{
    (void)prefix, (void)uri, (void)nspaces, (void)spaces, (void)nattributes, (void)ndefaulted, (void)attributes;
    walk *w = data;
    const char *name = (const char *)local;
    if (w->sax.status)
        return;
    if (++w->depth > XO_XML_DEPTH) {
        stop(w, xo_fail(XONCE_E_INVALID, "XML elements are nested more than %d deep", XO_XML_DEPTH));
        return;
    }
    if (w->field >= 0) {
        stop(w, xo_fail(XONCE_E_PROTOCOL, "%s", w->shape->fields[w->field]));
        return;
    }
    if (w->depth == 1 && strcmp(name, w->shape->root)) {
        stop(w, xo_fail(XONCE_E_PROTOCOL, "%.100s", name));
        return;
    }
    if (w->depth == w->field_depth - 1 && (!w->shape->item || !strcmp(name, w->shape->item)))
        begin_item(w);
    if (w->depth != w->field_depth || !w->in_item || (w->field = find_field(w, name)) < 0)
        return;
    if (w->shape->repeat)
        begin_item(w);
    if (w->span[w->field].seen) {
        stop(w, xo_fail(XONCE_E_PROTOCOL, "%s", w->shape->fields[w->field]));
        return;
    }
    w->start = w->text.len;
}

static void on_text(void *data, const xmlChar *s, int n)
{
    walk *w = data;
    if (w->field >= 0 && !w->sax.status && n > 0)
        xo_buf_add(&w->text, s, (size_t)n);
}

static void on_end(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
    (void)local, (void)prefix, (void)uri;
    walk *w = data;
    if (w->sax.status)
        return;
    if (w->field >= 0 && w->depth == w->field_depth) {
        w->span[w->field].at = w->start;
        w->span[w->field].len = w->text.len - w->start;
        w->span[w->field].seen = 1;
        w->field = -1;
        xo_buf_char(&w->text, 0);
        if (w->shape->repeat) {
            end_item(w);
            w->in_item = 1;
        }
    } else if (w->in_item && w->depth == w->field_depth - 1 && !w->shape->repeat) {
        end_item(w);
    }
    w->depth--;
}

static void on_doctype(void *data, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    stop(data, xo_fail(XONCE_E_INVALID, "a document type declaration is refused"));
}

/* What is not a tag although it starts with '<', and its end, which is behind the whole opening. */
static const struct {
    const char *open, *close;
} sections[] = {{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}};

/* Behind the first close in [p, end); end when it is cut off, of which libxml2 tells better. All closes end with '>'.
 */
static const char *behind(const char *p, const char *end, const char *close)
{
    size_t n = strlen(close);
    for (const char *q = p; q < end && (q = memchr(q, '>', (size_t)(end - q))); q++)
        if ((size_t)(q + 1 - p) >= n && !memcmp(q + 1 - n, close, n))
            return q + 1;
    return end;
}

/* Behind the tag at p; NULL when it is too long. */
static const char *behind_tag(const char *p, const char *end)
{
    char quote = 0;
    const char *q = p + 1;
    for (; q < end && (quote || *q != '>'); q++) {
        if (q - p > TAG_MAX)
            return NULL;
        if (quote ? *q == quote : *q == '"' || *q == '\'')
            quote = quote ? 0 : *q;
    }
    return q;
}

/* A look at the tags alone, before libxml2 sees them: it compares the attributes of a tag pairwise, and looks each name
   up among all, so that some megabytes of attributes or of names would hold a thread for minutes. */
static xonce_status check_tags(const char *doc, size_t n)
{
    const char *p = doc, *end = doc + n;
    size_t tags = 0;
    while (p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        const char *next = NULL;
        for (size_t i = 0; i < sizeof sections / sizeof *sections && !next; i++) {
            size_t len = strlen(sections[i].open);
            if ((size_t)(end - p) >= len && !memcmp(p, sections[i].open, len))
                next = behind(p + len, end, sections[i].close);
        }
        if (!next && end - p >= 2 && p[1] == '!')
            return xo_fail(XONCE_E_INVALID, "a document type declaration is refused");
        if (!next && !(next = behind_tag(p, end)))
            return xo_fail(XONCE_E_INVALID, "an XML tag is longer than %d bytes", TAG_MAX);
        if (end - p >= 2 && p[1] != '!') /* neither a comment nor CDATA */
            tags += (size_t)(next - p);
        if (tags > TAGS_MAX)
            return xo_fail(XONCE_E_INVALID, "the XML document has more than %d bytes of tags", TAGS_MAX);
        p = next;
    }
    return XONCE_OK;
}

/* Only UTF-8 comes through: other encodings have zero bytes or do not start with '<'. */
xonce_status xo_xml_check_bytes(const char **doc, size_t *n)
{
    if (*n >= 3 && !memcmp(*doc, "\xef\xbb\xbf", 3)) {
        *doc += 3;
        *n -= 3;
    }
    size_t at = 0;
    while (at < *n && strchr(" \t\r\n", (*doc)[at]) && (*doc)[at])
        at++;
    if (at == *n)
        return xo_fail(XONCE_E_INVALID, "an empty XML document");
    if ((*doc)[at] != '<')
        return xo_fail(XONCE_E_INVALID, "not an XML document: it starts with byte 0x%02x", (unsigned char)(*doc)[at]);
    if (*n > INT_MAX / 2)
        return xo_fail(XONCE_E_INVALID, "an XML document of %zu bytes is too large", *n);
    const char *zero = memchr(*doc, 0, *n);
    if (zero)
        return xo_fail(XONCE_E_INVALID, "the XML document has a zero byte at offset %zu", (size_t)(zero - *doc));
    return check_tags(*doc, *n);
}

static xonce_status run(walk *w, const char *doc, size_t n)
{
    xmlSAXHandler sax;
    int well_formed = 0;
    memset(&sax, 0, sizeof sax);
    sax.startElementNs = on_start;
    sax.endElementNs = on_end;
    sax.characters = sax.ignorableWhitespace = sax.cdataBlock = on_text;
    sax.internalSubset = on_doctype;
    xonce_status st = xo_sax_run(&w->sax, &sax, doc, n, XML_PARSE_HUGE, &well_formed);
    if (st || well_formed)
        return st;
    return w->sax.why[0] ? xo_fail(XONCE_E_INVALID, "the XML is not well-formed: line %d: %s", w->sax.line, w->sax.why)
                         : xo_fail(XONCE_E_INVALID, "the XML is not well-formed: unknown reason");
}

xonce_status xo_xml_read(const xo_xml_shape *shape, void *arg, const char *doc, size_t n)
{
    xonce_status st;
    walk w;
    if (xo_xml_read_plain(shape, arg, doc, n, &st))
        return st;
    memset(&w, 0, sizeof w);
    w.shape = shape;
    w.arg = arg;
    w.field = -1;
    w.field_depth = shape->item ? 3 : 2;
    st = xo_xml_check_bytes(&doc, &n);
    if (!st)
        st = run(&w, doc, n);
    xo_buf_free(&w.text);
    return st;
}
