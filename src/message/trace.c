/* W3C trace context (traceparent, tracestate) out of a message's properties. */
#include "message/trace.h"
#include <string.h>
#include <strings.h>

enum { AT_TRACE = 3, AT_SPAN = 36, AT_FLAGS = 53, LENGTH = 55, STATE_MAX = 512 };

static int is_hex(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) {
            return 0;
        }
    }
    return 1;
}

static int is_zero(const char *p, size_t n)
{
    return strspn(p, "0") >= n;
}

/* "VV-TRACE-SPAN-FF", lower case. A later version may have more behind another '-'; version ff is none. */
int xo_traceparent_parse(const char *p, char trace[XO_TRACE_ID + 1], char span[XO_SPAN_ID + 1])
{
    size_t n = strnlen(p, LENGTH + 1);
    if (n < LENGTH || p[AT_TRACE - 1] != '-' || p[AT_SPAN - 1] != '-' || p[AT_FLAGS - 1] != '-') {
        return 0;
    }
    if (!is_hex(p, 2) || !is_hex(p + AT_TRACE, XO_TRACE_ID) || !is_hex(p + AT_SPAN, XO_SPAN_ID) || !is_hex(p + AT_FLAGS, 2)) {
        return 0;
    }
    int first = p[0] == '0' && p[1] == '0';
    if ((p[0] == 'f' && p[1] == 'f') || (n > LENGTH && (first || p[LENGTH] != '-')) || is_zero(p + AT_TRACE, XO_TRACE_ID) || is_zero(p + AT_SPAN, XO_SPAN_ID)) {
        return 0;
    }
    if (trace) {
        memcpy(trace, p + AT_TRACE, XO_TRACE_ID);
        trace[XO_TRACE_ID] = 0;
    }
    if (span) {
        memcpy(span, p + AT_SPAN, XO_SPAN_ID);
        span[XO_SPAN_ID] = 0;
    }
    return 1;
}

/* Headers that became properties come in any case. */
static const char *find(const xonce_message *m, const char *name)
{
    for (size_t i = 0; i < m->nproperties; i++) {
        if (strcasecmp(m->properties[i].name, name) == 0) {
            return m->properties[i].value;
        }
    }
    return NULL;
}

const char *xonce_message_traceparent(const xonce_message *m)
{
    const char *text = m ? find(m, "traceparent") : NULL;
    return text && strnlen(text, STATE_MAX + 1) <= STATE_MAX && xo_traceparent_parse(text, NULL, NULL) ? text : NULL;
}

const char *xo_message_tracestate(const xonce_message *m)
{
    const char *text = xonce_message_traceparent(m) ? find(m, "tracestate") : NULL;
    if (!text || !*text || strnlen(text, STATE_MAX + 1) > STATE_MAX) {
        return NULL;
    }
    for (const char *p = text; *p; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            return NULL;
        }
    }
    return text;
}
