/* xonce convert: Spring's bean definitions: finding them, what they are given, placeholders. */
#include "cli/convert.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARENTS = 16, NESTED = 8 };

const char *xo_cv_attribute(const xo_cv_node *node, const char *name)
{
    for (const xo_cv_attr *a = node->attrs; a; a = a->next) {
        if (!*a->uri && strcmp(a->name, name) == 0) {
            return a->value;
        }
    }
    return NULL;
}

const xo_cv_node *xo_cv_next(const xo_cv_node *node, const xo_cv_node *top)
{
    if (node->first) {
        return node->first;
    }
    while (node != top && !node->next) {
        node = node->parent;
    }
    return node == top ? NULL : node->next;
}

/* Is word one of the list's, which commas, semicolons or blanks separate? */
static int listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",; \t\r\n");
        if (n == len && memcmp(p, word, n) == 0) {
            return 1;
        }
        p += n + (p[n] != 0);
    }
    return 0;
}

/* Of profile="a, !b" one must hold; without --profile Spring's "default" is the one. */
static int profile_holds(const char *list, const char *active)
{
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",; \t\r\n");
        char word[128];
        if (n > 0 && n < sizeof(word)) {
            memcpy(word, p, n);
            word[n] = 0;
            int not_it = word[0] == '!';
            if (listed(active ? active : "default", word + not_it) != not_it) {
                return 1;
            }
        }
        p += n + (p[n] != 0);
    }
    return 0;
}

int xo_cv_active(const xo_cv *cv, const xo_cv_node *node)
{
    for (; node; node = node->parent) {
        const char *profile = strcmp(node->name ? node->name : "", "beans") == 0 ? xo_cv_attribute(node, "profile") : NULL;
        if (profile && *profile && !profile_holds(profile, cv->profile)) {
            return 0;
        }
    }
    return 1;
}

static void add_name(xo_cv *cv, const char *id, size_t n, const xo_cv_node *node)
{
    xo_cv_name *list = n ? xo_cv_more(cv, cv->names, &cv->nnames, &cv->names_cap, sizeof(*list)) : NULL;
    if (list) {
        cv->names = list;
        list[cv->nnames - 1] = (xo_cv_name){xo_cv_keep(cv, id, n), node};
    }
}

/* By name, those of one name in the order of definition. */
static int by_name(const void *a, const void *b)
{
    const xo_cv_name *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->node->number > y->node->number) - (x->node->number < y->node->number);
}

/* Elements that define a bean by id: <bean>, and <util:properties> and its like, which have other names but an id too. An alias stands for itself. */
void xo_cv_index(xo_cv *cv)
{
    for (const xo_cv_node *n = xo_cv_next(cv->root, cv->root); n; n = xo_cv_next(n, cv->root)) {
        const char *id = xo_cv_attribute(n, "id"), *names = strcmp(n->name, "bean") == 0 ? xo_cv_attribute(n, "name") : NULL;
        const char *alias = strcmp(n->name, "alias") == 0 ? xo_cv_attribute(n, "alias") : NULL;
        if ((!id && !names && !alias) || !xo_cv_active(cv, n)) {
            continue;
        }
        add_name(cv, id ? id : "", id ? strlen(id) : 0, n);
        add_name(cv, alias ? alias : "", alias ? strlen(alias) : 0, n);
        for (const char *p = names ? names : ""; *p;) {
            size_t len = strcspn(p, ",; \t\r\n");
            add_name(cv, p, len, n);
            p += len + (p[len] != 0);
        }
    }
    if (cv->nnames) {
        qsort(cv->names, cv->nnames, sizeof(*cv->names), by_name);
    }
}

/* The last definition wins, as in Spring. */
static const xo_cv_node *named(const xo_cv *cv, const char *id)
{
    size_t low = 0, high = cv->nnames; /* behind the last one that is not greater */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(cv->names[middle].id, id) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low && strcmp(cv->names[low - 1].id, id) == 0 ? cv->names[low - 1].node : NULL;
}

const xo_cv_node *xo_cv_bean(xo_cv *cv, const char *id)
{
    const xo_cv_node *found = named(cv, id);
    for (int i = 0; found && strcmp(found->name, "alias") == 0; i++) {
        const char *name = i < PARENTS ? xo_cv_attribute(found, "name") : NULL;
        found = name ? named(cv, name) : NULL;
    }
    return found;
}

static const xo_cv_node *parent_of(xo_cv *cv, const xo_cv_node *bean)
{
    const char *parent = xo_cv_attribute(bean, "parent");
    return parent ? xo_cv_bean(cv, parent) : NULL;
}

