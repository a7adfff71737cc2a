/* Routes: read from a name server's answer, copied, and laid out as queues. */
#include "base/mem.h"
#include "remoting/cluster_int.h"
#include "remoting/io.h"
#include "remoting/wirejson.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 255, QUEUES_PER_BROKER = 65536, QUEUES_MAX = 1 << 18, PERM_READ = 4, PERM_WRITE = 2 };

/* ---- memory ---- */

static void free_broker(xo_broker *b)
{
    for (size_t i = 0; i < b->nnodes; i++) {
        free(b->nodes[i].address);
    }
    free(b->nodes);
    free(b->name);
    free(b->cluster);
}

void xo_brokers_free(xo_broker *b, size_t n)
{
    for (size_t i = 0; b && i < n; i++) {
        free_broker(&b[i]);
    }
    free(b);
}

void xo_route_free(xo_route *r)
{
    if (!r) {
        return;
    }
    xo_brokers_free(r->brokers, r->nbrokers);
    for (size_t i = 0; i < r->nqueues; i++) {
        free(r->queues[i].broker);
    }
    free(r->queues);
    free(r->order);
    free(r);
}

xonce_status xo_brokers_copy(const xo_broker *from, size_t n, xo_broker **out)
{
    xo_broker *b = xo_calloc(n, sizeof(*b));
    int ok = b != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        b[i].name = xo_strdup(from[i].name);
        b[i].cluster = xo_strdup(from[i].cluster);
        b[i].nodes = xo_calloc(from[i].nnodes, sizeof(*b[i].nodes));
        ok = b[i].name && b[i].cluster && b[i].nodes;
        for (size_t k = 0; ok && k < from[i].nnodes; k++) {
            b[i].nodes[k].id = from[i].nodes[k].id;
            b[i].nodes[k].address = xo_strdup(from[i].nodes[k].address);
            b[i].nnodes = k + 1;
            ok = b[i].nodes[k].address != NULL;
        }
    }
    if (!ok) {
        xo_brokers_free(b, n);
        return xo_nomem();
    }
    *out = b;
    return XONCE_OK;
}

xo_route *xo_route_copy(const xo_route *r)
{
    xo_route *copy = xo_calloc(1, sizeof(*copy));
    if (!copy || xo_brokers_copy(r->brokers, r->nbrokers, &copy->brokers)) {
        free(copy);
        return NULL;
    }
    copy->nbrokers = r->nbrokers;
    copy->order = xo_strdup(r->order);
    copy->queues = xo_calloc(r->nqueues, sizeof(*copy->queues));
    int ok = copy->queues && (copy->order || !r->order);
    for (size_t i = 0; ok && i < r->nqueues; i++) {
        copy->queues[i] = r->queues[i];
        copy->queues[i].broker = xo_strdup(r->queues[i].broker);
        copy->nqueues = i + 1;
        ok = copy->queues[i].broker != NULL;
    }
    if (!ok) {
        xo_route_free(copy);
        return NULL;
    }
    return copy;
}

/* ---- reading ---- */

static xonce_status bad(const char *what)
{
    return xo_fail(XONCE_E_PROTOCOL, "the name server's answer %s", what);
}

static int good_name(const char *name)
{
    return name && *name && strlen(name) <= NAME_MAX_BYTES;
}

static int by_id(const void *a, const void *b)
{
    const int64_t *x = a, *y = b; /* the first member of a node */
    return *x < *y ? -1 : *x > *y;
}

static int broker_order(const void *a, const void *b)
{
    return strcmp(((const xo_broker *)a)->name, ((const xo_broker *)b)->name);
}

static int queues_order(const void *a, const void *b)
{
    return strcmp(((const xo_route_queues *)a)->broker, ((const xo_route_queues *)b)->broker);
}

/* {"0":"ip:port","1":"ip:port"} */
static xonce_status read_nodes(xo_broker *b, json_t *addrs)
{
    const char *key;
    json_t *value;
    char host[XO_HOST_SIZE], port[8];
    b->nodes = xo_calloc(json_object_size(addrs), sizeof(*b->nodes));
    if (!b->nodes) {
        return xo_nomem();
    }
    json_object_foreach(addrs, key, value) {
        char *end;
        errno = 0;
        long long id = strtoll(key, &end, 10);
        const char *address = json_string_value(value);
        if (*key == 0 || *end || errno || id < 0 || !address) {
            return bad("has a broker with an id or an address that is none");
        }
        if (xo_address_split(address, host, port)) {
            return xo_error_context("the name server's answer, broker %s", b->name);
        }
        b->nodes[b->nnodes].id = id;
        b->nodes[b->nnodes].address = xo_strdup(address);
        if (!b->nodes[b->nnodes++].address) {
            return xo_nomem();
        }
    }
    qsort(b->nodes, b->nnodes, sizeof(*b->nodes), by_id);
    return XONCE_OK;
}

