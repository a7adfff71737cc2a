/* A cluster: its URI, name servers that know different things, routes, names, and ids made as Java makes them. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "remoting/cluster_int.h"
#include "remoting/io.h"
#include "tests/remoting/peer.h"
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static xo_cluster *open_at(const char *uri, const char *key, const char *value)
{
    xonce_config *cfg;
    xo_cluster *c;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "rocketmq.timeout", "3s"), XONCE_OK);
    if (key) {
        ck_assert_int_eq(xonce_config_set(cfg, key, value), XONCE_OK);
    }
    (void)xo_cluster_open(&c, uri, cfg, NULL, NULL);
    xonce_config_free(cfg);
    return c;
}

/* ---- the URI ---- */

START_TEST(good_uris)
{
    static const struct {
        const char *uri, *servers, *instance;
    } good[] = {
        {"rocketmq://ns1", "ns1:9876", ""},
        {"ROCKETMQ://ns1:9877", "ns1:9877", ""},
        {"rocketmq://ns1/", "ns1:9876", ""},
        {"rocketmq://ns1;ns2:80;10.0.0.1:9999", "ns1:9876 ns2:80 10.0.0.1:9999", ""},
        {"rocketmq://[::1];[fe80::1%eth0]:80", "[::1]:9876 [fe80::1%eth0]:80", ""},
        {"rocketmq://ns1?instance=MQ_INST_1_2", "ns1:9876", "MQ_INST_1_2"},
        {"rocketmq://ns1/?instance=", "ns1:9876", ""},
        {"rocketmq://MQ_INST_1234_Bcd.mq.example.com:80", "MQ_INST_1234_Bcd.mq.example.com:80", "MQ_INST_1234_Bcd"},
        {"rocketmq://MQ_INST_1234_Bcd.mq.example.com:80?instance=", "MQ_INST_1234_Bcd.mq.example.com:80", ""},
        {"rocketmq://MQ_INST_1234.mq.example.com", "MQ_INST_1234.mq.example.com:9876", ""},
        {"rocketmq://MQ_INST__x.a", "MQ_INST__x.a:9876", ""},
        {"rocketmq://MQ_INST_x_y", "MQ_INST_x_y:9876", ""},
        {"rocketmq://my_host-1.local", "my_host-1.local:9876", ""},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        xo_buf b = {0};
        xo_cluster *c = open_at(good[i].uri, NULL, NULL);
        ck_assert_msg(c != NULL, "%s: %s", good[i].uri, xonce_error_last()->text);
        for (size_t k = 0; k < c->nservers; k++) {
            xo_buf_printf(&b, "%s%s", k ? " " : "", c->servers[k]);
        }
        ck_assert_str_eq(b.p, good[i].servers);
        ck_assert_str_eq(c->instance, good[i].instance);
        ck_assert_uint_lt(atomic_load(&c->current), c->nservers);
        ck_assert_int_eq(xo_cluster_timeout(c), 3000);
        xo_buf_free(&b);
        xo_cluster_close(c);
        char *mask = xo_uri_mask(good[i].uri);
        ck_assert_str_eq(mask, good[i].uri); /* nothing secret in it */
        free(mask);
    }
    xo_cluster *c = open_at("rocketmq://MQ_INST_1_2.x", "instance", "MINE");
    ck_assert_str_eq(c->instance, "MINE");
    xo_cluster_close(c);
    c = open_at("rocketmq://MQ_INST_1_2.x?instance=THIS", "instance", "MINE");
    ck_assert_str_eq(c->instance, "THIS");
    xo_cluster_close(c);
    xo_cluster_close(NULL);
}
END_TEST

