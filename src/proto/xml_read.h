/* The reader under all XML documents of the protocol: a root, perhaps a list of items in it, and text fields. */
#ifndef XO_XML_READ_H
#define XO_XML_READ_H
#include "base/error.h"
#include <stddef.h>
enum { XO_XML_FIELDS = 12, XO_XML_DEPTH = 16 };
typedef struct {
    const char *text; /* NULL: the element is not there; NUL-terminated, valid during the call */
    size_t len;
} xo_xml_field;
typedef struct {
    const char *root;          /* local name of the root element */
    const char *item;          /* the fields are in each <item> of the root; NULL: in the root itself */
    int repeat;                /* with item NULL: a field may come again and again; take is called for each */
    const char *const *fields; /* local names, ended by NULL, at most XO_XML_FIELDS */
    /* An item is complete (the order of f is that of fields). Anything but XONCE_OK ends the reading. */
    xonce_status (*take)(void *arg, const xo_xml_field *f);
} xo_xml_shape;
/* Namespaces, unknown elements, attributes and comments are passed over; texts and CDATA of a field are joined.
   INVALID: not well-formed, not UTF-8, a document type, deeper than XO_XML_DEPTH; PROTOCOL: another root, a field twice
   or with elements inside: the error text is the element's name. */
xonce_status xo_xml_read(const xo_xml_shape *shape, void *arg, const char *doc, size_t n);
/* xml_plain.c: the same for a document in the plain form that endpoints and clients write; 1 and *st then. 0: the document has something else in it,
   be it a fault or only unusual; nothing was taken, and libxml2 shall judge. */
int xo_xml_read_plain(const xo_xml_shape *shape, void *arg, const char *doc, size_t n, xonce_status *st);
/* What libxml2 should not be given: an empty document, zero bytes, a document type, tags that would keep it busy for minutes. Passes over a byte order
   mark. INVALID says what it is. */
xonce_status xo_xml_check_bytes(const char **doc, size_t *n);
#endif
