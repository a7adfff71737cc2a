/* One run of libxml2's SAX2 interface, for readers that have handlers of their own. */
#ifndef XO_XML_SAX_H
#define XO_XML_SAX_H
#include "base/error.h"
#include <libxml/parser.h>

/* The first member of what a reader's handlers are called with. */
typedef struct {
    xmlParserCtxtPtr parser;
    xonce_status status; /* the reader's own; XONCE_OK while all is well. The error is set then */
    int line;            /* of libxml2's first complaint */
    char why[160];       /* that complaint; "" when there is none */
} xo_sax;
/* Ends the reading with the error that was just set; later handlers have to look at status. */
void xo_sax_stop(xo_sax *s, xonce_status st);
/* handlers->initialized and serror are set here; nothing is fetched, and no declaration of an encoding counts. flags: more XML_PARSE_... The reader's status, or NOMEM; *well_formed says what
   libxml2 thinks of the document when it is XONCE_OK. */
xonce_status xo_sax_run(xo_sax *s, xmlSAXHandler *handlers, const char *doc, size_t n, int flags, int *well_formed);
#endif
