/* The end of positions that were loaded. */
#include "message/position.h"
#include <stdlib.h>

void xo_ranges_free(xo_range *r, size_t n)
{
    for (size_t i = 0; r && i < n; i++) {
        free(r[i].topic);
        free(r[i].broker);
        free(r[i].tags);
    }
    free(r);
}