START_TEST(bad_uris)
{
    static const struct {
        const char *uri, *says;
    } bad[] = {
        {"http://ns1", "rocketmq://host:port"},
        {"rocketmq:ns1", "rocketmq://host:port"},
        {"", "rocketmq://host:port"},
        {"rocketmq://", "name server 1 of the URI is empty"},
        {"rocketmq://ns1;", "name server 2 of the URI is empty"},
        {"rocketmq://;ns1", "name server 1 of the URI is empty"},
        {"rocketmq://ns1;:80", "name server 2 of the URI, \":80\": no host"},
        {"rocketmq://ns1:", "the port is no number"},
        {"rocketmq://ns1:0", "the port is no number"},
        {"rocketmq://ns1:65536", "the port is no number"},
        {"rocketmq://ns1:99999999999999999999", "the port is no number"},
        {"rocketmq://ns1:9x", "\"ns1:9x\": the port"},
        {"rocketmq://::1", "two ':'"},
        {"rocketmq://[::1", "no ']'"},
        {"rocketmq://[::1]80", "no ']'"},
        {"rocketmq://[]:80", "no host"},
        {"rocketmq://a,b", "separated by ';'"},
        {"rocketmq://a:1,b:2", "two ':'"},
        {"rocketmq://a b", "no host name has"},
        {"rocketmq://a/b", "no path"},
        {"rocketmq://a#b", "no path"},
        {"rocketmq://user:secret@ns1:9876", "no user or password"},
        {"rocketmq://ns1;user:secret@ns2", "no user or password"},
        {"rocketmq://ns1?x=1", "?x=: only ?instance="},
        {"rocketmq://ns1?instance=a&instance=b", "twice"},
        {"rocketmq://ns1?instance=a%25b", "only letters"},
        {"rocketmq://ns1?instance=%zz", "hex digits"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(open_at(bad[i].uri, NULL, NULL) == NULL, "%s", bad[i].uri);
        ck_assert_int_eq(xonce_error_last()->code, XONCE_E_INVALID);
        ck_assert_msg(strstr(xonce_error_last()->text, bad[i].says) != NULL, "%s: %s", bad[i].uri, xonce_error_last()->text);
        ck_assert(strstr(xonce_error_last()->text, "secret") == NULL);
        char *mask = xo_uri_mask(bad[i].uri);
        ck_assert(strstr(mask, "secret") == NULL);
        free(mask);
    }
    ck_assert_ptr_null(open_at("rocketmq://ns1", "instance", "a%b"));
    xo_buf many = {0};
    xo_buf_str(&many, "rocketmq://a");
    for (int i = 0; i < 64; i++) {
        xo_buf_str(&many, ";a");
    }
    ck_assert_ptr_null(open_at(many.p, NULL, NULL));
    xo_buf_free(&many);
}
END_TEST

/* ---- names ---- */

START_TEST(names_in_a_namespace)
{
    static const struct {
        const char *name, *wire;
    } names[] = {
        {"orders", "N1%orders"},
        {"%RETRY%group", "%RETRY%N1%group"},
        {"%DLQ%group", "%DLQ%N1%group"},
        {"RMQ_SYS_TRACE_TOPIC", "RMQ_SYS_TRACE_TOPIC"},
        {"rmq_sys_TRACE_DATA_x", "rmq_sys_TRACE_DATA_x"},
        {"TBW102", "TBW102"},
        {"SCHEDULE_TOPIC_XXXX", "SCHEDULE_TOPIC_XXXX"},
        {"N12%orders", "N1%N12%orders"},
        {"", "N1%"},
    };
    xo_buf space = {0};
    xo_cluster *c = open_at("rocketmq://ns?instance=N1", NULL, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *wire = xo_cluster_wrap(c, names[i].name), *twice = xo_cluster_wrap(c, wire);
        ck_assert_str_eq(wire, names[i].wire);
        ck_assert_str_eq(twice, wire);
        ck_assert_str_eq(xo_cluster_unwrap(c, wire, &space), names[i].name);
        free(wire);
        free(twice);
    }
    ck_assert_str_eq(xo_cluster_unwrap(c, "orders", &space), "orders");
    ck_assert_str_eq(xo_cluster_unwrap(c, "N2%orders", &space), "N2%orders");
    xo_cluster_close(c);
    c = open_at("rocketmq://ns", NULL, NULL);
    char *wire = xo_cluster_wrap(c, "%RETRY%group");
    ck_assert_str_eq(wire, "%RETRY%group");
    ck_assert_str_eq(xo_cluster_unwrap(c, "N1%orders", &space), "N1%orders");
    free(wire);
    xo_cluster_close(c);
    xo_buf_free(&space);
}
END_TEST

/* ---- routes ---- */

static xo_route *parse(const char *body)
{
    xo_route *r;
    (void)xo_route_parse(body, strlen(body), "T", &r);
    return r;
}

static void same_queues(const xo_route *r, int write, const char *want)
{
    xo_queue_id *q;
    size_t n;
    xo_buf b = {0};
    ck_assert_int_eq(xo_route_queues_of(r, write, &q, &n), XONCE_OK);
    for (size_t i = 0; i < n; i++) {
        xo_buf_printf(&b, "%s%s/%d", i ? " " : "", q[i].broker, (int)q[i].id);
    }
    ck_assert_str_eq(b.p ? b.p : "", want);
    xo_queue_ids_free(q, n);
    xo_buf_free(&b);
}

static const char two_brokers[] =
    "{\"brokerDatas\":[{\"brokerAddrs\":{1:\"10.0.0.3:2\",\"0\":\"10.0.0.2:2\"},\"brokerName\":\"b\",\"cluster\":\"C\"},"
    "{\"brokerAddrs\":{\"2\":\"10.0.0.4:1\"},\"brokerName\":\"a\",\"cluster\":\"C\"}],"
    "\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":6,\"readQueueNums\":2,\"writeQueueNums\":11},{\"brokerName\":\"a\",\"perm\":6,\"readQueueNums\":1,\"writeQueueNums\":1}],"
    "\"filterServerTable\":{}}";

START_TEST(routes_are_read)
{
    xo_route *r = parse(two_brokers);
    ck_assert_msg(r != NULL, "%s", xonce_error_last()->text);
    ck_assert_uint_eq(r->nbrokers, 2);
    ck_assert_str_eq(r->brokers[0].name, "a");
    ck_assert_str_eq(r->brokers[1].name, "b");
    ck_assert_str_eq(r->brokers[1].cluster, "C");
    ck_assert_uint_eq(r->brokers[1].nnodes, 2);
    ck_assert_int_eq(r->brokers[1].nodes[0].id, 0);
    ck_assert_str_eq(r->brokers[1].nodes[1].address, "10.0.0.3:2");
    same_queues(r, 0, "a/0 b/0 b/1");                                            /* readable without a master */
    same_queues(r, 1, "b/0 b/1 b/2 b/3 b/4 b/5 b/6 b/7 b/8 b/9 b/10");           /* by number, not by text */
    xo_route *copy = xo_route_copy(r);
    same_queues(copy, 0, "a/0 b/0 b/1");
    ck_assert_str_eq(copy->brokers[0].nodes[0].address, "10.0.0.4:1");
    xo_route_free(copy);
    xo_route_free(r);
    r = parse("{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"x\"}],\"orderTopicConf\":\"y:2;x:1\","
              "\"queueDatas\":[{\"brokerName\":\"x\",\"perm\":4,\"readQueueNums\":3,\"writeQueueNums\":3}]}");
    same_queues(r, 0, "x/0 x/1 x/2");
    same_queues(r, 1, "x/0 y/0 y/1");
    xo_route_free(r);
    r = parse("{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"x\"}],\"queueDatas\":[{\"brokerName\":\"x\",\"perm\":2,\"readQueueNums\":3,\"writeQueueNums\":1}]}");
    same_queues(r, 0, "");
    same_queues(r, 1, "x/0");
    xo_route_free(r);
    r = parse("{\"queueDatas\":[]}");
    same_queues(r, 0, "");
    same_queues(r, 1, "");
    xo_route_free(xo_route_copy(r));
    xo_route_free(r);
    xo_route_free(NULL);
}
END_TEST

START_TEST(bad_routes)
{
    static const char *const bad[] = {
        "", "[]", "null", "{}", "{\"queueDatas\":{}}", "{\"queueDatas\":[1]}", "{\"queueDatas\":[{\"brokerName\":\"\"}]}",
        "{\"queueDatas\":[{\"brokerName\":\"a\",\"readQueueNums\":-1}]}", "{\"queueDatas\":[{\"brokerName\":\"a\",\"writeQueueNums\":70000}]}",
        "{\"queueDatas\":[{\"brokerName\":\"a\"},{\"brokerName\":\"a\"}]}",
        ("{\"queueDatas\":[{\"brokerName\":\"a\",\"readQueueNums\":65000},{\"brokerName\":\"b\",\"readQueueNums\":65000},{\"brokerName\":\"c\",\"readQueueNums\":65000},"
         "{\"brokerName\":\"d\",\"readQueueNums\":65000},{\"brokerName\":\"e\",\"readQueueNums\":65000}]}"),
        "{\"queueDatas\":[],\"brokerDatas\":[{\"brokerName\":\"a\",\"brokerAddrs\":{\"0\":\"nowhere\"}}]}",
        "{\"queueDatas\":[],\"brokerDatas\":[{\"brokerName\":\"a\",\"brokerAddrs\":{\"0\":5}}]}",
        "{\"queueDatas\":[],\"brokerDatas\":[{\"brokerName\":\"a\",\"brokerAddrs\":{\"x\":\"h:1\"}}]}",
        "{\"queueDatas\":[],\"brokerDatas\":[{\"brokerAddrs\":{}}]}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        xo_route *r = parse(bad[i]);
        ck_assert_msg(r == NULL, "%s", bad[i]);
        ck_assert_msg(xonce_error_last()->code == XONCE_E_PROTOCOL || xonce_error_last()->code == XONCE_E_INVALID, "%s: %s", bad[i], xonce_error_last()->text);
    }
    ck_assert_ptr_null(parse("{\"queueDatas\":[],\"topicQueueMappingByBroker\":{\"a\":{\"bname\":\"a\"}}}"));
    ck_assert_int_eq(xonce_error_last()->code, XONCE_E_INVALID);
    ck_assert(strstr(xonce_error_last()->text, "topic T is a static topic"));
    static const char *const orders[] = {"a", "a:", ":1", "a:x", "a:-1", "a:1x", "a:99999", "a:1;;b:1", "a:1;b"};
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        char *body = xo_printf("{\"queueDatas\":[],\"orderTopicConf\":\"%s\"}", orders[i]);
        xo_route *r = parse(body);
        xo_queue_id *q;
        size_t n;
        ck_assert_msg(xo_route_queues_of(r, 1, &q, &n) == XONCE_E_PROTOCOL, "%s", orders[i]);
        xo_route_free(r);
        free(body);
    }
}
END_TEST