const char *xo_cv_class(xo_cv *cv, const xo_cv_node *bean)
{
    for (int i = 0; bean && i < PARENTS; i++, bean = parent_of(cv, bean)) {
        const char *class = xo_cv_attribute(bean, "class");
        if (class) {
            return class;
        }
    }
    return "";
}

const char *xo_cv_class_name(const char *class)
{
    const char *dot = strrchr(class, '.');
    return dot ? dot + 1 : class;
}

/* ---- what is given ---- */

static int is_about(const xo_cv_node *n)
{
    return strcmp(n->name, "description") == 0 || strcmp(n->name, "meta") == 0 || strcmp(n->name, "qualifier") == 0;
}

static const xo_cv_node *inner(const xo_cv_node *node)
{
    const xo_cv_node *n = node->first;
    while (n && is_about(n)) {
        n = n->next;
    }
    return n;
}

static xo_cv_arg of_element(const xo_cv_node *at, const char *name)
{
    return (xo_cv_arg){at, name, xo_cv_attribute(at, "value"), xo_cv_attribute(at, "ref"), inner(at)};
}

xo_cv_arg xo_cv_element(const xo_cv_node *node)
{
    return (xo_cv_arg){node, "", NULL, NULL, node};
}

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* p:name="..", p:name-ref="..", and c: likewise */
static int of_attribute(xo_cv *cv, const xo_cv_node *bean, const xo_cv_attr *a, const char *space, xo_cv_arg *out)
{
    if (!ends_with(a->uri, space)) {
        return 0;
    }
    int ref = ends_with(a->name, "-ref");
    const char *name = xo_cv_keep(cv, a->name, strlen(a->name) - (ref ? 4 : 0));
    *out = (xo_cv_arg){bean, name, ref ? NULL : a->value, ref ? a->value : NULL, NULL};
    return 1;
}

static size_t given(xo_cv *cv, const xo_cv_node *bean, const char *element, const char *space, xo_cv_arg *out, size_t most)
{
    size_t n = 0;
    for (const xo_cv_node *c = bean->first; c && n < most; c = c->next) {
        const char *name = strcmp(c->name, element) == 0 ? xo_cv_attribute(c, "name") : NULL;
        if (strcmp(c->name, element) == 0) {
            out[n++] = of_element(c, name ? name : "");
        }
    }
    for (const xo_cv_attr *a = bean->attrs; a && n < most; a = a->next) {
        n += (size_t)of_attribute(cv, bean, a, space, &out[n]);
    }
    return n;
}

size_t xo_cv_setters(xo_cv *cv, const xo_cv_node *bean, xo_cv_arg *out, size_t most)
{
    return given(cv, bean, "property", "/schema/p", out, most);
}

/* index="1", or c:_1="..."; those without one stay behind those that have one. */
static size_t index_of(const xo_cv_arg *arg)
{
    const char *index = strcmp(arg->at->name, "constructor-arg") == 0 ? xo_cv_attribute(arg->at, "index") : NULL;
    const char *p = arg->name[0] == '_' ? arg->name + 1 : index ? index : "";
    return isdigit((unsigned char)*p) && strlen(p) < 3 ? (size_t)strtoul(p, NULL, 10) : 100;
}

size_t xo_cv_constructor(xo_cv *cv, const xo_cv_node *bean, xo_cv_arg *out, size_t most)
{
    size_t n = given(cv, bean, "constructor-arg", "/schema/c", out, most);
    for (size_t i = 1; i < n; i++) { /* few, and mostly in order */
        xo_cv_arg one = out[i];
        size_t to = i;
        for (; to > 0 && index_of(&one) < index_of(&out[to - 1]); to--) {
            out[to] = out[to - 1];
        }
        out[to] = one;
    }
    return n;
}

int xo_cv_property(xo_cv *cv, const xo_cv_node *bean, const char *name, xo_cv_arg *out)
{
    enum { MOST = 200 };
    xo_cv_arg all[MOST];
    for (int i = 0; bean && i < PARENTS; i++, bean = parent_of(cv, bean)) {
        size_t n = xo_cv_setters(cv, bean, all, MOST);
        for (size_t k = n; k > 0; k--) {
            if (strcmp(all[k - 1].name, name) == 0) {
                *out = all[k - 1];
                return 1;
            }
        }
    }
    return 0;
}

