/* The thread's last error. */
#include "base/error.h"
#include <stdio.h>
#include <string.h>

static _Thread_local xo_error last;

const xonce_error *xonce_error_last(void)
{
    return &last.pub;
}

const char *xonce_status_name(xonce_status code)
{
    switch (code) {
    case XONCE_OK: return "ok";
    case XONCE_E_INVALID: return "invalid";
    case XONCE_E_NOMEM: return "nomem";
    case XONCE_E_CONNECT: return "connect";
    case XONCE_E_AUTH: return "auth";
    case XONCE_E_SQL: return "sql";
    case XONCE_E_SCHEMA: return "schema";
    case XONCE_E_CONFLICT: return "conflict";
    case XONCE_E_TX_LOST: return "tx_lost";
    case XONCE_E_UNKNOWN_COMMIT: return "unknown_commit";
    case XONCE_E_PROTOCOL: return "protocol";
    case XONCE_E_TIMEOUT: return "timeout";
    case XONCE_E_CLOSED: return "closed";
    case XONCE_E_NOT_FOUND: return "not_found";
    case XONCE_E_FENCED: return "fenced";
    }
    return "unknown";
}

/* May the same call be run again? For errors that are not SQL, where the code alone has to tell. */
static int code_again(xonce_status code)
{
    switch (code) {
    case XONCE_E_NOMEM:
    case XONCE_E_CONNECT:
    case XONCE_E_CONFLICT:
    case XONCE_E_UNKNOWN_COMMIT:
    case XONCE_E_PROTOCOL:
    case XONCE_E_TIMEOUT: return 1;
    default: return 0;
    }
}

/* The length of text without a UTF-8 character that the buffer's end cut in two. */
static size_t whole_characters(const char *text, size_t n)
{
    size_t back = 0;
    while (back < 3 && back < n && ((unsigned char)text[n - 1 - back] & 0xc0) == 0x80) {
        back++;
    }
    if (back == n) {
        return n;
    }
    unsigned char lead = (unsigned char)text[n - 1 - back];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    return want > back + 1 ? n - 1 - back : n;
}

/* Arguments may point into the old text, so the new one is made beside it. */
static void set_text(const char *behind, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void set_text(const char *behind, const char *fmt, va_list ap)
{
    char text[sizeof(last.pub.text)];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    size_t len = n < 0 ? 0 : (size_t)n;
    int cut = len >= sizeof(text);
    if (cut) {
        len = sizeof(text) - 1;
    }
    if (behind && !cut) {
        size_t more = strlen(behind), room = sizeof(text) - 1 - len;
        cut = more > room;
        if (cut) {
            more = room;
        }
        memcpy(text + len, behind, more);
        len += more;
    }
    if (cut) {
        len = whole_characters(text, len);
    }
    memcpy(last.pub.text, text, len);
    last.pub.text[len] = 0;
}

xonce_status xo_fail(xonce_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_text(NULL, fmt, ap);
    va_end(ap);
    last.pub.code = code;
    last.pub.again = code_again(code);
    last.pub.native = 0;
    last.pub.sqlstate[0] = 0;
    last.cls = XO_SQL_NONE;
    return code;
}

xonce_status xo_fail_sql(xonce_status code, xo_sql_class cls, int native, const char *sqlstate, const char *fmt, ...)
{
    char state[sizeof(last.pub.sqlstate)] = "";
    if (sqlstate) {
        memcpy(state, sqlstate, strnlen(sqlstate, sizeof(state) - 1));
    }
    va_list ap;
    va_start(ap, fmt);
    set_text(NULL, fmt, ap);
    va_end(ap);
    last.pub.code = code;
    last.pub.again = cls == XO_SQL_AGAIN || cls == XO_SQL_LOST;
    last.pub.native = native;
    memcpy(last.pub.sqlstate, state, sizeof(state));
    last.cls = cls;
    return code;
}

xonce_status xo_nomem(void)
{
    return xo_fail(XONCE_E_NOMEM, "out of memory");
}

void xo_error_set_native(int native, int again)
{
    last.pub.native = native;
    last.pub.again = again;
}

xo_sql_class xo_error_class(void)
{
    return last.cls;
}

void xo_error_save(xo_error *out)
{
    *out = last;
}

xonce_status xo_error_restore(const xo_error *e)
{
    last = *e;
    return last.pub.code;
}

xonce_status xo_error_context(const char *fmt, ...)
{
    char old[sizeof(last.pub.text) + 2] = ": ";
    memcpy(old + 2, last.pub.text, sizeof(last.pub.text));
    va_list ap;
    va_start(ap, fmt);
    set_text(old, fmt, ap);
    va_end(ap);
    return last.pub.code;
}
