/* The request target: /topics/T/messages and its query items, in any order. */
#include "base/text.h"
#include "endpoint/request.h"
#include <stdlib.h>
#include <string.h>

int xo_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= XO_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%|.") == n;
}

int xo_whole_number(const char *text, int64_t *out)
{
    int64_t v = 0;
    if (!*text || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text))
        return 0;
    for (; *text; text++)
        v = v * 10 + (*text - '0');
    *out = v;
    return 1;
}

static xo_refusal parse_path(xo_url *u, const char *p, const char *end)
{
    static const char front[] = "/topics/", back[] = "/messages";
    size_t n = (size_t)(end - p), nfront = sizeof front - 1, nback = sizeof back - 1;
    if (n <= nfront + nback || memcmp(p, front, nfront) != 0 || memcmp(end - nback, back, nback) != 0)
        return XO_INVALID_URL;
    size_t len;
    u->topic = xo_unpercent(p + nfront, n - nfront - nback, 0, &len);
    return u->topic && strlen(u->topic) == len && xo_name_ok(u->topic) ? XO_NO_REFUSAL : XO_INVALID_URL;
}

static int parse_trans(xo_url *u, const char *value, xo_method method)
{
    if (method == XO_CONSUME)
        u->trans = strcmp(value, "order") == 0 ? XO_TRANS_ORDER : strcmp(value, "pop") == 0 ? XO_TRANS_POP : XO_TRANS_NONE;
    else if (method == XO_ACK)
        u->trans = strcmp(value, "commit") == 0 ? XO_TRANS_COMMIT : strcmp(value, "rollback") == 0 ? XO_TRANS_ROLLBACK : XO_TRANS_NONE;
    return u->trans != XO_TRANS_NONE;
}

/* One name=value; name is cut out of item. 0 when it does not belong here. */
static int parse_item(xo_url *u, char *item, xo_method method)
{
    char *eq = strchr(item, '=');
    if (!eq)
        return 0;
    *eq = 0;
    size_t len;
    char *value = xo_unpercent(eq + 1, strlen(eq + 1), 1, &len), **slot = NULL;
    if (!value || strlen(value) != len) {
        free(value);
        return 0;
    }
    if (strcmp(item, "trans") == 0) {
        int good = u->trans == XO_TRANS_NONE && parse_trans(u, value, method);
        free(value);
        return good;
    }
    if (strcmp(item, "ns") == 0)
        slot = &u->ns;
    else if (method != XO_SEND && strcmp(item, "consumer") == 0)
        slot = &u->consumer;
    else if (method == XO_CONSUME && strcmp(item, "tag") == 0)
        slot = &u->tag;
    else if (method == XO_CONSUME && strcmp(item, "numOfMessages") == 0)
        slot = &u->max;
    else if (method == XO_CONSUME && strcmp(item, "waitseconds") == 0)
        slot = &u->wait;
    if (!slot || *slot) {
        free(value);
        return 0;
    }
    *slot = value;
    return 1;
}

/* Who takes messages or acknowledges has a group; commit and rollback of clients without an instance send an empty one. */
static int consumer_ok(const xo_url *u, xo_method method)
{
    if (method == XO_SEND)
        return 1;
    if (u->trans == XO_TRANS_COMMIT || u->trans == XO_TRANS_ROLLBACK)
        return !u->consumer || !*u->consumer || xo_name_ok(u->consumer);
    return u->consumer && xo_name_ok(u->consumer);
}

xo_refusal xo_url_parse(xo_url *u, const char *target, xo_method method, const char **what)
{
    const char *end = target + strcspn(target, "?");
    xo_refusal why = method == XO_OTHER ? XO_INVALID_URL : parse_path(u, target, end);
    *what = "";
    char *copy = why == XO_NO_REFUSAL ? xo_strdup(*end ? end + 1 : "") : NULL, *next;
    if (why == XO_NO_REFUSAL && !copy)
        return XO_INTERNAL_ERROR;
    for (char *item = copy; item && *item && why == XO_NO_REFUSAL; item = next) {
        next = item + strcspn(item, "&");
        if (*next)
            *next++ = 0;
        if (*item && !parse_item(u, item, method)) {
            why = XO_INVALID_QUERY;
            *what = target + (item - copy) + (end - target) + 1; /* the item's name begins there */
        }
    }
    free(copy);
    if (why == XO_NO_REFUSAL && !consumer_ok(u, method)) {
        why = XO_INVALID_QUERY;
        *what = "consumer";
    }
    return why;
}

void xo_url_free(xo_url *u)
{
    free(u->topic);
    free(u->ns);
    free(u->consumer);
    free(u->tag);
    free(u->max);
    free(u->wait);
    memset(u, 0, sizeof *u);
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = 0;
    return s;
}

int xo_url_tags(xo_request *r, xo_topic *t)
{
    if (!r->url.tag || !*trim(r->url.tag) || r->url.trans == XO_TRANS_POP)
        return 0;
    size_t cap = strlen(r->url.tag) / 2 + 2, n = 0;
    r->tags = xo_calloc(cap, sizeof *r->tags);
    if (!r->tags)
        return -1;
    char *p = r->url.tag, *next;
    for (; p; p = next) {
        next = strstr(p, "||");
        if (next) {
            *next = 0;
            next += 2;
        }
        char *tag = trim(p);
        if (strcmp(tag, "*") == 0)
            return 0; /* everything */
        if (!*tag)
            continue;
        if (!(r->tags[n] = xo_tag_get(t, tag)))
            return -1;
        n++;
    }
    r->poll.tags = r->tags;
    r->poll.ntags = n;
    return 0;
}