static xonce_status read_broker(xo_broker *b, json_t *o)
{
    const char *name = xo_json_text(o, "brokerName"), *cluster = xo_json_text(o, "cluster");
    if (!good_name(name)) {
        return bad("has a broker without a name");
    }
    b->name = xo_strdup(name);
    b->cluster = xo_strdup(cluster ? cluster : "");
    if (!b->name || !b->cluster) {
        return xo_nomem();
    }
    return read_nodes(b, json_object_get(o, "brokerAddrs"));
}

static xonce_status read_brokers(xo_route *r, json_t *list)
{
    r->brokers = xo_calloc(json_array_size(list), sizeof(*r->brokers));
    xonce_status st = r->brokers ? XONCE_OK : xo_nomem();
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) {
        if (!st) {
            st = read_broker(&r->brokers[r->nbrokers++], o);
        }
    }
    if (!st) {
        qsort(r->brokers, r->nbrokers, sizeof(*r->brokers), broker_order);
    }
    return st;
}

static xonce_status read_queues(xo_route *r, json_t *list)
{
    r->queues = xo_calloc(json_array_size(list), sizeof(*r->queues));
    if (!r->queues) {
        return xo_nomem();
    }
    size_t i, all = 0;
    json_t *o;
    json_array_foreach(list, i, o) {
        const char *broker = xo_json_text(o, "brokerName");
        int64_t read = xo_json_int(o, "readQueueNums"), write = xo_json_int(o, "writeQueueNums"), perm = xo_json_int(o, "perm");
        if (!good_name(broker)) {
            return bad("has queues of a broker without a name");
        }
        if (read < 0 || read > QUEUES_PER_BROKER || write < 0 || write > QUEUES_PER_BROKER || perm < 0 || perm > INT32_MAX ||
            (all += (size_t)(read > write ? read : write)) > QUEUES_MAX) {
            return bad("has a number of queues that cannot be");
        }
        xo_route_queues *q = &r->queues[r->nqueues];
        *q = (xo_route_queues){xo_strdup(broker), (int32_t)read, (int32_t)write, (int32_t)perm};
        if (!q->broker) {
            return xo_nomem();
        }
        r->nqueues++;
    }
    qsort(r->queues, r->nqueues, sizeof(*r->queues), queues_order);
    for (i = 1; i < r->nqueues; i++) {
        if (strcmp(r->queues[i - 1].broker, r->queues[i].broker) == 0) {
            return bad("names a broker's queues twice");
        }
    }
    return XONCE_OK;
}

xonce_status xo_route_parse(const void *body, size_t n, const char *topic, xo_route **out)
{
    json_t *o = xo_wire_json(body, n);
    *out = NULL;
    if (!o) {
        return xo_error_context("the route of %s", topic);
    }
    xonce_status st = XONCE_OK;
    xo_route *r = xo_calloc(1, sizeof(*r));
    const char *order = xo_json_text(o, "orderTopicConf");
    if (!r) {
        st = xo_nomem();
    } else if (!json_is_object(o) || !json_is_array(json_object_get(o, "queueDatas"))) {
        st = bad("is no route");
    } else if (json_object_size(json_object_get(o, "topicQueueMappingByBroker")) > 0) {
        st = xo_fail(XONCE_E_INVALID, "topic %s is a static topic, whose queues are spread over brokers by a mapping: that is not supported; use an ordinary topic", topic);
    } else if (order && *order && !(r->order = xo_strdup(order))) {
        st = xo_nomem();
    } else {
        st = read_brokers(r, json_object_get(o, "brokerDatas"));
        if (!st) {
            st = read_queues(r, json_object_get(o, "queueDatas"));
        }
    }
    json_decref(o);
    if (!st) {
        *out = r;
        return st;
    }
    xo_route_free(r);
    return st == XONCE_E_PROTOCOL ? xo_error_context("the route of %s", topic) : st;
}

