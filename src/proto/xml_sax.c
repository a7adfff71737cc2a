/* One run of libxml2's SAX2 interface, for readers that have handlers of their own. */
#include "proto/xml_sax.h"
#include <libxml/parserInternals.h>
#include <libxml/xmlversion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 140 };

void xo_sax_stop(xo_sax *s, xonce_status st)
{
    s->status = s->status ? s->status : st;
    xmlStopParser(s->parser);
}

/* libxml2 2.12 made the error const */
#if LIBXML_VERSION >= 21200
typedef const xmlError *complaint;
#else
typedef xmlErrorPtr complaint;
#endif
static void on_error(void *data, complaint e)
{
    xo_sax *s = data;
    if (!e || e->level < XML_ERR_ERROR || s->why[0] || s->status) {
        return;
    }
    size_t n = e->message ? strcspn(e->message, "\r\n") : 0;
    s->line = e->line;
    (void)snprintf(s->why, sizeof(s->why), "%.*s", (int)(n > SHOWN ? SHOWN : n), e->message ? e->message : "");
}

static void initialise(void)
{
    xmlInitParser();
}

xonce_status xo_sax_run(xo_sax *s, xmlSAXHandler *handlers, const char *doc, size_t n, int flags, int *well_formed)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    xmlParserCtxtPtr c = xmlCreateMemoryParserCtxt(doc, (int)n);
    if (!c) {
        return xo_nomem();
    }
    handlers->initialized = XML_SAX2_MAGIC;
    handlers->serror = on_error;
    xmlCtxtUseOptions(c, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC | flags);
    *c->sax = *handlers;
    c->userData = s;
    s->parser = c;
    xmlParseDocument(c);
    int no_memory = c->errNo == XML_ERR_NO_MEMORY;
    *well_formed = c->wellFormed;
    if (c->myDoc) {
        xmlFreeDoc(c->myDoc);
    }
    xmlFreeParserCtxt(c);
    s->parser = NULL;
    return s->status ? s->status : no_memory ? xo_nomem() : XONCE_OK;
}
