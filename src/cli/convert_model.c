/* xonce convert: the consumers of the files, their subscriptions and listeners. */
#include "cli/convert.h"
#include "message/message.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CONSUMERS = 64, MOST_SUBSCRIPTIONS = 500, MOST_ARGS = 200 };

static int is_bean(const xo_cv_node *n)
{
    return strcmp(n->name, "bean") == 0;
}

/* The kind of consumer that a bean makes; -1: none. Packages changed from version to version, so only the class's own name counts. */
static int consumer_kind(xo_cv *cv, const xo_cv_node *bean)
{
    static const struct {
        const char *name;
        int kind;
    } factories[] = {{"createExactlyOnceConsumer", XO_CV_EACH}, {"createConsumer", XO_CV_EACH}, {"createOrderedConsumer", XO_CV_ORDERED},
                     {"createExactlyOnceOrderedConsumer", XO_CV_ORDERED}, {"createBatchConsumer", XO_CV_BATCH}};
    const char *class = xo_cv_class_name(xo_cv_class(cv, bean)), *method = xo_cv_attribute(bean, "factory-method");
    xo_cv_arg table;
    for (size_t i = 0; method && i < sizeof(factories) / sizeof(factories[0]); i++) {
        if (strcmp(method, factories[i].name) == 0) {
            return factories[i].kind;
        }
    }
    int known = strncmp(class, "ExactlyOnceConsumer", 19) == 0 || strcmp(class, "ConsumerBean") == 0 || strcmp(class, "OrderConsumerBean") == 0 ||
                strcmp(class, "BatchConsumerBean") == 0 || strcmp(class, "DefaultMQPushConsumer") == 0;
    if (!known && !xo_cv_property(cv, bean, "subscriptionTable", &table)) {
        return -1;
    }
    return strstr(class, "Order") ? XO_CV_ORDERED : strstr(class, "Batch") ? XO_CV_BATCH : XO_CV_EACH;
}

/* A name for C and for files, from a bean's id. */
static const char *identifier(xo_cv *cv, const char *text, const char *instead)
{
    xo_buf b = {.max = 64};
    for (const char *p = text; *p && b.len < 60; p++) {
        int good = (isalnum((unsigned char)*p) && (unsigned char)*p < 0x80) || *p == '_';
        if (good || (b.len && b.p[b.len - 1] != '_')) {
            xo_buf_char(&b, good ? *p : '_');
        }
    }
    while (b.len && b.p[b.len - 1] == '_') {
        b.p[--b.len] = 0;
    }
    const char *name = !b.len ? instead : xo_cv_format(cv, "%s%s", isdigit((unsigned char)b.p[0]) ? "on_" : "", b.p);
    xo_buf_free(&b);
    return name;
}

/* Words of C, of its library and of the skeleton that a handler may not be called. */
static const char *free_name(xo_cv *cv, const xo_cv_consumer *c, const char *name)
{
    static const char *const taken[] = {"auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int",
        "long", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "main", "consumer", "on_signal",
        "value", "log_line", "remove", "rename", "signal", "raise", "exit", "abort", "system", "free", "malloc", "index", "read", "write", "open", "close", "stdin", "stdout", "stderr", "errno", "run", "send"};
    const char *now = name;
    for (int i = 2; i < 1000; i++) {
        int used = strncmp(now, "xonce", 5) == 0 || now[0] == '_';
        for (size_t k = 0; k < sizeof(taken) / sizeof(taken[0]); k++) {
            used |= strcmp(taken[k], now) == 0;
        }
        for (size_t k = 0; k < c->nhandlers; k++) {
            used |= strcmp(c->handlers[k].name, now) == 0;
        }
        if (!used) {
            break;
        }
        now = i == 2 ? xo_cv_format(cv, "handle_%s", name) : xo_cv_format(cv, "handle_%s_%d", name, i);
    }
    return now;
}

