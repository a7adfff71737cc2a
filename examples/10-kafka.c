/* Records of Kafka, applied once each: xonce_once() first, the offset last. 10-kafka [BROKERS]: without brokers on librdkafka's own mock cluster, where the
   consumer dies after 7 records, before it has committed their offsets, and a second one replays. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <xonce/xonce.h>

enum { RECORDS = 20 };
static char why[512];

static xonce_verdict count_click(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO clicks (id, n) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *key, const char *value)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, key, value, why, sizeof why);
    if (type == RD_KAFKA_CONSUMER) {
        rd_kafka_conf_set(conf, "group.id", "GID_clicks", why, sizeof why);
        rd_kafka_conf_set(conf, "enable.auto.commit", "false", why, sizeof why); /* the offset is committed by hand, behind the transaction */
        rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", why, sizeof why);
    }
    return rd_kafka_new(type, conf, why, sizeof why);
}

/* Topic, partition and offset name a record for good. A producer that may send twice gives an id of its own: a header, or a key of the business. */
static xonce_status apply(xonce_store *store, const rd_kafka_message_t *r, xonce_outcome *what)
{
    xonce_message *m;
    char id[300];
    snprintf(id, sizeof id, "%s-%d-%lld", rd_kafka_topic_name(r->rkt), r->partition, (long long)r->offset);
    xonce_status st = xonce_message_new(&m, rd_kafka_topic_name(r->rkt), id, r->payload, r->len);
    if (st == XONCE_OK)
        st = xonce_once(store, m, count_click, NULL, what);
    xonce_message_free(m);
    return st;
}

/* At most n records, or until none is left. */
static void consume(xonce_store *store, const char *brokers, int n, int mock)
{
    int count[4] = {0}, idle = 0;
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, "bootstrap.servers", brokers);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, "clicks", mock ? 0 : RD_KAFKA_PARTITION_UA)->offset = RD_KAFKA_OFFSET_STORED;
    (void)(mock ? rd_kafka_assign(rk, topics) : rd_kafka_subscribe(rk, topics)); /* the mock cluster's groups let nobody in again */
    while (count[XONCE_FRESH] + count[XONCE_DUPLICATE] < n && idle < 10) {
        xonce_outcome what = XONCE_DEFERRED;
        rd_kafka_message_t *r = rd_kafka_consumer_poll(rk, 1000);
        idle = r ? 0 : idle + 1;
        if (r && !r->err) {
            if (apply(store, r, &what) != XONCE_OK)
                fprintf(stderr, "%s\n", xonce_error_last()->text);
            if (what == XONCE_DEFERRED)
                rd_kafka_seek(r->rkt, r->partition, r->offset, 1000); /* do not move on: it comes again */
            else if (++count[what] && r->offset % 5 == 4)
                rd_kafka_commit_message(rk, r, 0);
        }
        if (r)
            rd_kafka_message_destroy(r);
    }
    printf("fresh %d, duplicate %d\n", count[XONCE_FRESH], count[XONCE_DUPLICATE]);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_destroy(rk);
}

int main(int argc, char **argv)
{
    xonce_store *store;
    xonce_tx *tx;
    if (xonce_store_open(&store, "sqlite:kafka.db", "GID_clicks", NULL) != XONCE_OK || xonce_store_upgrade(store) != XONCE_OK || xonce_tx_begin(store, &tx) != XONCE_OK ||
        xonce_exec(tx, "CREATE TABLE IF NOT EXISTS clicks (id TEXT, n INTEGER)") != XONCE_OK || xonce_tx_commit(tx) != XONCE_OK)
        return fprintf(stderr, "%s\n", xonce_error_last()->text), 1;
    rd_kafka_t *producer = argc > 1 ? NULL : client(RD_KAFKA_PRODUCER, "test.mock.num.brokers", "1");
    for (int i = 0; producer && i < RECORDS; i++)
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("clicks"), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE((void *)"1", 1), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (producer)
        rd_kafka_flush(producer, 10000);
    const char *brokers = producer ? rd_kafka_mock_cluster_bootstraps(rd_kafka_handle_mock_cluster(producer)) : argc > 1 ? argv[1] : NULL;
    if (!brokers)
        return fprintf(stderr, "%s\n", why), 1;
    if (producer)
        consume(store, brokers, 7, 1);
    consume(store, brokers, producer ? RECORDS - 5 : 1000000, producer != NULL);
    xonce_store_close(store);
    if (producer)
        rd_kafka_destroy(producer);
    return 0;
}