static json_t *vectors;

/* The body of a recorded answer. */
static xo_command recorded(const char *name)
{
    size_t i, n = 0;
    json_t *v;
    const char *hex = NULL;
    json_array_foreach(json_object_get(vectors, "vectors"), i, v) {
        if (strcmp(json_string_value(json_object_get(v, "name")), name) == 0) {
            hex = json_string_value(json_object_get(v, "hex"));
        }
    }
    ck_assert_msg(hex != NULL, "%s", name);
    char *bytes = malloc(strlen(hex) / 2);
    for (n = 0; hex[2 * n + 8]; n++) { /* without the length word */
        char pair[3] = {hex[2 * n + 8], hex[2 * n + 9], 0};
        bytes[n] = (char)strtol(pair, NULL, 16);
    }
    xo_command c;
    ck_assert_msg(xo_command_decode(&c, bytes, n) == XONCE_OK, "%s", xonce_error_last()->text);
    return c;
}

START_TEST(recorded_routes)
{
    static const char *const names[] = {"route.response", "route_version0.response", "route_version0_standard_json.response", "binary_route.response"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        xo_route *r;
        xo_command c = recorded(names[i]);
        ck_assert_msg(xo_route_parse(c.body, c.body_len, "rm_basic", &r) == XONCE_OK, "%s: %s", names[i], xonce_error_last()->text);
        ck_assert_uint_eq(r->nbrokers, 1);
        ck_assert_uint_eq(r->nqueues, 1);
        ck_assert_int_eq(r->brokers[0].nodes[0].id, 0);
        ck_assert_str_eq(r->brokers[0].name, r->queues[0].broker);
        ck_assert_int_eq(strncmp(r->brokers[0].nodes[0].address, "127.0.0.1:", 10), 0);
        ck_assert_int_eq(r->queues[0].perm, 6);
        xo_queue_id *q;
        size_t n;
        ck_assert_int_eq(xo_route_queues_of(r, 1, &q, &n), XONCE_OK);
        ck_assert_uint_eq(n, (size_t)r->queues[0].write);
        ck_assert_uint_gt(n, 0);
        xo_queue_ids_free(q, n);
        xo_route_free(r);
        xo_command_free(&c);
    }
    xo_command c = recorded("route_missing_topic.response");
    ck_assert_int_eq(xo_command_error(&c, "the route"), XONCE_E_NOT_FOUND);
    xo_command_free(&c);
}
END_TEST

