/* Pages for browsers: one HTML text each, with its style and its script inside, compiled in by page.sh. */
#ifndef XO_PAGE_H
#define XO_PAGE_H
/* The Content-Security-Policy of such a page: it may run its own style and script, known by their digests, and ask its own server; nothing else.
   NULL: no memory, or the page has no <style> and <script>. Caller frees. */
char *xo_page_policy(const char *html);
#endif
