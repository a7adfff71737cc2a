/* Records of Kafka, applied once each: xonce_once() first, the offset last. 10-kafka BROKERS [NAME VALUE]...: until SIGTERM, with more settings of librdkafka. Without brokers
   on librdkafka's own mock cluster, where the consumer dies after 7 records, before it has committed the last two's offsets, and a second one replays. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <xonce/xonce.h>

enum { RECORDS = 20, COMMIT_EVERY = 5, SETTINGS = 32 };
static volatile sig_atomic_t stopped;
static char why[512];

static void stop(int signal) { stopped = signal; }

static xonce_verdict count_click(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "INSERT INTO clicks (id, n) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_body(m)) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *const *settings)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; *settings && settings[1]; settings += 2)
        stopped |= rd_kafka_conf_set(conf, settings[0], settings[1], why, sizeof why) != RD_KAFKA_CONF_OK;
    return stopped ? NULL : rd_kafka_new(type, conf, why, sizeof why);
}

/* Topic, partition and offset name a record for good. A producer that may send twice gives an id of its own: a header, or a key of the business. To go on behind a record that is not
   decided would lose it with the next commit, so it is tried here until it is; at the setting `attempts` it is rejected. */
static xonce_outcome apply(xonce_store *store, const rd_kafka_message_t *r)
{
    xonce_outcome what = XONCE_DEFERRED;
    xonce_message *m;
    char id[300];
    snprintf(id, sizeof id, "%s-%d-%lld", rd_kafka_topic_name(r->rkt), r->partition, (long long)r->offset);
    stopped |= xonce_message_new(&m, rd_kafka_topic_name(r->rkt), id, r->payload, r->len) != XONCE_OK;
    for (int attempt = 1, tried; !stopped && what == XONCE_DEFERRED; attempt += tried) { /* a database that is away is no attempt */
        xonce_message_set_attempt(m, attempt);
        if (!(tried = xonce_once(store, m, count_click, NULL, &what) == XONCE_OK))
            fprintf(stderr, "%s: %s\n", id, xonce_error_last()->text);
        sleep(what == XONCE_DEFERRED);
    }
    xonce_message_free(m);
    return what;
}

/* Dies when so many are decided, or, 0, ends in order. The mock cluster's groups let nobody in again: there it takes the partition without one. */
static void consume(xonce_store *store, rd_kafka_t *rk, int dies)
{
    int count[4] = {0}, decided = 0;
    if (!rk)
        return (void)fprintf(stderr, "%s\n", why);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, "clicks", dies ? 0 : RD_KAFKA_PARTITION_UA)->offset = RD_KAFKA_OFFSET_STORED;
    stopped |= (dies ? rd_kafka_assign(rk, topics) : rd_kafka_subscribe(rk, topics)) != RD_KAFKA_RESP_ERR_NO_ERROR;
    while (!stopped && (!dies || decided < dies)) {
        rd_kafka_message_t *r = rd_kafka_consumer_poll(rk, 1000);
        xonce_outcome what = r && !r->err ? apply(store, r) : XONCE_DEFERRED;
        count[what]++;
        /* what is stored may be committed; refused when the partition is another member's by now */
        if (what != XONCE_DEFERRED && !rd_kafka_offset_store(r->rkt, r->partition, r->offset) && ++decided % COMMIT_EVERY == 0)
            rd_kafka_commit(rk, NULL, !dies);
        if (r)
            rd_kafka_message_destroy(r);
    }
    printf("fresh %d, duplicate %d\n", count[XONCE_FRESH], count[XONCE_DUPLICATE]);
    rd_kafka_topic_partition_list_destroy(topics);
    if (!dies)
        rd_kafka_commit(rk, NULL, 0);
    rd_kafka_destroy(rk);
}

int main(int argc, char **argv)
{
    const char *of_consumer[SETTINGS + 1] = {"enable.auto.commit", "false", "enable.auto.offset.store", "false", "group.id", "GID_clicks", "auto.offset.reset", "earliest", "bootstrap.servers"};
    const char *const of_producer[] = {"test.mock.num.brokers", "1", NULL};
    xonce_store *store;
    xonce_tx *tx;
    signal(SIGTERM, stop);
    for (int i = 1; i < argc && i < SETTINGS - 8; i++)
        of_consumer[8 + i] = argv[i];
    if (xonce_store_open(&store, "sqlite:kafka.db", "GID_clicks", NULL) != XONCE_OK || xonce_store_upgrade(store) != XONCE_OK || xonce_tx_begin(store, &tx) != XONCE_OK ||
        xonce_exec(tx, "CREATE TABLE IF NOT EXISTS clicks (id TEXT, n INTEGER)") != XONCE_OK || xonce_tx_commit(tx) != XONCE_OK)
        return fprintf(stderr, "%s\n", xonce_error_last()->text), 1;
    rd_kafka_t *producer = argc > 1 ? NULL : client(RD_KAFKA_PRODUCER, of_producer);
    for (int i = 0; producer && i < RECORDS; i++)
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("clicks"), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE((void *)"1", 1), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (producer && rd_kafka_flush(producer, 10000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        of_consumer[9] = rd_kafka_mock_cluster_bootstraps(rd_kafka_handle_mock_cluster(producer));
        consume(store, client(RD_KAFKA_CONSUMER, of_consumer), 7);
    }
    consume(store, client(RD_KAFKA_CONSUMER, of_consumer), producer ? RECORDS - COMMIT_EVERY : 0);
    if (producer)
        rd_kafka_destroy(producer);
    xonce_store_close(store);
    return 0;
}