/* Answers and URIs with some bytes changed: refused or read, but never worse. */
START_TEST(mangled_input)
{
    static const char *const uris[] = {"rocketmq://ns1:9876;[::1]:80;MQ_INST_1_2.x?instance=N1", "rocketmq://MQ_INST_1_2.example.com:80;b/"};
    static const char bytes[] = "\"{}[]:;,0129-.%@?&=/\\\1\xff";
    xo_command c = recorded("route_version0.response");
    char *body = xo_memdup0(c.body, c.body_len), uri[100];
    size_t n = c.body_len, nq, read = 0;
    uint32_t seed = 1;
    for (int i = 0; i < 5000; i++) {
        xo_route *r;
        xo_broker *b;
        xo_queue_id *q;
        (void)snprintf(uri, sizeof(uri), "%s", uris[i % 2]);
        memcpy(body, c.body, n);
        for (int k = i % 4; k >= 0; k--) {
            seed = seed * 1664525 + 1013904223;
            body[(seed >> 8) % n] = bytes[seed % (sizeof(bytes) - 1)];
            uri[11 + (seed >> 8) % (strlen(uris[i % 2]) - 11)] = bytes[(seed >> 3) % (sizeof(bytes) - 1)];
        }
        if (xo_route_parse(body, n - ((seed >> 4) % 3 == 0 ? seed % n : 0), "T", &r) == XONCE_OK) {
            for (int write = 0; write < 2; write++) {
                if (xo_route_queues_of(r, write, &q, &nq) == XONCE_OK) {
                    xo_queue_ids_free(q, nq);
                }
            }
            xo_route_free(xo_route_copy(r));
            read++;
        }
        xo_route_free(r);
        if (xo_brokers_parse(body, n, &b, &nq) == XONCE_OK) {
            xo_brokers_free(b, nq);
        }
        xo_cluster u = {0};
        (void)xo_cluster_uri(&u, uri, NULL);
        for (size_t k = 0; k < u.nservers; k++) {
            char host[264], port[8];
            ck_assert_msg(xo_address_split(u.servers[k], host, port) == XONCE_OK, "%s", uri);
            free(u.servers[k]);
        }
        free(u.servers);
        free(u.instance);
    }
    ck_assert_uint_gt(read, 250);
    free(body);
    xo_command_free(&c);
}
END_TEST