/* The handler for a listener; one listener of several topics is one function. */
static size_t handler_for(xo_cv *cv, xo_cv_consumer *c, const xo_cv_arg *listener, int kind)
{
    const xo_cv_node *bean = listener ? xo_cv_target(cv, listener) : NULL;
    const char *id = listener && listener->ref ? listener->ref : bean && xo_cv_attribute(bean, "id") ? xo_cv_attribute(bean, "id") : "";
    const char *class = bean ? xo_cv_class(cv, bean) : "";
    for (size_t i = 0; *id && i < c->nhandlers; i++) {
        if (strcmp(c->handlers[i].bean, id) == 0) {
            return i;
        }
    }
    xo_cv_handler *list = xo_cv_more(cv, c->handlers, &c->nhandlers, &c->handlers_cap, sizeof(*list));
    if (list) {
        c->handlers = list;
        c->nhandlers--; /* not yet among those that free_name() looks at */
        xo_cv_handler h = {free_name(cv, c, identifier(cv, *id ? id : xo_cv_class_name(class), "handle")), id, class, kind};
        list[c->nhandlers++] = h;
    }
    return c->nhandlers ? c->nhandlers - 1 : 0;
}

static void subscribe(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *at, xo_cv_value topic, const xo_cv_value *tags, const xo_cv_arg *listener)
{
    if (!topic.env && !*topic.text) {
        xo_cv_say(cv, XO_CV_STOP, at, "a subscription without a topic");
        return;
    }
    for (size_t i = 0; i < c->nsubscriptions; i++) {
        if (strcmp(c->subscriptions[i].topic.text, topic.text) == 0) {
            xo_cv_say(cv, XO_CV_STOP, at, "topic %.100s is subscribed twice in one consumer; in Java the last one counts, here the first was taken: put the tags into one", topic.text);
            return;
        }
    }
    if (c->nsubscriptions == MOST_SUBSCRIPTIONS) {
        xo_cv_say(cv, XO_CV_STOP, at, "more than %d subscriptions", MOST_SUBSCRIPTIONS);
        return;
    }
    size_t handler = handler_for(cv, c, listener, c->kind);
    xo_cv_subscription *list = xo_cv_more(cv, c->subscriptions, &c->nsubscriptions, &c->subscriptions_cap, sizeof(*list));
    if (list) {
        c->subscriptions = list;
        int all = !tags || (!tags->env && !*tags->text);
        list[c->nsubscriptions - 1] = (xo_cv_subscription){topic, all ? (xo_cv_value){"*", NULL, at->line} : *tags, handler};
    }
}

/* A Subscription bean: topic, expression, type. */
static void subscribe_bean(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *bean, const xo_cv_arg *listener)
{
    xo_cv_arg arg;
    xo_cv_value topic = {"", NULL, bean->line}, tags = {"*", NULL, bean->line}, type = {"", NULL, 0};
    if (!xo_cv_property(cv, bean, "topic", &arg) || !xo_cv_text(cv, &arg, &topic)) {
        xo_cv_say(cv, XO_CV_STOP, bean, "a subscription without a topic");
        return;
    }
    if (xo_cv_property(cv, bean, "expression", &arg) && !xo_cv_text(cv, &arg, &tags)) {
        xo_cv_say(cv, XO_CV_STOP, bean, "the expression of topic %.100s is not a text", topic.text);
        return;
    }
    if (xo_cv_property(cv, bean, "type", &arg) && xo_cv_text(cv, &arg, &type) && strcmp(type.text, "TAG") != 0) {
        xo_cv_say(cv, XO_CV_STOP, bean, "topic %.100s is filtered by %.20s \"%.100s\": there are only tags here; left out. Subscribe to all in a group of its own and judge in the handler",
                  topic.text, type.text, tags.text);
        return;
    }
    subscribe(cv, c, bean, topic, &tags, listener);
}