const xo_cv_node *xo_cv_target(xo_cv *cv, const xo_cv_arg *arg)
{
    const char *id = arg->ref;
    const xo_cv_node *v = arg->value;
    if (!id && v && (strcmp(v->name, "ref") == 0 || strcmp(v->name, "idref") == 0)) {
        static const char *const ways[] = {"bean", "local", "parent"};
        for (size_t i = 0; i < 3 && !id; i++) {
            id = xo_cv_attribute(v, ways[i]);
        }
    }
    if (id) {
        return xo_cv_bean(cv, id);
    }
    return v && strcmp(v->name, "bean") == 0 ? v : NULL;
}

static const char *plain(const xo_cv_arg *arg)
{
    return arg->text ? arg->text : arg->value && strcmp(arg->value->name, "value") == 0 ? arg->value->text : NULL;
}

/* A bean that is a text: java.lang.String and its argument, or a constant, whose name says enough. */
static const char *text_of_bean(xo_cv *cv, const xo_cv_node *bean)
{
    const char *class = xo_cv_class_name(xo_cv_class(cv, bean)), *field = strcmp(bean->name, "constant") == 0 ? xo_cv_attribute(bean, "static-field") : NULL;
    xo_cv_arg one[2];
    if (strcmp(class, "String") == 0) {
        return xo_cv_constructor(cv, bean, one, 2) == 1 ? plain(&one[0]) : NULL;
    }
    if (strcmp(class, "FieldRetrievingFactoryBean") == 0) {
        field = xo_cv_property(cv, bean, "staticField", one) ? plain(&one[0]) : xo_cv_attribute(bean, "id");
    }
    return field ? xo_cv_class_name(field) : NULL;
}

int xo_cv_text(xo_cv *cv, const xo_cv_arg *arg, xo_cv_value *out)
{
    const char *text = arg->text;
    if (!text && arg->value && strcmp(arg->value->name, "value") == 0) {
        text = arg->value->text;
    }
    if (!text && !arg->ref && !arg->value) {
        text = arg->at->text; /* <prop key="..">text</prop> */
    }
    if (!text) {
        const xo_cv_node *bean = arg->value && strcmp(arg->value->name, "constant") == 0 ? arg->value : xo_cv_target(cv, arg);
        text = bean ? text_of_bean(cv, bean) : NULL;
    }
    if (!text) {
        return 0;
    }
    *out = xo_cv_resolve(cv, arg->at, text);
    return 1;
}

/* ---- collections ---- */