START_TEST(brokers_are_read)
{
    static const char body[] = "{\"brokerAddrTable\":{\"b\":{\"brokerAddrs\":{0:\"h:2\",1:\"h:3\"},\"brokerName\":\"b\",\"cluster\":\"C\"},"
                               "\"a\":{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":\"a\",\"cluster\":\"C\"}},\"clusterAddrTable\":{\"C\":[\"b\",\"a\"]}}";
    xo_broker *b;
    size_t n;
    ck_assert_int_eq(xo_brokers_parse(body, strlen(body), &b, &n), XONCE_OK);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(b[0].name, "a");
    ck_assert_str_eq(b[1].nodes[1].address, "h:3");
    xo_brokers_free(b, n);
    ck_assert_int_eq(xo_brokers_parse("{}", 2, &b, &n), XONCE_E_PROTOCOL);
    ck_assert_int_eq(xo_brokers_parse("{\"brokerAddrTable\":{\"b\":{}}}", 29, &b, &n), XONCE_E_PROTOCOL);
}
END_TEST

/* ---- name servers ---- */

static atomic_int route_pause;

/* Knows the topic in p->arg: a route with a broker of the server's own address. "TBW102" is known by all; "asked" by none. */
static int name_server(peer *p, const xo_command *request, xo_command *answer)
{
    const char *topic = xo_command_get(request, "topic");
    xo_buf b = {0};
    xo_pause_ms(atomic_load(&route_pause));
    if (request->code == XO_RMQ_CLUSTER_INFO) {
        xo_buf_printf(&b, "{\"brokerAddrTable\":{\"far\":{\"brokerAddrs\":{0:\"%s\"},\"brokerName\":\"far\",\"cluster\":\"C\"}},\"clusterAddrTable\":{\"C\":[\"far\"]}}", p->address);
    } else if (request->code == XO_RMQ_ROUTE) {
        ck_assert_str_eq(xo_command_get(request, "acceptStandardJsonOnly"), "true");
        ck_assert_int_ge(request->version, 401);
        if (strcmp(topic, "TBW102") != 0 && (!p->arg || strcmp(topic, p->arg) != 0)) {
            answer->code = XO_RMQ_NO_TOPIC;
            answer->remark = "No topic route info";
            return 1;
        }
        xo_buf_printf(&b, "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"%s\",\"1\":\"127.0.0.1:1\"},\"brokerName\":\"m\",\"cluster\":\"C\"},"
                          "{\"brokerAddrs\":{\"3\":\"127.0.0.1:3\"},\"brokerName\":\"slaves\",\"cluster\":\"C\"}],"
                          "\"queueDatas\":[{\"brokerName\":\"m\",\"perm\":6,\"readQueueNums\":1,\"writeQueueNums\":1}]}", p->address);
    } else if (request->code == 999) {
        return 0;
    }
    xo_command_take_body(answer, &b);
    return 1;
}

static xo_cluster *cluster_of(peer *const *servers, size_t n, const char *more)
{
    xo_buf uri = {0};
    xo_buf_str(&uri, "rocketmq://");
    for (size_t i = 0; i < n; i++) {
        xo_buf_printf(&uri, "%s%s", i ? ";" : "", servers[i]->address);
    }
    xo_buf_str(&uri, more);
    xo_cluster *c = open_at(uri.p, NULL, NULL);
    ck_assert_msg(c != NULL, "%s", xonce_error_last()->text);
    xo_buf_free(&uri);
    return c;
}

static void start_server(peer *p, const char *topic)
{
    peer_start(p, NULL, 0);
    p->arg = (void *)(uintptr_t)topic;
    p->serve = name_server;
}