/* One entry of subscriptionTable: the key is a Subscription, or a topic's name; the value a listener, or tags. */
static void subscribe_entry(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *entry, const xo_cv_arg *common)
{
    const xo_cv_node *key = NULL, *value = NULL;
    for (const xo_cv_node *n = entry->first; n; n = n->next) {
        *(strcmp(n->name, "key") == 0 ? &key : &value) = n;
    }
    xo_cv_arg from = {entry, "", xo_cv_attribute(entry, "key"), xo_cv_attribute(entry, "key-ref"), key ? key->first : NULL};
    xo_cv_arg to = {entry, "", xo_cv_attribute(entry, "value"), xo_cv_attribute(entry, "value-ref"), value};
    if (key && !key->first && !from.text) {
        from.text = key->text;
    }
    const xo_cv_node *bean = xo_cv_target(cv, &from);
    xo_cv_value topic, tags;
    if (bean) {
        subscribe_bean(cv, c, bean, &to);
    } else if (xo_cv_text(cv, &from, &topic)) {
        int text = !xo_cv_target(cv, &to) && xo_cv_text(cv, &to, &tags);
        subscribe(cv, c, entry, topic, text ? &tags : NULL, text ? common : &to);
    } else {
        xo_cv_say(cv, XO_CV_STOP, entry, "a subscription that this program cannot follow; look at it by hand");
    }
}

static void subscriptions_of(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *bean)
{
    static const char *const names[] = {"subscriptionTable", "subscriptions", "subscription"};
    xo_cv_arg table, listener, *common = xo_cv_property(cv, bean, "messageListener", &listener) ? &listener : NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const xo_cv_node *map = xo_cv_property(cv, bean, names[i], &table) ? xo_cv_container(cv, &table) : NULL;
        for (const xo_cv_node *n = map ? map->first : NULL; n; n = n->next) {
            if (strcmp(n->name, "entry") == 0) {
                subscribe_entry(cv, c, n, common);
            } else if (is_bean(n)) {
                subscribe_bean(cv, c, n, common);
            }
        }
        if (!map && strcmp(names[i], "subscriptionTable") == 0 && xo_cv_property(cv, bean, names[i], &table)) {
            xo_cv_say(cv, XO_CV_STOP, table.at, "the subscription table stands where this program cannot follow; look at it by hand");
        }
    }
}

/* MethodInvokingFactoryBean: consumer.subscribe(topic, tags, listener) */
static void subscription_by_call(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *consumer, const xo_cv_node *call)
{
    xo_cv_arg arg;
    xo_cv_value v, text[2];
    size_t n = 0;
    if (strncmp(xo_cv_class_name(xo_cv_class(cv, call)), "MethodInvoking", 14) != 0 || !xo_cv_property(cv, call, "targetMethod", &arg) || !xo_cv_text(cv, &arg, &v) ||
        strcmp(v.text, "subscribe") != 0 || !xo_cv_property(cv, call, "targetObject", &arg) || xo_cv_target(cv, &arg) != consumer) {
        return;
    }
    const xo_cv_node *list = xo_cv_property(cv, call, "arguments", &arg) ? xo_cv_container(cv, &arg) : NULL;
    xo_cv_arg listener = {call, "", NULL, NULL, NULL};
    for (const xo_cv_node *e = list ? list->first : NULL; e; e = e->next) {
        arg = xo_cv_element(e);
        if (n < 2 && strcmp(e->name, "value") == 0) {
            n += (size_t)xo_cv_text(cv, &arg, &text[n]);
        } else if (n == 2) {
            listener = arg;
            const char *id = xo_cv_attribute(e, "bean");
            listener.ref = id;
        }
    }
    if (n == 2) {
        subscribe(cv, c, call, text[0], &text[1], &listener);
    } else {
        xo_cv_say(cv, XO_CV_STOP, call, "a call of subscribe() whose arguments are not topic, tags and listener; look at it by hand");
    }
}