static int is_container(const char *name)
{
    static const char *const names[] = {"props", "properties", "map", "list", "array", "set"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

const xo_cv_node *xo_cv_container(xo_cv *cv, const xo_cv_arg *arg)
{
    xo_cv_arg now = *arg;
    for (int i = 0; i < NESTED; i++) {
        if (now.value && is_container(now.value->name)) {
            return now.value;
        }
        const xo_cv_node *bean = xo_cv_target(cv, &now);
        if (!bean) {
            return NULL;
        }
        if (is_container(bean->name)) {
            return bean; /* <util:map id=".."> */
        }
        static const char *const inside[] = {"properties", "sourceMap", "sourceList", "localOverride"};
        size_t k = 0;
        while (k < 4 && !xo_cv_property(cv, bean, inside[k], &now)) {
            k++;
        }
        if (k == 4 && xo_cv_constructor(cv, bean, &now, 1) != 1) {
            return NULL;
        }
    }
    return NULL;
}

static void add_item(xo_cv *cv, xo_cv_items *out, const xo_cv_node *at, xo_cv_value name, xo_cv_value value)
{
    for (size_t i = 0; i < out->n; i++) { /* the later one wins */
        if (strcmp(out->items[i].name.text, name.text) == 0) {
            out->items[i] = (xo_cv_item){name, value, at};
            return;
        }
    }
    xo_cv_item *list = out->n < 2000 ? xo_cv_more(cv, out->items, &out->n, &out->cap, sizeof(*list)) : NULL;
    if (list) {
        out->items = list;
        list[out->n - 1] = (xo_cv_item){name, value, at};
    }
}

static void add_pairs(xo_cv *cv, xo_cv_items *out, const xo_cv_node *at, const xo_cv_pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        add_item(cv, out, at, xo_cv_resolve(cv, at, pairs->items[i].name), xo_cv_resolve(cv, at, pairs->items[i].value));
    }
}

/* <entry key=".." value=".."/> and its longer forms */
static void add_entry(xo_cv *cv, xo_cv_items *out, const xo_cv_node *entry)
{
    const xo_cv_node *key = NULL, *value = NULL;
    xo_cv_value k, v;
    for (const xo_cv_node *n = entry->first; n; n = n->next) {
        *(strcmp(n->name, "key") == 0 ? &key : &value) = n;
    }
    xo_cv_arg given_key = {entry, "", xo_cv_attribute(entry, "key"), xo_cv_attribute(entry, "key-ref"), key ? inner(key) : NULL};
    xo_cv_arg given_value = {entry, "", xo_cv_attribute(entry, "value"), xo_cv_attribute(entry, "value-ref"), value};
    if (key && !key->first && !given_key.text) {
        given_key.text = key->text;
    }
    if (xo_cv_text(cv, &given_key, &k) && xo_cv_text(cv, &given_value, &v)) {
        add_item(cv, out, entry, k, v);
    } else {
        xo_cv_say(cv, XO_CV_STOP, entry, "this entry is neither a plain key nor a plain value; look at it by hand");
    }
}

const char *xo_cv_entry(xo_cv *cv, const char *id, const char *name)
{
    const xo_cv_arg arg = {.at = cv->root, .name = "", .ref = id};
    const xo_cv_node *c = xo_cv_container(cv, &arg);
    for (const xo_cv_node *n = c ? c->first : NULL; n; n = n->next) {
        const char *key = xo_cv_attribute(n, "key"), *value = xo_cv_attribute(n, "value");
        if (key && strcmp(key, name) == 0) {
            return value ? value : n->first && strcmp(n->first->name, "value") == 0 ? n->first->text : *n->text ? n->text : NULL;
        }
    }
    return NULL;
}

static void collect_from(xo_cv *cv, const xo_cv_node *c, xo_cv_items *out)
{
    const char *location = xo_cv_attribute(c, "location");
    if (location) {
        const char *slash = strrchr(location, '/'), *colon = strrchr(location, ':'), *base = slash ? slash + 1 : colon ? colon + 1 : location;
        if (cv->properties && strcmp(base, cv->properties) == 0) {
            add_pairs(cv, out, c, &cv->given);
        } else {
            xo_cv_say(cv, XO_CV_STOP, c, "the properties stand in %.100s, which is not read: give the file by --properties", location);
        }
    }
    for (const xo_cv_node *n = c->first; n; n = n->next) {
        if (strcmp(n->name, "prop") == 0) {
            const char *key = xo_cv_attribute(n, "key");
            add_item(cv, out, n, xo_cv_resolve(cv, n, key ? key : ""), xo_cv_resolve(cv, n, n->text));
        } else if (strcmp(n->name, "entry") == 0) {
            add_entry(cv, out, n);
        }
    }
}

void xo_cv_collect(xo_cv *cv, const xo_cv_arg *arg, xo_cv_items *out)
{
    const xo_cv_node *c = xo_cv_container(cv, arg);
    const xo_cv_node *bean = c ? NULL : xo_cv_target(cv, arg);
    xo_cv_arg at;
    if (c) {
        const char *merge = xo_cv_attribute(c, "merge");
        const xo_cv_node *owner = merge && strcmp(merge, "true") == 0 && c->parent ? c->parent->parent : NULL;
        const xo_cv_node *parent = owner && strcmp(owner->name, "bean") == 0 ? parent_of(cv, owner) : NULL;
        if (parent && *arg->name && xo_cv_property(cv, parent, arg->name, &at)) {
            const xo_cv_node *base = xo_cv_container(cv, &at);
            if (base && base != c) {
                collect_from(cv, base, out);
            }
        }
        collect_from(cv, c, out);
    } else if (bean && (xo_cv_property(cv, bean, "location", &at) || xo_cv_property(cv, bean, "locations", &at))) {
        if (cv->properties) {
            add_pairs(cv, out, bean, &cv->given);
        } else {
            xo_cv_say(cv, XO_CV_STOP, bean, "the properties stand in a file of their own, which is not read: give it by --properties");
        }
    } else if (arg->text || (arg->value && strcmp(arg->value->name, "value") == 0)) {
        const char *lines = arg->text ? arg->text : arg->value->text; /* the lines of a .properties file, as Spring takes them here */
        xo_cv_pairs pairs = {0};
        xo_cv_properties(cv, &pairs, lines, strlen(lines));
        add_pairs(cv, out, arg->at, &pairs);
    } else {
        xo_cv_say(cv, XO_CV_STOP, arg->at, "\"%.60s\" is given something that this program cannot follow; look at it by hand", arg->name);
    }
}
