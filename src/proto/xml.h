/* The XML documents of the HTTP protocol, both directions (libxml2; no entities, no network, no DTD, size bound). */
#ifndef XO_XML_H
#define XO_XML_H
#include "message/message.h"
#include "base/buf.h"
typedef struct {
    char *code, *message, *request_id, *host_id; /* "" when absent */
} xo_xml_error;
typedef struct {
    char *id, *body_md5, *handle; /* handle NULL unless a half message */
} xo_xml_sent;
typedef struct {
    char *code, *message, *handle;
} xo_xml_ack_error;
/* Client side. Every reader matches local names, passes over namespaces and unknown elements, and refuses a document
   type. */
xonce_status xo_xml_write_message(xo_buf *out, const xonce_message *m);               /* request of a send */
xonce_status xo_xml_write_handles(xo_buf *out, const char *const *handles, size_t n); /* request of an ack */
xonce_status xo_xml_read_sent(xo_xml_sent *out, const char *doc, size_t n);
/* A linked list (by ->next) of messages of `topic`; a damaged message is an error of the whole. MessageBodyMD5 is
   verified. expires_mono is made from NextConsumeTime and the server's clock as told by date_ms (the answer's Date;
   -1: the local clock). */
xonce_status xo_xml_read_messages(xonce_message **list, size_t *count, const char *topic, const char *doc, size_t n,
                                  int64_t date_ms);
xonce_status xo_xml_read_error(xo_xml_error *out, const char *doc, size_t n);
xonce_status xo_xml_read_ack_errors(xo_xml_ack_error **out, size_t *count, const char *doc, size_t n);
void xo_xml_sent_free(xo_xml_sent *s);
void xo_xml_error_free(xo_xml_error *e);
void xo_xml_ack_errors_free(xo_xml_ack_error *e, size_t n);
/* Endpoint side. */
typedef struct {
    char *body, *tag, *properties; /* tag, properties NULL when absent */
    size_t body_len;
} xo_xml_send;
/* status INVALID: not well-formed; PROTOCOL: well-formed but not the schema (the error text is the element's name). */
xonce_status xo_xml_read_send(xo_xml_send *out, const char *doc, size_t n);
void xo_xml_send_free(xo_xml_send *s);
xonce_status xo_xml_read_handles(char ***handles, size_t *count, const char *doc, size_t n);
void xo_xml_handles_free(char **handles, size_t n);
void xo_xml_escape(xo_buf *out, const char *s, size_t n); /* & < > " and CR as &#13; */
#endif
