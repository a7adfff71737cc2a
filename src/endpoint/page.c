/* The endpoint's page for browsers: its address, who may look, what is answered. Read-only, and apart from the protocol and its faults. */
#include "base/page.h"
#include "base/text.h"
#include "endpoint/request.h"
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

extern const char xo_serve_page[]; /* made from page.html */

enum { TOKEN_BYTES = 16 };

/* "/xonce" and what is below it. */
int xo_page_is(const char *target)
{
    size_t n = sizeof XO_PAGE_PATH - 2;
    return strncmp(target, XO_PAGE_PATH, n) == 0 && (target[n] == 0 || target[n] == '/' || target[n] == '?');
}

/* Where clients must sign, a page that everybody may open would show their messages to everybody: it asks for the token, which stands behind a # in
   its address, where a browser keeps it to itself. */
xonce_status xo_page_start(xo_endpoint *ep)
{
    unsigned char random[TOKEN_BYTES];
    ep->started = xo_now_ms();
    ep->page_policy = xo_page_policy(xo_serve_page);
    if (!ep->page_policy)
        return xo_nomem();
    if (ep->check) {
        ep->page_token = xo_calloc(2 * sizeof random + 1, 1);
        if (!ep->page_token)
            return xo_nomem();
        if (RAND_bytes(random, sizeof random) != 1)
            return xo_fail(XONCE_E_NOMEM, "no random numbers for the page's token");
        xo_hex(ep->page_token, random, sizeof random, 0);
    }
    ep->page_url = ep->check ? xo_printf("%s" XO_PAGE_PATH "#%s", ep->url, ep->page_token) : xo_printf("%s" XO_PAGE_PATH, ep->url);
    return ep->page_url ? XONCE_OK : xo_nomem();
}

static enum MHD_Result answer(xo_request *r, unsigned status, const char *type, const char *text, size_t n, enum MHD_ResponseMemoryMode memory)
{
    /* libmicrohttpd does not write to it; what is not to be freed is constant */
    struct MHD_Response *response = MHD_create_response_from_buffer(n, (void *)(uintptr_t)text, memory);
    if (!response) {
        if (memory == MHD_RESPMEM_MUST_FREE)
            free((void *)(uintptr_t)text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Content-Security-Policy", r->ep->page_policy);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (status == MHD_HTTP_MOVED_PERMANENTLY)
        MHD_add_response_header(response, "Location", XO_PAGE_PATH);
    if (atomic_load(&r->ep->stopping))
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(r->connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer_text(xo_request *r, unsigned status, const char *text)
{
    return answer(r, status, "application/json", text, strlen(text), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer_json(xo_request *r, json_t *data, unsigned why)
{
    char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    if (text)
        return answer(r, MHD_HTTP_OK, "application/json", text, strlen(text), MHD_RESPMEM_MUST_FREE);
    if (why == MHD_HTTP_NOT_FOUND)
        return answer_text(r, why, "{\"error\":\"there is no such topic\"}");
    return answer_text(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "{\"error\":\"out of memory, or the queues' file failed: see the log\"}");
}

static int may_look(const xo_request *r)
{
    static const char scheme[] = "Bearer ";
    if (!r->ep->page_token)
        return 1;
    const char *given = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Authorization");
    return given && strncmp(given, scheme, sizeof scheme - 1) == 0 && xo_equal_secret(r->ep->page_token, given + sizeof scheme - 1);
}

static enum MHD_Result answer_messages(xo_request *r)
{
    const char *topic = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "topic"),
               *before = MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, "before");
    int64_t pos = -1;
    unsigned why = MHD_HTTP_INTERNAL_SERVER_ERROR;
    if (!topic || (before && !xo_whole_number(before, &pos)))
        return answer_text(r, MHD_HTTP_BAD_REQUEST, "{\"error\":\"messages.json wants topic=NAME and takes before=POSITION\"}");
    json_t *data = xo_view_messages(r->ep, topic, pos, &why);
    return answer_json(r, data, why);
}

enum MHD_Result xo_page_answer(xo_request *r)
{
    size_t n = strcspn(r->target, "?"), front = sizeof XO_PAGE_PATH - 1;
    if (atomic_load(&r->ep->stopping))
        return xo_answer_stopping(r);
    if (strcmp(r->method_text, "GET") != 0 && strcmp(r->method_text, "HEAD") != 0)
        return answer_text(r, MHD_HTTP_METHOD_NOT_ALLOWED, "{\"error\":\"read only: GET and HEAD\"}");
    if (n < front)
        return answer_text(r, MHD_HTTP_MOVED_PERMANENTLY, "{}");
    const char *name = r->target + front;
    n -= front;
    if (n == 0)
        return answer(r, MHD_HTTP_OK, "text/html; charset=utf-8", xo_serve_page, strlen(xo_serve_page), MHD_RESPMEM_PERSISTENT);
    int state = n == strlen("status.json") && strncmp(name, "status.json", n) == 0;
    if (!state && !(n == strlen("messages.json") && strncmp(name, "messages.json", n) == 0))
        return answer_text(r, MHD_HTTP_NOT_FOUND, "{\"error\":\"there are /xonce/, /xonce/status.json and /xonce/messages.json\"}");
    if (!may_look(r))
        return answer_text(r, MHD_HTTP_UNAUTHORIZED, "{\"error\":\"open the page by the address with # that xonce serve printed when it started\"}");
    return state ? answer_json(r, xo_view_state(r->ep), MHD_HTTP_INTERNAL_SERVER_ERROR) : answer_messages(r);
}
