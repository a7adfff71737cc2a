/* Answers: their headers, the error documents, and the XML of what was sent, taken or acknowledged. */
#include "base/text.h"
#include "endpoint/request.h"
#include "endpoint/storage.h"
#include "proto/receipt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XMLNS " xmlns=\"http://mq.aliyuncs.com/doc/v1\""
#define DECLARATION "<?xml version=\"1.0\" ?>\n"

static const struct {
    unsigned status;
    const char *code, *text;
} refusals[] = {
    [XO_NO_REFUSAL] = {200, "", ""},
    [XO_ACCESS_DENIED] = {403, "AccessDenied", "The OwnerId that your Access Key Id associated to is forbidden for this operation."},
    [XO_INVALID_ACCESS_KEY] = {403, "InvalidAccessKeyId", "The AccessKey Id you provided is not exist."},
    [XO_INTERNAL_ERROR] = {500, "InternalError", "Interal error."},
    [XO_INVALID_AUTHORIZATION] = {400, "InvalidAuthorizationHeader", "The Authorization header format is invalid."},
    [XO_INVALID_DATE] = {400, "InvalidDateHeader", "The Date header format is invalid."},
    [XO_BAD_ELEMENT] = {400, "InvalidArgument", "The XML you provided did not validate against our published schema, cause by %s."},
    [XO_BAD_RANGE] = {400, "InvalidArgument", "The value of %s should between %lld and %lld%s."},
    [XO_TOO_LONG] = {400, "InvalidArgument", "The length of message should not be larger than MaximumMessageSize."},
    [XO_INVALID_DIGEST] = {400, "InvalidDigest", "The Content-MD5 you specified is invalid."},
    [XO_INVALID_URL] = {400, "InvalidRequestURL", "Http request URL format invalid."},
    [XO_INVALID_QUERY] = {400, "InvalidQueryString", "Http request URL contains invalid querystring item \"%.*s\"."},
    [XO_MALFORMED_XML] = {400, "MalformedXML", "The XML you provided was not well-formed."},
    [XO_MISSING_AUTHORIZATION] = {400, "MissingAuthorizationHeader", "Authorization header is required."},
    [XO_MISSING_DATE] = {400, "MissingDateHeader", "Date header is required."},
    [XO_MISSING_HANDLE] = {400, "MissingReceiptHandle", "ReceiptHandle is required."},
    [XO_NO_MESSAGE] = {404, "MessageNotExist", "Message not exist."},
    [XO_HANDLE_EXPIRED] = {404, "MessageNotExist", "The receipt handle you provided has expired."},
    [XO_HANDLE_ERROR] = {400, "ReceiptHandleError", "The receipt handle you provide is not valid."},
    [XO_BAD_SIGNATURE] = {403, "SignatureDoesNotMatch",
                          "The request signature we calculated does not match the signature you provided. Check your key and signing method."},
    [XO_TIME_EXPIRED] = {408, "TimeExpired", "The http request you sent is expired."},
    [XO_QPS] = {400, "QpsLimitExceeded", "The qps limit is exceeded."},
    [XO_NO_TOPIC] = {404, "TopicNotExist", "The topic name you provided is not exist."},
};

/* ---- sending off ---- */

typedef struct {
    char *p;
    size_t cut;
} cut_body;