START_TEST(several_name_servers)
{
    peer a, b;
    xo_route *r;
    char dead[60];
    start_server(&a, "of_a");
    start_server(&b, "of_b");
    (void)snprintf(dead, sizeof(dead), ";127.0.0.1:%d", peer_free_port());
    peer *const both[] = {&a, &b};
    xo_cluster *c = cluster_of(both, 2, dead);
    ck_assert_int_eq(xo_cluster_route(c, "of_b", 0, &r), XONCE_OK);
    xo_route_free(r);
    ck_assert_uint_eq(atomic_load(&c->current), 1); /* the one that knew it is kept */
    int asked = atomic_load(&a.requests);
    ck_assert_int_eq(xo_cluster_route(c, "TBW102", 0, &r), XONCE_OK);
    xo_route_free(r);
    ck_assert_int_eq(atomic_load(&a.requests), asked);
    ck_assert_int_eq(xo_cluster_route(c, "of_a", 0, &r), XONCE_OK);
    xo_route_free(r);
    ck_assert_uint_eq(atomic_load(&c->current), 0);
    ck_assert_int_eq(xo_cluster_route(c, "nobodys", 0, &r), XONCE_E_NOT_FOUND);
    ck_assert_ptr_null(r);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert_int_eq(xonce_error_last()->native, 17);
    ck_assert(strstr(xonce_error_last()->text, "nobodys"));
    /* the one we have goes: the other is asked */
    peer_stop(&a);
    ck_assert_int_eq(xo_cluster_route(c, "of_b", 0, &r), XONCE_OK);
    xo_route_free(r);
    peer_stop(&b);
    ck_assert_int_eq(xo_cluster_route(c, "of_b", 0, &r), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "none of the 3 name servers answers"), "%s", xonce_error_last()->text);
    ck_assert_int_eq(xo_cluster_route(c, "of_b", 600000, &r), XONCE_OK); /* what was learnt stays */
    xo_route_free(r);
    xo_cluster_close(c);
}
END_TEST

typedef struct {
    xo_cluster *c;
    xonce_status status;
} asker;

static void *ask_route_too(void *arg)
{
    asker *a = arg;
    xo_route *r;
    a->status = xo_cluster_route(a->c, "T", 60000, &r);
    xo_route_free(r);
    return NULL;
}

START_TEST(one_question_for_many)
{
    peer a;
    xo_route *r;
    pthread_t threads[8];
    asker askers[8];
    start_server(&a, "T");
    atomic_store(&route_pause, 200);
    peer *const one[] = {&a};
    xo_cluster *c = cluster_of(one, 1, "");
    for (int i = 0; i < 8; i++) {
        askers[i].c = c;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_route_too, &askers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(askers[i].status, XONCE_OK);
    }
    ck_assert_int_eq(atomic_load(&a.requests), 1);
    ck_assert_int_eq(xo_cluster_route(c, "T", 60000, &r), XONCE_OK);
    xo_route_free(r);
    ck_assert_int_eq(atomic_load(&a.requests), 1);
    ck_assert_int_eq(xo_cluster_route(c, "T", 0, &r), XONCE_OK);
    xo_route_free(r);
    ck_assert_int_eq(atomic_load(&a.requests), 2);
    xo_pause_ms(20); /* older than may be */
    ck_assert_int_eq(xo_cluster_route(c, "T", 10, &r), XONCE_OK);
    xo_route_free(r);
    ck_assert_int_eq(atomic_load(&a.requests), 3);
    xo_cluster_close(c);
    peer_stop(&a);
}
END_TEST

static xo_cluster *_Atomic inside_of;
static atomic_int inside_status;

static void ask_inside(void *self, const char *address, int is_made)
{
    xo_route *r;
    (void)self, (void)address, (void)is_made;
    if (inside_of) {
        atomic_store(&inside_status, (int)xo_cluster_route(inside_of, "T", INT64_MAX, &r));
        ck_assert(r == NULL || r->nqueues == 1);
        xo_route_free(r);
    }
}

START_TEST(routes_in_a_callback)
{
    peer a;
    xo_cluster *c;
    xo_route *r;
    const xo_remoting_events events = {NULL, ask_inside};
    start_server(&a, "T");
    char *uri = xo_printf("rocketmq://%s", a.address);
    ck_assert_int_eq(xo_cluster_open(&c, uri, NULL, &events, NULL), XONCE_OK);
    inside_of = c;
    ck_assert_int_eq(xo_cluster_route(c, "T", 0, &r), XONCE_OK); /* its connection is made meanwhile: the callback must not wait for this question */
    xo_route_free(r);
    ck_assert_int_eq(atomic_load(&inside_status), XONCE_E_NOT_FOUND);
    atomic_store(&inside_status, -1);
    peer_cut(&a);
    for (int64_t until = xo_mono_ms() + 60000; atomic_load(&inside_status) == -1; xo_pause_ms(2)) {
        ck_assert(xo_mono_ms() < until);
    }
    ck_assert_int_eq(atomic_load(&inside_status), XONCE_OK); /* from the cache */
    inside_of = NULL;
    xo_cluster_close(c);
    peer_stop(&a);
    free(uri);
}
END_TEST