/* Apache's consumers are made with their group: the argument of that name, or the first text. */
static void constructed(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *bean)
{
    enum { MOST = 16 };
    xo_cv_arg all[MOST];
    xo_cv_value v;
    size_t n = xo_cv_constructor(cv, bean, all, MOST);
    int found = 0;
    for (size_t i = 0; i < n; i++) {
        int named = strcmp(all[i].name, "consumerGroup") == 0;
        if (xo_cv_text(cv, &all[i], &v) && (named || (!found && (!*all[i].name || *all[i].name == '_')))) {
            c->group = v;
            found = 1;
        } else {
            xo_cv_say(cv, XO_CV_DIFFERS, all[i].at, "an argument of the constructor (%.60s): look at it by hand", *all[i].name ? all[i].name : "without a name");
        }
    }
}

/* The settings: the bean "properties", a factory's argument, and plain setters. */
static void settings_of(xo_cv *cv, xo_cv_consumer *c, const xo_cv_node *bean)
{
    static const char *const structure[] = {"properties", "subscriptionTable", "subscriptions", "subscription", "messageListener"};
    xo_cv_items items = {0};
    xo_cv_arg arg, all[MOST_ARGS];
    if (strstr(xo_cv_class_name(xo_cv_class(cv, bean)), "MQPushConsumer")) {
        constructed(cv, c, bean);
    } else if (xo_cv_property(cv, bean, "properties", &arg) || xo_cv_constructor(cv, bean, &arg, 1) == 1) {
        xo_cv_collect(cv, &arg, &items);
    }
    size_t n = xo_cv_setters(cv, bean, all, MOST_ARGS);
    for (size_t i = 0; i < n; i++) {
        int known = 0;
        for (size_t k = 0; k < sizeof(structure) / sizeof(structure[0]); k++) {
            known |= strcmp(structure[k], all[i].name) == 0;
        }
        xo_cv_item *list = known ? NULL : xo_cv_more(cv, items.items, &items.n, &items.cap, sizeof(*list));
        if (list) {
            items.items = list;
            list[items.n - 1] = (xo_cv_item){{all[i].name, NULL, all[i].at->line}, {"", NULL, 0}, all[i].at};
            if (!xo_cv_text(cv, &all[i], &list[items.n - 1].value)) {
                xo_cv_say(cv, XO_CV_DIFFERS, all[i].at, "%.60s is given a bean, and has no counterpart here", all[i].name);
                items.n--;
            }
        }
    }
    for (size_t i = 0; i < items.n; i++) {
        xo_cv_setting_of(cv, c, &items.items[i]);
    }
}

/* The variables that the skeleton reads. */
static void name_variables(xo_cv *cv, xo_cv_consumer *c)
{
    const xo_cv_value *all[2] = {&c->group, &c->from};
    static const char *const what[] = {"the group", "the name servers, as rocketmq://HOST:PORT;HOST:PORT", "a topic", "tags"};
    for (size_t i = 0; i < 2 + 2 * c->nsubscriptions; i++) {
        const xo_cv_subscription *s = i < 2 ? NULL : &c->subscriptions[(i - 2) / 2];
        const xo_cv_value *v = !s ? all[i] : i % 2 ? &s->tags : &s->topic;
        if (v->env) {
            (void)xo_cv_variable_for(cv, &c->variables, &c->nvariables, &c->variables_cap, v->env, NULL,
                                     xo_cv_format(cv, "%s%s%.100s", what[i < 2 ? i : 2 + i % 2], *v->text ? "; in the file " : "", v->text), 0);
        }
    }
}