/* Gives half of the body, then breaks the connection. */
static ssize_t read_cut(void *arg, uint64_t pos, char *out, size_t max)
{
    cut_body *c = arg;
    if (pos >= c->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = c->cut - (size_t)pos;
    n = n < max ? n : max;
    memcpy(out, c->p + pos, n);
    return (ssize_t)n;
}

static void free_cut(void *arg)
{
    cut_body *c = arg;
    free(c->p);
    free(c);
}

static struct MHD_Response *make_response(xo_request *r, char *p, size_t n)
{
    pthread_mutex_lock(&r->ep->lock);
    int cut = n && xo_dice(r->ep->faults.cut);
    pthread_mutex_unlock(&r->ep->lock);
    cut_body *c = cut ? xo_calloc(1, sizeof *c) : NULL;
    if (!c)
        return MHD_create_response_from_buffer(n, p, n ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    c->p = p;
    c->cut = n / 2;
    struct MHD_Response *response = MHD_create_response_from_callback(n, 4096, read_cut, c, free_cut);
    if (!response) {
        free(c);
        return NULL;
    }
    pthread_mutex_lock(&r->ep->lock);
    r->ep->cuts_made++;
    pthread_mutex_unlock(&r->ep->lock);
    return response;
}

enum MHD_Result xo_answer(xo_request *r, unsigned status, xo_buf *body)
{
    char date[30], none[1] = "";
    size_t n = body ? body->len : 0;
    if (body && body->failed) {
        xo_buf_free(body);
        return MHD_NO; /* without memory for an answer the connection ends */
    }
    char *p = n ? xo_buf_take(body) : none;
    struct MHD_Response *response = make_response(r, p, n);
    if (!response) {
        if (n)
            free(p);
        return MHD_NO;
    }
    xo_http_date(date, xo_engine_now(r->ep->engine));
    MHD_add_response_header(response, "Date", date);
    MHD_add_response_header(response, "x-mq-request-id", r->id);
    MHD_add_response_header(response, "x-mq-version", "2015-06-06");
    if (n)
        MHD_add_response_header(response, "Content-Type", "text/xml;charset=utf-8");
    if (atomic_load(&r->ep->stopping))
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(r->connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

/* <name>text</name> on a line of its own; name is a literal. */
#define ELEMENT(b, name, text) element(b, "  <" name ">", text, "</" name ">\n")
#define PLAIN(b, name, text) plain(b, "  <" name ">", text, "</" name ">\n")
#define NUMBER(b, name, value) number(b, "  <" name ">", value, "</" name ">\n")

static void element(xo_buf *b, const char *open, const char *text, const char *close)
{
    xo_buf_str(b, open);
    xo_xml_escape(b, text, strlen(text));
    xo_buf_str(b, close);
}

/* Of a text in which nothing is to be escaped. */
static void plain(xo_buf *b, const char *open, const char *text, const char *close)
{
    xo_buf_str(b, open);
    xo_buf_str(b, text);
    xo_buf_str(b, close);
}

static void number(xo_buf *b, const char *open, int64_t value, const char *close)
{
    char text[XO_DECIMAL_SIZE];
    (void)xo_decimal(text, value);
    plain(b, open, text, close);
}

static enum MHD_Result answer_error(xo_request *r, unsigned status, const char *code, const char *text)
{
    xo_buf b = {0};
    const char *host = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Host");
    char *host_id = xo_printf("http://%s", host && xo_utf8_valid(host, strlen(host), NULL) ? host : "localhost");
    xo_buf_str(&b, DECLARATION "<Error" XMLNS ">\n");
    ELEMENT(&b, "Code", code);
    ELEMENT(&b, "Message", text);
    ELEMENT(&b, "RequestId", r->id);
    ELEMENT(&b, "HostId", host_id ? host_id : "http://localhost");
    xo_buf_str(&b, "</Error>\n");
    free(host_id);
    return xo_answer(r, status, &b);
}

enum MHD_Result xo_answer_refusal(xo_request *r, xo_refusal why, ...)
{
    va_list ap;
    char text[512];
    va_start(ap, why);
    /* the format is one of the table's; each caller gives what its row wants */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)vsnprintf(text, sizeof text, refusals[why].text, ap);
#pragma GCC diagnostic pop
    va_end(ap);
    return answer_error(r, refusals[why].status, refusals[why].code, text);
}

enum MHD_Result xo_answer_fault(xo_request *r)
{
    unsigned status = (unsigned)r->error_status;
    xo_refusal like = status == 400 ? XO_QPS : status == 403 ? XO_ACCESS_DENIED : status == 408 ? XO_TIME_EXPIRED : XO_INTERNAL_ERROR;
    return answer_error(r, status, refusals[like].code, refusals[like].text);
}

enum MHD_Result xo_answer_stopping(xo_request *r)
{
    return answer_error(r, MHD_HTTP_SERVICE_UNAVAILABLE, "InternalServerError", refusals[XO_INTERNAL_ERROR].text);
}

/* ---- documents ---- */

static void add_digest(xo_buf *b, const char *body, size_t n)
{
    unsigned char md5[16];
    char hex[33] = "";
    if (xo_md5(body, n, md5) == 0)
        xo_hex(hex, md5, sizeof md5, 1);
    else
        b->failed = 1;
    PLAIN(b, "MessageBodyMD5", hex);
}

enum MHD_Result xo_answer_sent(xo_request *r)
{
    xo_buf b = {0};
    char id[33];
    xo_hex(id, r->send.id, sizeof r->send.id, 1);
    xo_buf_str(&b, DECLARATION "<Message" XMLNS ">\n");
    PLAIN(&b, "MessageId", id);
    add_digest(&b, r->message.body, r->message.body_len);
    if (r->send.handle)
        ELEMENT(&b, "ReceiptHandle", r->send.handle);
    xo_buf_str(&b, "</Message>\n");
    return xo_answer(r, MHD_HTTP_CREATED, &b);
}

static void add_message(xo_buf *b, const xo_pick *k, const xo_content *c)
{
    char id[33];
    xo_hex(id, k->id, sizeof k->id, 1);
    xo_buf_str(b, "<Message>\n");
    PLAIN(b, "MessageId", id);
    add_digest(b, c->body, c->body_len);
    xo_buf_str(b, "  <MessageBody>");
    xo_xml_escape(b, c->body, c->body_len);
    xo_buf_str(b, "</MessageBody>\n");
    PLAIN(b, "ReceiptHandle", k->handle);
    NUMBER(b, "PublishTime", k->born);
    NUMBER(b, "FirstConsumeTime", k->first);
    NUMBER(b, "NextConsumeTime", k->next);
    NUMBER(b, "ConsumedTimes", k->times);
    if (c->tag)
        ELEMENT(b, "MessageTag", c->tag);
    if (c->properties)
        ELEMENT(b, "Properties", c->properties);
    xo_buf_str(b, "</Message>\n");
}

enum MHD_Result xo_answer_messages(xo_request *r)
{
    xo_content content[XO_POLL_MAX];
    memset(content, 0, sizeof content);
    int n = r->poll.npicks, shown = 0;
    int bad = n && xo_storage_read(r->ep->engine->storage, r->poll.picks, n, content) != 0;
    xo_buf b = {0};
    xo_buf_str(&b, DECLARATION "<Messages" XMLNS ">\n");
    for (int i = 0; i < n; i++) {
        if (content[i].body) { /* NULL: pruned between hand-out and here */
            add_message(&b, &r->poll.picks[i], &content[i]);
            shown++;
        }
        xo_content_free(&content[i]);
    }
    xo_buf_str(&b, "</Messages>\n");
    if (!bad && shown)
        return xo_answer(r, MHD_HTTP_OK, &b);
    xo_buf_free(&b);
    return xo_answer_refusal(r, bad ? XO_INTERNAL_ERROR : XO_NO_MESSAGE);
}

enum MHD_Result xo_answer_handles(xo_request *r)
{
    xo_buf b = {0};
    size_t failed = 0;
    xo_buf_str(&b, DECLARATION "<Errors" XMLNS ">\n");
    for (size_t i = 0; i < r->nhandles; i++) {
        if (r->states[i] == XO_HANDLE_GOOD)
            continue;
        xo_refusal why = r->states[i] == XO_HANDLE_STALE ? XO_HANDLE_EXPIRED : XO_HANDLE_ERROR;
        failed++;
        xo_buf_str(&b, "<Error>\n");
        ELEMENT(&b, "ErrorCode", refusals[why].code);
        ELEMENT(&b, "ErrorMessage", refusals[why].text);
        ELEMENT(&b, "ReceiptHandle", r->handles[i]);
        xo_buf_str(&b, "</Error>\n");
    }
    xo_buf_str(&b, "</Errors>\n");
    if (failed)
        return xo_answer(r, MHD_HTTP_NOT_FOUND, &b);
    xo_buf_free(&b);
    return xo_answer(r, MHD_HTTP_NO_CONTENT, NULL);
}
