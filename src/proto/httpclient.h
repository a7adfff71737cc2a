/* One signed request over libcurl, as an easy handle for a blocking call or for a multi loop. */
#ifndef XO_HTTPCLIENT_H
#define XO_HTTPCLIENT_H
#include "base/buf.h"
#include "proto/sign.h"
#include <curl/curl.h>
typedef struct {
    char *base;     /* "http://host:port", no slash at the end */
    char *instance; /* "" without */
    char *cacert;   /* NULL: the system's */
    int loopback;   /* never through a proxy */
    xo_credentials credentials;
    int64_t connect_ms;
} xo_http_endpoint;
/* Reads a http(s) URI (?instance=; cfg's `instance`, `http.cacert`, `http.connect-timeout`) and the credentials, without which only an endpoint on this machine is spoken to, unsigned. A
 * user, password or path in the URI is refused. */
xonce_status xo_http_endpoint_open(xo_http_endpoint *out, const char *uri, const xonce_config *cfg);
void xo_http_endpoint_close(xo_http_endpoint *e);
enum { XO_HTTP_HEADERS = 6 };
typedef struct {
    CURL *easy;                     /* reused, with what is the same in all requests to the endpoint that it was set up for */
    const xo_http_endpoint *set_up; /* that endpoint; NULL: none yet */
    struct curl_slist headers[XO_HTTP_HEADERS];
    char date[36];             /* the header of that name, and two more */
    xo_buf authorization, url; /* memory kept */
    char *token;
    xo_buf request, answer; /* answer bounded */
    long status;            /* HTTP status, 0 before an answer */
    int64_t date_ms;        /* the answer's Date, -1 without */
    int64_t sent_ms;        /* xo_now_ms() that was signed */
    char content_type[64];
    char error[CURL_ERROR_SIZE];
    int sends;      /* how often a connection was ready and the request given to it */
    int once;       /* 1: curl must not repeat it on a new connection by itself (POST) */
    int retry_hint; /* 1: nothing was sent (could not connect) */
} xo_http_call;
xonce_status xo_http_call_init(xo_http_call *c);
/* Makes the call ready: target is "/topics/..." with its query, exactly what is signed; body is c->request (POST,
 * DELETE). timeout_ms bounds the whole exchange. */
xonce_status xo_http_prepare(xo_http_call *c, const xo_http_endpoint *e, const char *method, const char *target,
                             int64_t timeout_ms);
/* After curl is through: XONCE_OK when a HTTP answer is there (whatever its status), else CONNECT, TIMEOUT, PROTOCOL
 * with curl's text. */
xonce_status xo_http_finish(xo_http_call *c, CURLcode rc);
xonce_status xo_http_perform(xo_http_call *c); /* blocking: perform + finish */
/* Turns an answer with status >= 400 into an error: code and text of the Error document, AUTH for 401/403 and 408
   TimeExpired (which says by how much the clocks differ), NOT_FOUND for MessageNotExist / TopicNotExist, INVALID for
   InvalidArgument, else PROTOCOL. `native` of the error is the status, `again` is 1 unless the Code says that asking
   again cannot help. `code` (64 bytes, may be NULL) gets the Code, "" without an Error document. */
xonce_status xo_http_error(const xo_http_call *c, const char *what, char *code);
void xo_http_call_free(xo_http_call *c);
/* "/topics/T/messages?consumer=G&ns=I..." built safely; T, G checked to be URL-safe names. group NULL: without
 * consumer. */
xonce_status xo_http_target(xo_buf *out, const xo_http_endpoint *e, const char *topic, const char *group);
#endif
