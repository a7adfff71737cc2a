/* What a browser may do with a page of ours. */
#include "base/page.h"
#include "base/mem.h"
#include "base/text.h"
#include <stdlib.h>
#include <string.h>

/* The digest of what stands between open and close, as a policy names it; NULL: it is not there, or no memory. */
static char *digest(const char *html, const char *open, const char *close)
{
    unsigned char sha[32];
    const char *from = strstr(html, open), *to = from ? strstr(from, close) : NULL;
    if (!to)
        return NULL;
    from += strlen(open);
    return xo_sha256(from, (size_t)(to - from), sha) == 0 ? xo_base64(sha, sizeof sha) : NULL;
}

char *xo_page_policy(const char *html)
{
    char *style = digest(html, "<style>", "</style>"), *script = digest(html, "<script>", "</script>");
    char *policy = NULL;
    if (style && script)
        policy = xo_printf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src 'self'; img-src data:; base-uri 'none'; "
                           "form-action 'none'; frame-ancestors 'none'", style, script);
    free(style);
    free(script);
    return policy;
}
