/* "k:v|k:v|" of the HTTP protocol, and what XML 1.0 can carry. */
#ifndef XO_PROPERTIES_H
#define XO_PROPERTIES_H
#include "message/message.h"
#include "base/buf.h"
/* Adds all properties but TAGS. XONCE_E_INVALID names property, byte and offset when one cannot be carried. */
xonce_status xo_properties_write(xo_buf *out, const xonce_message *m);
/* Reads them into m; pairs without ':' or with an empty name are skipped, a second ':' belongs to the value. */
xonce_status xo_properties_read(xonce_message *m, const char *text, size_t n);
/* XONCE_E_INVALID naming `what`, the offending byte (hex) and its offset unless text is UTF-8 of XML 1.0 characters. */
xonce_status xo_check_xml_text(const char *what, const char *text, size_t n);
/* Length of the XML 1.0 character at s (n >= 1), 0 when there is none: not UTF-8, or outside the range of XML. */
size_t xo_xml_char(const unsigned char *s, size_t n);
/* XONCE_E_INVALID unless name is one to 255 bytes that stand in a URL unescaped: letters, digits, - _ . ~ */
xonce_status xo_check_url_name(const char *what, const char *name);
/* All that HTTP can carry: topic, body not empty and at most 4 MiB, tag, properties. */
xonce_status xo_check_http_message(const xonce_message *m);
enum { XO_HTTP_BODY_MAX = 4 * 1024 * 1024 };
#endif
