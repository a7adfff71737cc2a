/* Fuzz target: the request targets that the endpoint takes apart. */
#include "endpoint/request.h"
#include "tests/fuzz/targets.h"
#include <stdlib.h>
#include <string.h>

/* The engine's tags, of which none is needed here. */
const xo_tag *xo_tag_get(xo_topic *t, const char *text)
{
    static const xo_tag tag;
    (void)t;
    PROMISE(text && *text);
    return &tag;
}

void fuzz_url(const uint8_t *p, size_t n)
{
    char *s = fuzz_text(p, n);
    for (int method = XO_SEND; method <= XO_OTHER; method++) {
        xo_request r = {.target = s, .method = (xo_method)method};
        const char *what = NULL;
        xo_refusal why = xo_url_parse(&r.url, s, r.method, &what);
        PROMISE(what && (why != XO_NO_REFUSAL || !*what));
        if (why == XO_NO_REFUSAL) {
            int64_t number;
            PROMISE(method != XO_OTHER && xo_name_ok(r.url.topic));
            PROMISE(method == XO_SEND || r.url.trans >= XO_TRANS_COMMIT || xo_name_ok(r.url.consumer));
            PROMISE(!r.url.max || !xo_whole_number(r.url.max, &number) || number >= 0);
            PROMISE(xo_url_tags(&r, NULL) == 0);
        }
        free(r.tags);
        xo_url_free(&r.url);
    }
    free(s);
}
