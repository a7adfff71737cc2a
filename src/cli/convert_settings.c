/* xonce convert: properties of the Java client as settings of xonce.conf(5), and its addresses and keys. */
#include "base/config.h"
#include "base/text.h"
#include "cli/convert.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Constants of PropertyKeyConst and their values differ in case and in '_' only: EXACTLYONCE_DELIVERY is "exactlyOnceDelivery". */
static int same_name(const char *a, const char *b, size_t n)
{
    const char *end = b + n;
    for (;;) {
        a += strspn(a, "_-.");
        while (b < end && strchr("_-.", *b)) {
            b++;
        }
        if (!*a || b == end) {
            return !*a && b == end;
        }
        if (tolower((unsigned char)*a++) != tolower((unsigned char)*b++)) {
            return 0;
        }
    }
}

static int is(const char *name, const char *other)
{
    return same_name(name, other, strlen(other));
}

/* Properties that mean something else here, or nothing. text: what is said of it. */
static const struct {
    const char *name;
    xo_cv_level level;
    const char *text;
} others[] = {
    {"exactlyOnceRmRefreshInterval", XO_CV_DIFFERS, "records are written inside of the transaction, by no second thread; how long they are kept is prune.keep, how often old ones are deleted prune.every"},
    {"RamRoleName", XO_CV_STOP, "keys that a machine's role is given are not fetched here: put a key pair, or the three parts of temporary credentials, into the environment"},
    {"MsgTraceSelectQueueEnable", XO_CV_DIFFERS, "traces have no such choice; trace says whether there are any"},
    {"maxBatchMessageCount", XO_CV_DIFFERS, "batches are bounded by batch.max"},
    {"enableOrderlyConsumeAccelerator", XO_CV_DIFFERS, "messages of different sharding keys run side by side always"},
    {"ALLOCATE_MESSAGE_QUEUE_STRATEGY_NAME", XO_CV_STOP, "queues are shared out averagely, as Java does by default; members with another way cannot be in one group with xonce"},
    {"AVG_BY_CIRCLE", XO_CV_STOP, "queues are shared out averagely, as Java does by default; members with another way cannot be in one group with xonce"},
    {"allocateMessageQueueStrategy", XO_CV_STOP, "queues are shared out averagely, as Java does by default; members with another way cannot be in one group with xonce"},
    {"consumeFromWhere", XO_CV_DIFFERS, "it is consume-from = first, last or timestamp, and counts only for a group that is new: this one has its position"},
    {"SendMsgTimeoutMillis", XO_CV_DIFFERS, "it is a producer's; here it would be send.timeout"},
};

static xo_cv_variable *variable(xo_cv *cv, xo_cv_consumer *c, const char *name, const char *value, const char *what, int secret)
{
    return xo_cv_variable_for(cv, &c->variables, &c->nvariables, &c->variables_cap, name, value, what, secret);
}

xo_cv_variable *xo_cv_variable_for(xo_cv *cv, xo_cv_variable **list, size_t *n, size_t *cap, const char *name, const char *value, const char *what, int secret)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp((*list)[i].name, name) == 0) {
            return &(*list)[i];
        }
    }
    xo_cv_variable *grown = xo_cv_more(cv, *list, n, cap, sizeof(*grown));
    if (!grown) {
        return NULL;
    }
    *list = grown;
    grown[*n - 1] = (xo_cv_variable){name, value, what, secret};
    return &grown[*n - 1];
}