START_TEST(brokers_by_name)
{
    peer a;
    xo_route *r;
    char text[280];
    char **addresses;
    size_t n;
    start_server(&a, "T");
    peer *const one[] = {&a};
    xo_cluster *c = cluster_of(one, 1, "");
    ck_assert_int_eq(xo_cluster_broker(c, "m", 0, text, sizeof(text)), XONCE_E_NOT_FOUND);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert_int_eq(xo_cluster_addresses(c, 0, &addresses, &n), XONCE_OK);
    ck_assert_uint_eq(n, 0);
    xo_addresses_free(addresses, n);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(xo_cluster_route(c, i ? "TBW102" : "T", 0, &r), XONCE_OK);
        xo_route_free(r);
    }
    ck_assert_int_eq(xo_cluster_broker(c, "m", 0, text, sizeof(text)), XONCE_OK);
    ck_assert_str_eq(text, a.address);
    ck_assert_int_eq(xo_cluster_broker(c, "slaves", 0, text, sizeof(text)), XONCE_E_NOT_FOUND);
    ck_assert_int_eq(xo_cluster_broker(c, "slaves", 1, text, sizeof(text)), XONCE_OK);
    ck_assert_str_eq(text, "127.0.0.1:3");
    xo_cluster_broker_at(c, "127.0.0.1:1", text, sizeof(text));
    ck_assert_str_eq(text, "m");
    xo_cluster_broker_at(c, "127.0.0.1:2", text, sizeof(text));
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(xo_cluster_addresses(c, 0, &addresses, &n), XONCE_OK);
    ck_assert_uint_eq(n, 3);
    xo_addresses_free(addresses, n);
    ck_assert_int_eq(xo_cluster_addresses(c, 1, &addresses, &n), XONCE_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(addresses[0], a.address);
    xo_addresses_free(addresses, n);
    xo_broker *b;
    ck_assert_int_eq(xo_cluster_brokers(c, &b, &n), XONCE_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(b[0].name, "far");
    xo_brokers_free(b, n);
    ck_assert_int_eq(xo_cluster_broker(c, "far", 0, text, sizeof(text)), XONCE_OK); /* to make a topic there */
    xo_command q, answer;
    xo_command_init(&q, XO_RMQ_ROUTE);
    xo_command_set(&q, "topic", "T");
    xo_command_set(&q, "acceptStandardJsonOnly", "true");
    ck_assert_int_eq(xo_cluster_ask(c, "m", &q, "a question to m", &answer), XONCE_OK);
    ck_assert_uint_gt(answer.body_len, 0);
    xo_command_free(&answer);
    xo_command_init(&q, XO_RMQ_ROUTE);
    xo_command_set(&q, "topic", "none");
    xo_command_set(&q, "acceptStandardJsonOnly", "true");
    ck_assert_int_eq(xo_cluster_ask(c, "m", &q, "a question to m", NULL), XONCE_E_NOT_FOUND);
    ck_assert(strstr(xonce_error_last()->text, "a question to m"));
    xo_command_init(&q, 999);
    ck_assert_int_eq(xo_cluster_ask(c, "m", &q, "a question to m", NULL), XONCE_E_TIMEOUT);
    ck_assert(strstr(xonce_error_last()->text, "a question to m"));
    xo_command_init(&q, 1);
    ck_assert_int_eq(xo_cluster_ask(c, "nobody", &q, "a question to nobody", &answer), XONCE_E_NOT_FOUND);
    ck_assert_ptr_null(answer.frame);
    xo_cluster_close(c);
    peer_stop(&a);
}
END_TEST

/* ---- ids ---- */

START_TEST(java_hashes)
{
    ck_assert_int_eq(xo_java_hash(""), 0);
    ck_assert_int_eq(xo_java_hash("TagA"), 2598919);
    ck_assert_int_eq(xo_java_hash("TagB"), 2598920);
    ck_assert_int_eq(xo_java_hash("\xe6\xa0\x87\xe7\xad\xbe"), 857175);
    ck_assert_int_eq(xo_java_hash("order-\xf0\x9f\x98\x80"), 1236026434);
    ck_assert_int_eq(xo_java_hash("polygenelubricants"), INT32_MIN);
    ck_assert_int_eq(xo_java_hash("\xff"), 0xfffd);
    ck_assert_int_eq(xo_java_hash("\xe6\xa0"), 0xfffd * 31 + 0xfffd);
    ck_assert_int_eq(xo_java_hash("\xc3\xa9"), 0xe9);
}
END_TEST

enum { THREADS = 8, EACH = 20000 };
static char (*made)[XO_UNIQ_SIZE];

static void *make_many(void *arg)
{
    size_t from = (size_t)(uintptr_t)arg;
    for (size_t i = 0; i < EACH; i++) {
        xo_make_uniq(made[from + i]);
    }
    return NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

START_TEST(uniq_keys_are_unique)
{
    pthread_t threads[THREADS];
    made = xo_calloc((size_t)THREADS * EACH, sizeof(*made));
    ck_assert_ptr_nonnull(made);
    for (size_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_many, (void *)(uintptr_t)(i * EACH)), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    size_t len = strlen(made[0]);
    ck_assert(len == 32 || len == 56);
    ck_assert_uint_eq(strspn(made[0], "0123456789ABCDEF"), len);
    char pid[5];
    (void)snprintf(pid, sizeof(pid), "%04X", (unsigned)getpid() & 0xffff);
    ck_assert_mem_eq(made[0] + len - 24, pid, 4);
    ck_assert_mem_eq(made[0], made[1], len - 12); /* address, process and nonce are the process's */
    for (size_t i = 1; i < EACH; i++) {
        ck_assert_int_lt(strcmp(made[i - 1], made[i]), 0); /* of one thread they grow */
    }
    qsort(made, (size_t)THREADS * EACH, sizeof(*made), by_text);
    for (size_t i = 1; i < (size_t)THREADS * EACH; i++) {
        ck_assert_str_ne(made[i - 1], made[i]);
    }
    free(made);
}
END_TEST

START_TEST(uniq_keys_of_a_child)
{
    int ends[2];
    char mine[XO_UNIQ_SIZE], childs[XO_UNIQ_SIZE] = "";
    xo_make_uniq(mine);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char id[XO_UNIQ_SIZE] = "";
        xo_make_uniq(id);
        _exit(write(ends[1], id, sizeof(id)) != (ssize_t)sizeof(id));
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(read(ends[0], childs, sizeof(childs)), (ssize_t)sizeof(childs));
    size_t len = strlen(mine);
    ck_assert_uint_eq(strlen(childs), len);
    ck_assert(memcmp(mine + len - 24, childs + len - 24, 4) != 0); /* the process */
    ck_assert(memcmp(mine + len - 20, childs + len - 20, 8) != 0); /* and its random part: process ids come again */
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(client_ids)
{
    char a[160], b[160], small[10];
    ck_assert_int_eq(xo_make_client_id(a, sizeof(a), NULL, NULL), XONCE_OK);
    ck_assert_int_eq(xo_make_client_id(b, sizeof(b), "", ""), XONCE_OK);
    ck_assert_str_ne(a, b);
    char *pid = xo_printf("@%ld#", (long)getpid());
    ck_assert(strstr(a, pid) != NULL);
    free(pid);
    ck_assert_int_eq(xo_make_client_id(b, sizeof(b), "mine", "0123abcd"), XONCE_OK);
    ck_assert_str_eq(strchr(b, '@'), "@mine#0123abcd");
    ck_assert_int_eq(xo_make_client_id(small, sizeof(small), "mine", "0123abcd"), XONCE_E_INVALID);
}
END_TEST

int main(void)
{
    const char *top = getenv("TOP_SRCDIR");
    char *path = xo_printf("%s/tests/remoting/remoting-vectors.json", top ? top : ".");
    json_error_t e;
    vectors = json_load_file(path, 0, &e);
    free(path);
    if (!vectors) {
        printf("Bail out! remoting-vectors.json: %s\n", e.text);
        return 1;
    }
    Suite *s = suite_create("cluster");
    TCase *t = tcase_create("cluster");
    tcase_set_timeout(t, 120);
    const TTest *const tests[] = {good_uris, bad_uris, names_in_a_namespace, routes_are_read, bad_routes, recorded_routes, mangled_input, brokers_are_read, several_name_servers,
                                  one_question_for_many, routes_in_a_callback, brokers_by_name, java_hashes, uniq_keys_are_unique, uniq_keys_of_a_child, client_ids};
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        tcase_add_test(t, tests[i]);
    }
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    json_decref(vectors);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
