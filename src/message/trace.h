/* W3C trace context of a message: whose trace it belongs to. */
#ifndef XO_MESSAGE_TRACE_H
#define XO_MESSAGE_TRACE_H
#include "message/message.h"
enum { XO_TRACE_ID = 32, XO_SPAN_ID = 16 };
/* Is this a traceparent? trace and span (either may be NULL) get the ids as text. */
int xo_traceparent_parse(const char *text, char trace[XO_TRACE_ID + 1], char span[XO_SPAN_ID + 1]);
/* Its tracestate, which goes along with a valid traceparent; NULL when there is none, or one that is longer than 512 bytes or not printable ASCII. */
const char *xo_message_tracestate(const xonce_message *m);
#endif