/* The access key pair and the token go into the environment. */
static int credential(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item)
{
    static const char *const keys[][2] = {
        {"AccessKey", "ALIBABA_CLOUD_ACCESS_KEY_ID"}, {"SecretKey", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"}, {"SecurityToken", "ALIBABA_CLOUD_SECURITY_TOKEN"}};
    for (size_t i = 0; i < 3; i++) {
        if (is(item->name.text, keys[i][0])) {
            const xo_cv_value *v = &item->value;
            const char *what = v->env ? xo_cv_format(cv, "%s, in the file %.100s", keys[i][0], v->text) : keys[i][0];
            (void)variable(cv, c, keys[i][1], v->env ? NULL : v->text, what, 1);
            return 1;
        }
    }
    return 0;
}

static const xo_config_key *find_key(const char *name)
{
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        for (const char *p = k->alias; p && *p;) {
            size_t n = strcspn(p, "|");
            if (same_name(name, p, n)) {
                return k;
            }
            p += n + (p[n] == '|');
        }
    }
    return NULL;
}

static int is_number(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == 0;
}

/* What a settings file cannot hold as it is. */
static int unwritable(const char *s)
{
    for (const char *p = s; *p; p++) {
        if ((unsigned char)*p < ' ' || (*p == '#' && p > s && p[-1] == ' ') || *p == 0x7f || (*p == '$' && p[1] == '{')) {
            return 1;
        }
    }
    return *s == '#' || *s == ' ' || (*s && s[strlen(s) - 1] == ' ');
}

static void set(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item, const xo_config_key *k)
{
    const char *unit = k->alias_unit ? k->alias_unit : k->unit, *text = item->value.text, *wrong = NULL;
    xonce_config *try = NULL;
    unit = unit && (k->type == XO_T_DURATION || k->type == XO_T_SIZE) && (item->value.env || is_number(text)) ? unit : "";
    if (item->value.env) {
        (void)variable(cv, c, item->value.env, NULL, xo_cv_format(cv, "%s, in the file %.100s", item->name.text, text), 0);
        text = xo_cv_format(cv, "${%s}%s", item->value.env, unit);
    } else {
        text = k->type == XO_T_BOOL && (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0) ? (strcasecmp(text, "true") == 0 ? "on" : "off")
                                                                                                        : xo_cv_format(cv, "%.500s%s", text, unit);
        if (unwritable(text)) {
            wrong = "it holds characters that a settings file cannot hold";
        } else if (xonce_config_new(&try) != XONCE_OK || xonce_config_set(try, k->key, text) != XONCE_OK) {
            wrong = xo_cv_keep(cv, xonce_error_last()->text, strlen(xonce_error_last()->text));
        }
        xonce_config_free(try);
    }
    for (size_t i = 0; i < c->nsettings; i++) {
        if (strcmp(c->settings[i].key, k->key) == 0) {
            xo_cv_say(cv, XO_CV_DIFFERS, item->at, "%.60s: %s was set by %.60s already; left out", item->name.text, k->key, c->settings[i].java);
            return;
        }
    }
    if (wrong) {
        xo_cv_say(cv, XO_CV_STOP, item->at, "%.60s = %.60s: %.200s", item->name.text, unwritable(text) ? "..." : text, wrong);
    }
    xo_cv_setting *list = xo_cv_more(cv, c->settings, &c->nsettings, &c->settings_cap, sizeof(*list));
    if (list) {
        c->settings = list;
        list[c->nsettings - 1] = (xo_cv_setting){k->key, text, item->name.text, wrong};
    }
}

static int special(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item)
{
    const char *name = item->name.text, *text = item->value.text;
    if (is(name, "GROUP_ID") || is(name, "ConsumerId") || is(name, "consumerGroup")) {
        if (is(name, "GROUP_ID") || (!c->group.env && !*c->group.text)) { /* the newer name wins */
            c->group = item->value;
        }
        return 1;
    }
    if (is(name, "NAMESRV_ADDR") || is(name, "ONSAddr") || is(name, "namesrvAddr")) {
        xo_cv_address(cv, c, item);
        return 1;
    }
    if (is(name, "exactlyOnceDelivery")) {
        if (strcasecmp(text, "false") == 0) {
            xo_cv_say(cv, XO_CV_DIFFERS, item->at, "%s = false: the Java consumer applied messages at least once and left no records; here it is exactly once always", name);
        } else {
            xo_cv_say(cv, XO_CV_KEPT, item->at, "%s: nothing to set, consuming is exactly once always", name);
        }
        return 1;
    }
    if (is(name, "MessageModel") && !item->value.env && strcasecmp(text, "CLUSTERING") != 0) {
        xo_cv_say(cv, XO_CV_STOP, item->at, "MessageModel = %.40s: exactly once is per group, so broadcasting is refused; give each member a group of its own", text);
        return 1;
    }
    if (is(name, "MaxReconsumeTimes") && strcmp(text, "-1") == 0) {
        xo_cv_say(cv, XO_CV_KEPT, item->at, "%s = -1 is Java's default, 16, which is the default here too", name);
        return 1;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (is(name, others[i].name)) {
            xo_cv_say(cv, others[i].level, item->at, "%s = %.60s: %s", name, text, others[i].text);
            return 1;
        }
    }
    return credential(cv, c, item);
}

void xo_cv_setting_of(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item)
{
    const char *name = item->name.text;
    if (item->name.env || !*name) {
        xo_cv_say(cv, XO_CV_STOP, item->at, "the name of this property, %.100s, is not known; look at it by hand", name);
        return;
    }
    const char *last = strstr(name, "PropertyKeyConst.");
    xo_cv_item plain = *item;
    plain.name.text = name = last ? last + 17 : name;
    if (special(cv, c, &plain)) {
        return;
    }
    const xo_config_key *k = find_key(name);
    const char *elsewhere = k ? NULL : xo_config_elsewhere(name);
    if (k) {
        set(cv, c, &plain, k);
    } else if (elsewhere) {
        xo_cv_say(cv, XO_CV_DIFFERS, item->at, "%s = %.60s: %s", name, item->value.text, elsewhere);
    } else {
        int hidden = strcasestr(name, "secret") || strcasestr(name, "password") || strcasestr(name, "token");
        xo_cv_say(cv, XO_CV_DIFFERS, item->at, "%.60s = %.60s: no property that this program knows", name, hidden ? "***" : item->value.text);
    }
}

/* ---- addresses ---- */

void xo_cv_address(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item)
{
    const char *text = item->value.text, *host = text;
    if (item->value.env) {
        (void)variable(cv, c, item->value.env, NULL,
                       xo_cv_format(cv, "%s, in the file %.100s: to be written as rocketmq://HOST:PORT;HOST:PORT", item->name.text, text), 0);
        c->from = item->value;
        return;
    }
    int web = strncasecmp(host, "http://", 7) == 0 || strncasecmp(host, "https://", 8) == 0;
    host = web ? strstr(host, "://") + 3 : host;
    size_t n = strlen(host);
    while (n && (host[n - 1] == '/' || host[n - 1] == ';' || host[n - 1] == ' ')) {
        n--;
    }
    if (memchr(host, '/', n)) {
        xo_cv_say(cv, XO_CV_STOP, item->at, "%s = %.200s is not a name server but a page that tells where they are: open it, and take what it says as rocketmq://HOST:PORT;HOST:PORT",
                  item->name.text, text);
        return;
    }
    if (!n || strcspn(host, " \t\r\n\"'\\<>@#?%") < n) {
        xo_cv_say(cv, XO_CV_STOP, item->at, "%s: \"%.100s\" is no list HOST:PORT;HOST:PORT", item->name.text, text);
        return;
    }
    char *list = (char *)(uintptr_t)xo_cv_keep(cv, host, n);
    for (char *p = list; *p; p++) { /* Apache's client takes ';' only, people write ',' */
        *p = *p == ',' ? ';' : *p;
    }
    if (web) {
        xo_cv_say(cv, XO_CV_KEPT, item->at, "%s: http:// in front of a TCP address became rocketmq://; here http:// means the HTTP protocol", item->name.text);
    }
    c->from = (xo_cv_value){xo_cv_format(cv, "rocketmq://%.1000s", list), NULL, item->at->line};
}
