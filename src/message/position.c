/* What a settled range covers, and the end of ranges that were loaded. */
#include "message/position.h"
#include <stdlib.h>
#include <string.h>

void xo_ranges_free(xo_range *r, size_t n)
{
    for (size_t i = 0; r && i < n; i++) {
        free(r[i].topic);
        free(r[i].broker);
        free(r[i].tags);
    }
    free(r);
}

int xo_range_inside(const xo_range *r, int64_t offset)
{
    return r->first <= offset && offset < r->next;
}

int xo_range_older(const xo_range *r, int64_t store_time, int64_t log_offset)
{
    return store_time <= r->last_store_time && log_offset <= r->last_log_offset;
}

static int blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Is tag one of "a || b"? An expression that is not understood covers nothing. */
int xo_range_wants(const char *tags, const char *tag)
{
    if (!tags || strcmp(tags, "*") == 0) {
        return 1;
    }
    size_t len = tag ? strlen(tag) : 0;
    for (const char *p = tags, *end; tag && p; p = end ? end + 2 : NULL) {
        end = strstr(p, "||");
        size_t n = end ? (size_t)(end - p) : strlen(p);
        while (n && blank(*p)) {
            p++;
            n--;
        }
        while (n && blank(p[n - 1])) {
            n--;
        }
        if (n == len && memcmp(p, tag, n) == 0) {
            return 1;
        }
    }
    return 0;
}

int xo_ranges_cover(const xo_range *r, size_t n, int64_t offset, int64_t store_time, int64_t log_offset, const char *tag)
{
    for (size_t i = 0; i < n; i++) {
        if (xo_range_inside(&r[i], offset) && xo_range_older(&r[i], store_time, log_offset) && xo_range_wants(r[i].tags, tag)) {
            return 1;
        }
    }
    return 0;
}
