/* xonce convert: XML through libxml2's SAX2 interface into a small tree with bounds; no entities, no network, no document type. Also the arena. */
#include "cli/convert.h"
#include "proto/xml_read.h"
#include "proto/xml_sax.h"
#include <libxml/SAX2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *xo_cv_keep(xo_cv *cv, const char *s, size_t n)
{
    const char *kept = xo_arena_dup(&cv->memory, s, n);
    cv->failed |= !kept;
    return kept ? kept : "";
}

const char *xo_cv_format(xo_cv *cv, const char *fmt, ...)
{
    char fixed[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(fixed, sizeof(fixed), fmt, ap);
    va_end(ap);
    return xo_cv_keep(cv, fixed, n < 0 ? 0 : (size_t)n < sizeof(fixed) ? (size_t)n : sizeof(fixed) - 1);
}

/* Lists grow by copying inside the arena. */
void *xo_cv_more(xo_cv *cv, void *list, size_t *n, size_t *cap, size_t size)
{
    if (*n < *cap) {
        memset((char *)list + *n * size, 0, size);
        ++*n;
        return list;
    }
    size_t next = *cap ? *cap * 2 : 8;
    void *grown = next < XO_CV_NODES * 4 ? xo_arena_alloc(&cv->memory, next * size) : NULL;
    if (!grown) {
        cv->failed = 1;
        return NULL;
    }
    if (*n) {
        memcpy(grown, list, *n * size);
    }
    *cap = next;
    ++*n;
    return grown;
}

enum { MOST_NOTES = 500 };

void xo_cv_say(xo_cv *cv, xo_cv_level level, const xo_cv_node *at, const char *fmt, ...)
{
    char fixed[1200];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(fixed, sizeof(fixed), fmt, ap);
    va_end(ap);
    const char *where = at && at->file ? xo_cv_format(cv, "%s:%d", at->file, at->line) : "";
    for (size_t i = 0; i < cv->nnotes; i++) {
        if (strcmp(cv->notes[i].text, fixed) == 0 && strcmp(cv->notes[i].where, where) == 0) {
            return;
        }
    }
    xo_cv_note *list = cv->nnotes < MOST_NOTES ? xo_cv_more(cv, cv->notes, &cv->nnotes, &cv->notes_cap, sizeof(*list)) : NULL;
    if (!list) {
        cv->dropped++;
        return;
    }
    cv->notes = list;
    list[cv->nnotes - 1] = (xo_cv_note){level, where, xo_cv_keep(cv, fixed, strlen(fixed))};
}

void xo_cv_free(xo_cv *cv)
{
    xo_arena_free(&cv->memory);
}

/* ---- the tree ---- */

typedef struct {
    xo_sax sax;
    xo_cv *cv;
    const char *file;
    xo_cv_node *open;
    xo_buf text; /* of the open element, since its last child */
    int depth;
} walk;

static void stop(walk *w, xonce_status st)
{
    xo_sax_stop(&w->sax, st);
}

static const char *text_of(const xmlChar *s)
{
    return s ? (const char *)s : "";
}

/* attributes: five pointers each, local name, prefix, namespace, begin and end of the value */
static void add_attributes(walk *w, xo_cv_node *node, int n, const xmlChar **attributes)
{
    for (int i = n - 1; i >= 0; i--) {
        const xmlChar **a = attributes + (size_t)i * 5;
        xo_cv_attr *attr = xo_arena_alloc(&w->cv->memory, sizeof(*attr));
        if (!attr) {
            stop(w, xo_nomem());
            return;
        }
        attr->name = xo_cv_keep(w->cv, text_of(a[0]), strlen(text_of(a[0])));
        attr->uri = xo_cv_keep(w->cv, text_of(a[2]), strlen(text_of(a[2])));
        attr->value = xo_cv_keep(w->cv, (const char *)a[3], (size_t)(a[4] - a[3]));
        attr->next = node->attrs;
        node->attrs = attr;
    }
}

static void on_start(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri, int nspaces, const xmlChar **spaces, int nattributes,
                     int ndefaulted, const xmlChar **attributes)
{
    (void)prefix, (void)uri, (void)nspaces, (void)spaces, (void)ndefaulted;
    walk *w = data;
    if (w->sax.status) {
        return;
    }
    xo_cv_node *node = xo_arena_alloc(&w->cv->memory, sizeof(*node));
    if (!node) {
        stop(w, xo_nomem());
        return;
    }
    node->line = xmlSAX2GetLineNumber(w->sax.parser);
    if (++w->depth > XO_CV_DEPTH || ++w->cv->nodes > XO_CV_NODES) {
        stop(w, w->depth > XO_CV_DEPTH ? xo_fail(XONCE_E_INVALID, "%s:%d: elements are nested more than %d deep", w->file, node->line, XO_CV_DEPTH)
                                       : xo_fail(XONCE_E_INVALID, "%s:%d: more than %d elements", w->file, node->line, XO_CV_NODES));
        return;
    }
    node->name = xo_cv_keep(w->cv, text_of(local), strlen(text_of(local)));
    node->text = "";
    node->number = w->cv->nodes;
    node->file = w->file;
    node->parent = w->open;
    *(w->open->last ? &w->open->last->next : &w->open->first) = node;
    w->open->last = node;
    w->open = node;
    xo_buf_reset(&w->text);
    add_attributes(w, node, nattributes, attributes);
}

static void on_text(void *data, const xmlChar *s, int n)
{
    walk *w = data;
    if (!w->sax.status && n > 0) {
        xo_buf_add(&w->text, s, (size_t)n);
    }
}

static void on_end(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
    (void)local, (void)prefix, (void)uri;
    walk *w = data;
    if (w->sax.status) {
        return;
    }
    if (xo_buf_status(&w->text) != XONCE_OK) {
        stop(w, xo_error_context("%s:%d: the text of <%.60s>", w->file, w->open->line, w->open->name));
        return;
    }
    if (!w->open->first && w->text.len) {
        const char *p = w->text.p, *end = p + w->text.len;
        while (p < end && strchr(" \t\r\n", *p)) {
            p++;
        }
        while (end > p && strchr(" \t\r\n", end[-1])) {
            end--;
        }
        w->open->text = xo_cv_keep(w->cv, p, (size_t)(end - p));
    }
    xo_buf_reset(&w->text);
    w->open = w->open->parent;
    w->depth--;
}

static void on_reference(void *data, const xmlChar *name)
{
    walk *w = data;
    stop(w, xo_fail(XONCE_E_INVALID, "%s:%d: the entity &%.60s; is declared nowhere that is read; write its text into the file", w->file,
                    xmlSAX2GetLineNumber(w->sax.parser), text_of(name)));
}

static xonce_status run(walk *w, const char *doc, size_t n)
{
    xmlSAXHandler sax;
    int well_formed = 0;
    memset(&sax, 0, sizeof(sax));
    sax.startElementNs = on_start;
    sax.endElementNs = on_end;
    sax.characters = sax.ignorableWhitespace = sax.cdataBlock = on_text;
    sax.reference = on_reference;
    /* NOENT, since libxml2 hands out &amp; of an attribute as "&#38;" without it; there is no document type that could declare more */
    xonce_status st = xo_sax_run(&w->sax, &sax, doc, n, XML_PARSE_NOENT, &well_formed);
    if (st == XONCE_OK && w->cv->failed) {
        return xo_nomem();
    }
    return st != XONCE_OK || well_formed ? st : xo_fail(XONCE_E_INVALID, "%s:%d: %s: the XML is not well-formed", w->file, w->sax.why[0] ? w->sax.line : 1, w->sax.why);
}

xonce_status xo_cv_parse(xo_cv *cv, const char *path)
{
    const char *doc = NULL, *base = strrchr(path, '/');
    size_t n = 0;
    if (!cv->root && !(cv->root = xo_arena_alloc(&cv->memory, sizeof(*cv->root)))) {
        return xo_nomem();
    }
    xonce_status st = xo_cv_load(cv, path, &doc, &n);
    if (st != XONCE_OK) {
        return st;
    }
    if (xo_xml_check_bytes(&doc, &n) != XONCE_OK) {
        return xo_error_context("%s", path);
    }
    walk w = {.cv = cv, .open = cv->root, .text = {.max = XO_CV_TEXT_MAX}};
    w.file = xo_cv_keep(cv, base ? base + 1 : path, strlen(base ? base + 1 : path));
    st = run(&w, doc, n);
    xo_buf_free(&w.text);
    return st;
}
