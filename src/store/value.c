/* Values that go into statements and come out of rows. */
#include "base/text.h"
#include "message/message.h"
#include "store/dialect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

xonce_value xonce_text(const char *s)
{
    return xonce_text_n(s, s ? strlen(s) : 0);
}

xonce_value xonce_decimal(const char *digits)
{
    xonce_value x = xonce_text(digits);
    if (digits)
        x.kind = XONCE_DECIMAL;
    return x;
}

xonce_value xonce_body(const xonce_message *m)
{
    size_t len = 0, bad = 0;
    const void *p = xonce_message_body(m, &len);
    if (xo_utf8_valid(p, len, &bad) && !memchr(p, 0, len))
        return xonce_text_n(p, len);
    return xonce_blob(p, len);
}

int xonce_row_columns(const xonce_row *r)
{
    return r ? r->ncols : 0;
}

static int absent(const xonce_row *r, int column)
{
    return !r || column < 0 || column >= r->ncols || !r->text[column];
}

int xonce_row_is_null(const xonce_row *r, int column)
{
    return absent(r, column);
}

int64_t xonce_row_int(const xonce_row *r, int column)
{
    if (absent(r, column))
        return 0;
    const char *t = r->text[column];
    if (strcmp(t, "t") == 0) /* PostgreSQL's true */
        return 1;
    errno = 0;
    long long v = strtoll(t, NULL, 10);
    return v;
}

const char *xonce_row_text(const xonce_row *r, int column)
{
    return absent(r, column) ? "" : r->text[column];
}

const void *xonce_row_blob(const xonce_row *r, int column, size_t *len)
{
    if (absent(r, column)) {
        if (len)
            *len = 0;
        return NULL;
    }
    if (len)
        *len = r->len[column];
    return r->text[column];
}
