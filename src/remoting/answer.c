/* Answer codes of brokers and name servers as errors of ours. */
#include "base/text.h"
#include "remoting/command.h"
#include <string.h>
#include <strings.h>

static const struct {
    int32_t code;
    const char *name;
    xonce_status status;
    int again;
} answers[] = {
    {XO_RMQ_SYSTEM_ERROR, "SYSTEM_ERROR", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_BUSY, "SYSTEM_BUSY", XONCE_E_CONNECT, 1},
    {XO_RMQ_NOT_SUPPORTED, "REQUEST_CODE_NOT_SUPPORTED", XONCE_E_INVALID, 0},
    {XO_RMQ_FLUSH_DISK_TIMEOUT, "FLUSH_DISK_TIMEOUT", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_SLAVE_NOT_AVAILABLE, "SLAVE_NOT_AVAILABLE", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_FLUSH_SLAVE_TIMEOUT, "FLUSH_SLAVE_TIMEOUT", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_MESSAGE_ILLEGAL, "MESSAGE_ILLEGAL", XONCE_E_INVALID, 0},
    {XO_RMQ_NOT_AVAILABLE, "SERVICE_NOT_AVAILABLE", XONCE_E_CONNECT, 1},
    {XO_RMQ_NO_PERMISSION, "NO_PERMISSION", XONCE_E_AUTH, 0},
    {XO_RMQ_NO_TOPIC, "TOPIC_NOT_EXIST", XONCE_E_NOT_FOUND, 1},
    {XO_RMQ_PULL_NOT_FOUND, "PULL_NOT_FOUND", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_PULL_AGAIN, "PULL_RETRY_IMMEDIATELY", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_PULL_MOVED, "PULL_OFFSET_MOVED", XONCE_E_PROTOCOL, 1},
    {XO_RMQ_QUERY_NOT_FOUND, "QUERY_NOT_FOUND", XONCE_E_NOT_FOUND, 0},
    {XO_RMQ_BAD_SUBSCRIPTION, "SUBSCRIPTION_PARSE_FAILED", XONCE_E_INVALID, 0},
    {XO_RMQ_NO_SUBSCRIPTION, "SUBSCRIPTION_NOT_EXIST", XONCE_E_CONFLICT, 1},
    {XO_RMQ_OLD_SUBSCRIPTION, "SUBSCRIPTION_NOT_LATEST", XONCE_E_CONFLICT, 1},
    {XO_RMQ_NO_GROUP, "SUBSCRIPTION_GROUP_NOT_EXIST", XONCE_E_NOT_FOUND, 0},
    {27, "FILTER_DATA_NOT_EXIST", XONCE_E_CONFLICT, 1},
    {28, "FILTER_DATA_NOT_LATEST", XONCE_E_CONFLICT, 1},
    {XO_RMQ_INVALID_PARAMETER, "INVALID_PARAMETER", XONCE_E_INVALID, 0},
    {204, "NO_BUYER_ID", XONCE_E_CONNECT, 1},
    {205, "NOT_IN_CURRENT_UNIT", XONCE_E_CONNECT, 1},
    {XO_RMQ_NOT_ONLINE, "CONSUMER_NOT_ONLINE", XONCE_E_NOT_FOUND, 0},
    {XO_RMQ_FLOW_CONTROL, "FLOW_CONTROL", XONCE_E_CONNECT, 1},
    {501, "NOT_LEADER_FOR_QUEUE", XONCE_E_CONNECT, 1},
    {604, "ILLEGAL_OPERATION", XONCE_E_PROTOCOL, 0},
    {XO_RMQ_GO_AWAY, "GO_AWAY", XONCE_E_CONNECT, 1},
};

/* Brokers of 4.9 answer 1 to a request whose signature or rights they refuse; the remark alone says so. */
static int about_acl(const xo_command *a)
{
    static const char *const words[] = {"AclException", "acl.common", "signature", "accessKey"};
    for (size_t i = 0; a->code == XO_RMQ_SYSTEM_ERROR && a->remark && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(a->remark, words[i])) {
            return 1;
        }
    }
    return 0;
}

/* The remark on one line: Java puts whole stack traces there. */
static void one_line(const char *s, char *out, size_t size)
{
    size_t n = 0;
    size_t good;
    int blank = 0;
    for (; s && *s && n + 4 < size; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= 0x20 || c == 0x7f) {
            blank = n > 0;
            continue;
        }
        if (blank) {
            out[n++] = ' ';
            blank = 0;
        }
        out[n++] = *s;
    }
    if (!xo_utf8_valid(out, n, &good)) { /* what the end cut in two */
        n = good;
    }
    out[n] = 0;
}

xonce_status xo_command_error(const xo_command *answer, const char *what)
{
    xonce_status st = XONCE_E_PROTOCOL;
    int again = 1;
    const char *name = "a code unknown here";
    char remark[300];
    if (answer->code == XO_RMQ_OK) {
        return XONCE_OK;
    }
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (answers[i].code == answer->code) {
            st = answers[i].status;
            again = answers[i].again;
            name = answers[i].name;
        }
    }
    if (about_acl(answer)) {
        st = XONCE_E_AUTH;
        again = 0;
    }
    one_line(answer->remark, remark, sizeof(remark));
    (void)xo_fail(st, "%s: %s (%d)%s%s", what, name, (int)answer->code, remark[0] ? ": " : "", remark);
    xo_error_set_native(answer->code, again);
    return st;
}