static void add_consumer(xo_cv *cv, const xo_cv_node *bean, int kind)
{
    xo_cv_consumer *list = xo_cv_more(cv, cv->consumers, &cv->nconsumers, &cv->consumers_cap, sizeof(*list));
    if (!list) {
        return;
    }
    cv->consumers = list;
    xo_cv_consumer *c = &list[cv->nconsumers - 1];
    const char *id = xo_cv_attribute(bean, "id"), *name = xo_cv_attribute(bean, "name");
    c->id = id ? id : name ? name : xo_cv_format(cv, "consumer-%zu", cv->nconsumers);
    c->kind = kind;
    c->line = bean->line;
    c->group = c->from = (xo_cv_value){"", NULL, bean->line};
    if (!strstr(xo_cv_class(cv, bean), "xactlyOnce") && !strstr(xo_cv_attribute(bean, "factory-method") ? xo_cv_attribute(bean, "factory-method") : "", "xactlyOnce")) {
        xo_cv_say(cv, XO_CV_DIFFERS, bean, "%.100s is no ExactlyOnceConsumer: it applied messages at least once, and left no records; here it is exactly once from the first message on", c->id);
    }
    settings_of(cv, c, bean);
    subscriptions_of(cv, c, bean);
    for (const xo_cv_node *n = xo_cv_next(cv->root, cv->root); n; n = xo_cv_next(n, cv->root)) {
        if (is_bean(n) && xo_cv_active(cv, n)) {
            subscription_by_call(cv, c, bean, n);
        }
    }
    if (!c->nsubscriptions) {
        xo_cv_say(cv, XO_CV_STOP, bean, "%.100s has no subscription in the file, so Java code subscribes: add an xonce_on() for each topic", c->id);
    }
    if (!c->group.env && !*c->group.text) {
        xo_cv_say(cv, XO_CV_STOP, bean, "%.100s has no GROUP_ID in the file", c->id);
        c->group.env = "GROUP_ID";
    } else if (!c->group.env && xo_check_group(c->group.text) != XONCE_OK) {
        xo_cv_say(cv, XO_CV_STOP, bean, "the group: %.200s", xonce_error_last()->text);
    }
    if (!c->from.env && !*c->from.text) {
        xo_cv_say(cv, XO_CV_STOP, bean, "%.100s has no address (NAMESRV_ADDR) in the file that could be used here", c->id);
        c->from.env = "NAMESRV_ADDR";
    }
    name_variables(cv, c);
}