/* {"brokerAddrTable":{"b":{"brokerName":"b","cluster":"c","brokerAddrs":{0:"ip:port"}}},"clusterAddrTable":{...}} */
xonce_status xo_brokers_parse(const void *body, size_t n, xo_broker **out, size_t *nout)
{
    json_t *o = xo_wire_json(body, n), *table = json_object_get(o, "brokerAddrTable"), *value;
    const char *key;
    size_t count = 0;
    xo_broker *b = NULL;
    xonce_status st = XONCE_OK;
    *out = NULL;
    *nout = 0;
    if (!o) {
        return xo_error_context("the brokers of the cluster");
    }
    if (!json_is_object(table)) {
        st = bad("has no table of brokers");
    } else if (!(b = xo_calloc(json_object_size(table), sizeof(*b)))) {
        st = xo_nomem();
    } else {
        json_object_foreach(table, key, value) {
            if (!st) {
                st = read_broker(&b[count++], value);
            }
        }
    }
    json_decref(o);
    if (st) {
        xo_brokers_free(b, count);
        return st;
    }
    qsort(b, count, sizeof(*b), broker_order);
    *out = b;
    *nout = count;
    return XONCE_OK;
}

/* ---- queues ---- */

void xo_queue_ids_free(xo_queue_id *q, size_t n)
{
    for (size_t i = 0; q && i < n; i++) {
        free(q[i].broker);
    }
    free(q);
}

static int queue_order(const void *a, const void *b)
{
    const xo_queue_id *x = a, *y = b;
    int c = strcmp(x->broker, y->broker);
    return c ? c : x->id < y->id ? -1 : x->id > y->id;
}

typedef struct {
    xo_queue_id *q;
    size_t n, cap;
} id_list;

static xonce_status add_queues(id_list *l, const char *broker, size_t nbroker, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        xo_queue_id *q = xo_grow(l->q, &l->cap, l->n + 1, sizeof(*q));
        if (!q) {
            return xo_nomem();
        }
        l->q = q;
        q[l->n] = (xo_queue_id){xo_memdup0(broker, nbroker), i};
        if (!q[l->n].broker) {
            return xo_nomem();
        }
        l->n++;
    }
    return XONCE_OK;
}

/* "broker-a:4;broker-b:4" */
static xonce_status add_ordered(id_list *l, const char *p)
{
    while (*p) {
        size_t n = strcspn(p, ";"), name = 0;
        while (name < n && p[name] != ':') {
            name++;
        }
        char *end = NULL;
        errno = 0;
        long count = name < n ? strtol(p + name + 1, &end, 10) : -1;
        if (name == 0 || count < 0 || count > QUEUES_PER_BROKER || end != p + n || errno || end == p + name + 1 ||
            l->n + (size_t)count > QUEUES_MAX) {
            return xo_fail(XONCE_E_PROTOCOL, "the topic's order configuration \"%.100s\" is not of the form broker:count;broker:count", p);
        }
        xonce_status st = add_queues(l, p, name, (int32_t)count);
        if (st) {
            return st;
        }
        p += n + (p[n] == ';');
    }
    return XONCE_OK;
}

static int has_master(const xo_route *r, const char *broker)
{
    for (size_t i = 0; i < r->nbrokers; i++) {
        if (strcmp(r->brokers[i].name, broker) == 0) {
            return r->brokers[i].nnodes > 0 && r->brokers[i].nodes[0].id == 0;
        }
    }
    return 0;
}

xonce_status xo_route_queues_of(const xo_route *r, int write, xo_queue_id **out, size_t *n)
{
    id_list l = {0};
    xonce_status st = XONCE_OK;
    *out = NULL;
    *n = 0;
    if (write && r->order && *r->order) {
        st = add_ordered(&l, r->order);
    } else {
        for (size_t i = 0; i < r->nqueues && !st; i++) {
            const xo_route_queues *q = &r->queues[i];
            if (write ? (q->perm & PERM_WRITE) && has_master(r, q->broker) : q->perm & PERM_READ) {
                st = add_queues(&l, q->broker, strlen(q->broker), write ? q->write : q->read);
            }
        }
    }
    if (st) {
        xo_queue_ids_free(l.q, l.n);
        return st;
    }
    if (l.n > 1) {
        qsort(l.q, l.n, sizeof(*l.q), queue_order);
    }
    *out = l.q;
    *n = l.n;
    return XONCE_OK;
}