/* Is it one of the files that were named? Their names without folders count. */
static int was_read(const xo_cv *cv, const char *resource)
{
    const char *slash = strrchr(resource, '/'), *colon = strrchr(resource, ':'), *base = slash ? slash + 1 : colon ? colon + 1 : resource;
    for (const xo_cv_node *n = cv->root->first; n; n = n->next) {
        if (strcmp(n->file, base) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What else stands in the files and touches messages, but is not read. */
static void look_around(xo_cv *cv, const xo_cv_node *n)
{
    const char *class = is_bean(n) ? xo_cv_class_name(xo_cv_class(cv, n)) : "", *resource = xo_cv_attribute(n, "resource");
    if (strcmp(n->name, "import") == 0 && resource) {
        if (!was_read(cv, resource)) {
            xo_cv_say(cv, XO_CV_STOP, n, "imports %.150s, which was not read: name that file on the command line too", resource);
        }
    } else if (strcmp(n->name, "component-scan") == 0) {
        xo_cv_say(cv, XO_CV_DIFFERS, n, "beans that annotations make (@Component, @Bean) are not seen: look for consumers and data sources among them");
    } else if (strcmp(n->name, "aspectj-autoproxy") == 0 || strstr(class, "TransactionAspect")) {
        xo_cv_say(cv, XO_CV_DIFFERS, n, "@MQTransaction has no counterpart and needs none: every handler runs in a transaction");
    } else if (strcmp(n->name, "property-placeholder") == 0 && !cv->properties) {
        xo_cv_say(cv, XO_CV_DIFFERS, n, "values stand in %.150s: give that file by --properties, or set the environment variables named below",
                  xo_cv_attribute(n, "location") ? xo_cv_attribute(n, "location") : "a file of properties");
    } else if (strstr(class, "ProducerBean")) {
        xo_cv_say(cv, XO_CV_DIFFERS, n, "a producer (%.60s): leave it as it is, in Java; in C it would be xonce_producer_open()", class);
    } else if (strcmp(class, "SqlSessionFactoryBean") == 0 || strstr(class, "MapperScanner")) {
        xo_cv_say(cv, XO_CV_DIFFERS, n, "MyBatis (%.60s): write the SQL of its mappers into the handlers", class);
    } else if (strstr(class, "PullConsumer")) {
        xo_cv_say(cv, XO_CV_STOP, n, "a pull consumer (%.60s): its loop is Java code; here it is xonce_once() in a loop of your own, or a handler", class);
    }
}

/* Properties that <context:property-placeholder> or a configurer bean holds inside the files. */
static void gather_properties(xo_cv *cv)
{
    for (const xo_cv_node *n = xo_cv_next(cv->root, cv->root); n; n = xo_cv_next(n, cv->root)) {
        xo_cv_arg arg;
        xo_cv_items items = {0};
        if (is_bean(n) && strstr(xo_cv_class_name(xo_cv_class(cv, n)), "Placeholder") && xo_cv_property(cv, n, "properties", &arg)) {
            xo_cv_collect(cv, &arg, &items);
        }
        for (size_t i = 0; i < items.n; i++) {
            xo_cv_pair *list = xo_cv_more(cv, cv->given.items, &cv->given.n, &cv->given.cap, sizeof(*list));
            if (list) { /* in front: what was given on the command line wins, and is looked at from the end */
                cv->given.items = list;
                memmove(list + 1, list, (cv->given.n - 1) * sizeof(*list));
                list[0] = (xo_cv_pair){items.items[i].name.text, items.items[i].value.text};
            }
        }
    }
}

/* Files of several consumers are told apart by their beans' names. */
static void name_files(xo_cv *cv)
{
    for (size_t i = 0; i < cv->nconsumers; i++) {
        xo_cv_consumer *c = &cv->consumers[i];
        c->file_name = cv->nconsumers == 1 ? "" : identifier(cv, c->id, "consumer");
        for (size_t k = 0; k < i; k++) {
            if (strcmp(cv->consumers[k].file_name, c->file_name) == 0 && *c->file_name) {
                c->file_name = xo_cv_format(cv, "%s_%zu", c->file_name, i + 1);
            }
            if (strcmp(cv->consumers[k].group.text, c->group.text) == 0 && !c->group.env) {
                xo_cv_say(cv, XO_CV_STOP, NULL, "%.60s and %.60s are in one group (%.60s): all members of a group must subscribe alike, so make one program of them", cv->consumers[k].id, c->id,
                          c->group.text);
            }
        }
    }
}

xonce_status xo_cv_model(xo_cv *cv)
{
    size_t beans = 0, hidden = 0;
    xo_cv_index(cv);
    gather_properties(cv);
    for (const xo_cv_node *n = xo_cv_next(cv->root, cv->root); n; n = xo_cv_next(n, cv->root)) {
        const char *abstract = xo_cv_attribute(n, "abstract");
        beans += is_bean(n) != 0;
        if (!xo_cv_active(cv, n)) {
            hidden += is_bean(n) && consumer_kind(cv, n) >= 0;
            continue;
        }
        int kind = is_bean(n) && !(abstract && strcmp(abstract, "true") == 0) ? consumer_kind(cv, n) : -1;
        if (kind >= 0 && cv->nconsumers < MOST_CONSUMERS) {
            add_consumer(cv, n, kind);
        } else {
            look_around(cv, n);
        }
    }
    if (hidden) {
        xo_cv_say(cv, XO_CV_DIFFERS, NULL, "%zu consumers stand in profiles that are not active; --profile NAME takes them", hidden);
    }
    if (!cv->failed && !cv->nconsumers) {
        return hidden ? xo_fail(XONCE_E_NOT_FOUND, "all %zu consumers stand in profiles: name one by --profile", hidden)
                      : xo_fail(XONCE_E_NOT_FOUND, "no consumer among %zu beans: looked for the classes ExactlyOnceConsumer..., ConsumerBean, OrderConsumerBean, BatchConsumerBean, "
                                                   "DefaultMQPushConsumer, the factory method createExactlyOnceConsumer, and a property subscriptionTable", beans);
    }
    name_files(cv);
    xo_cv_find_store(cv);
    return cv->failed ? xo_nomem() : XONCE_OK;
}
