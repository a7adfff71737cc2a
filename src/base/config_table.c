/* The configuration keys: the one place that knows them. */
#include "base/config.h"
#include <string.h>

#define MS(n) INT64_C(n)
#define SECONDS(n) (INT64_C(n) * 1000)
#define MINUTES(n) (INT64_C(n) * 60000)
#define HOURS(n) (INT64_C(n) * 3600000)
#define DAYS(n) (INT64_C(n) * 86400000)
#define MIB(n) (INT64_C(n) * 1048576)

#define INT(k, a, lo, hi, def, text) {k, a, XO_T_INT, NULL, lo, hi, def, NULL, text, 0, NULL}
#define DURATION(k, a, lo, hi, def, text) {k, a, XO_T_DURATION, "ms", lo, hi, def, NULL, text, 0, NULL}
#define TEXT(k, a, text) {k, a, XO_T_TEXT, NULL, 0, 0, NULL, NULL, text, 0, NULL}
#define SECRET(k, a, text) {k, a, XO_T_TEXT, NULL, 0, 0, NULL, NULL, text, 1, NULL}
#define CHOICE(k, list, def, text) {k, NULL, XO_T_CHOICE, NULL, 0, 0, def, list, text, 0, NULL}

const xo_config_key xo_config_keys[] = {
    INT("workers", "ConsumeThreadNums|consumeThreadMax", 1, 1000, "20",
        "Most threads that run handlers. How many do at once follows from the load: one on SQLite, elsewhere as many as make it faster. More: more slow handlers side by side, and connections at most."),
    INT("batch.max", "ConsumeMessageBatchMaxSize|consumeMessageBatchMaxSize", 1, 1024, "128",
        "Most messages in one transaction. How many are taken follows from what waits and how long handlers take. More: fewer transactions under load; fewer: what fails or waits for a lock takes fewer along."),
    {"batch.linger", "BatchConsumeMaxAwaitDurationInSeconds|batchConsumeMaxAwaitDurationInSeconds", XO_T_DURATION, "ms", 0, SECONDS(450), "0", NULL,
     "How long a worker waits for a batch to fill, though it has nothing else to do. Longer: fewer transactions, and each message later by as much; 0 = it takes what is there.", 0, "s"},
    INT("attempts", "MaxReconsumeTimes|maxReconsumeTimes", 1, 280, "16", "At this many deliveries a failing message is rejected."),
    DURATION("suspend", "suspendTimeMillis|suspendCurrentQueueTimeMillis", 10, SECONDS(30), "1s", "First pause of an ordered lane after a handler asked to retry; it doubles up to 30s."),
    {"handler.timeout", "ConsumeTimeout|consumeTimeout", XO_T_DURATION, "ms", SECONDS(1), HOURS(3), "15m", NULL,
     "How long a handler may hold a transaction before the database ends it and the message comes again.", 0, "m"},
    INT("buffer.messages", "maxCachedMessageAmount", 100, 50000, "5000", "Most messages in memory. More: longer pauses of the source are bridged; fewer: less memory, and less comes again when the process dies."),
    {"buffer.size", "maxCachedMessageSizeInMiB", XO_T_SIZE, NULL, MIB(16), MIB(2048), "512M", NULL, "Most bytes of message bodies in memory.", 0, "M"},
    TEXT("status", NULL, "HOST:PORT at which `xonce consume` serves its status page, metrics and health; unset = nowhere."),
    DURATION("exit-when-idle", NULL, 0, DAYS(1), "0", "Stop after this long without a message; 0 = never."),
    INT("store.connections", NULL, 0, 1000, "0", "Most connections to the database; 0 = workers + 2. The status server has one more."),
    DURATION("store.connect-timeout", NULL, MS(100), MINUTES(5), "10s", "How long connecting to the database may take."),
    DURATION("store.pool-timeout", NULL, MS(100), HOURS(1), "60s", "How long a call waits for a free connection."),
    DURATION("store.lock-timeout", NULL, MS(100), MINUTES(5), "5s", "How long a claim waits for the same message elsewhere before the transaction is run again."),
    INT("store.tries", NULL, 1, 100, "12", "How often a transaction is run again on deadlock or lost connection before the message is put off."),
    CHOICE("postgresql.prepare", "auto|off", "auto", "Whether statements stay prepared on a PostgreSQL connection; auto stops when they are gone twice, as behind a pooler that hands out other sessions; off never begins."),
    CHOICE("mysql.dialect", "auto|mysql|mariadb", "auto", "Which SQL to use on MySQL-like servers; auto asks the server for its version."),
    CHOICE("sql.errors", "retry|judge", "retry", "judge: data errors reject a message at once, a missing table or right stops the consumer; retry: all let the message come again."),
    CHOICE("claim", "record|offset", "record", "How messages are claimed: record writes a row for each; offset moves the queue's position in the same transaction, without a row a message (rocketmq)."),
    CHOICE("collision", "claim|reject", "claim", "What becomes of another message under an id that is taken: claimed under an id of its own, or rejected."),
    DURATION("prune.keep", NULL, SECONDS(1), DAYS(3650), "4d", "Age, counted from the caught-up watermark, at which records may be deleted."),
    {"prune.unsafe", NULL, XO_T_BOOL, NULL, 0, 1, "off", NULL, "Let prune.keep be shorter than what is safe, and count age from now: for tests and emergencies. What comes back later is applied again.", 0, NULL},
    DURATION("prune.every", NULL, 0, DAYS(30), "1h", "How often a consumer prunes; 0 = never."),
    {"prune.window", NULL, XO_T_WINDOW, NULL, 0, 0, NULL, NULL, "When a consumer may prune, UTC, over midnight too; unset = at any time. xonce prune does not look at it.", 0, NULL},
    INT("prune.rate", NULL, 0, 10000000, "0", "Most records that pruning deletes in a second; 0 = it rests as long as it works."),
    TEXT("instance", "INSTANCE_ID|namespace", "Instance id of the endpoint, as MQ_INST_x; unset for an instance without a namespace."),
    TEXT("credentials.access-key-id", "AccessKey", "Access key id; unset = environment variable ALIBABA_CLOUD_ACCESS_KEY_ID."),
    SECRET("credentials.access-key-secret", "SecretKey", "Access key secret; unset = environment variable ALIBABA_CLOUD_ACCESS_KEY_SECRET."),
    SECRET("credentials.security-token", "SecurityToken", "Token of temporary credentials; unset = environment variable ALIBABA_CLOUD_SECURITY_TOKEN."),
    TEXT("credentials.file", NULL, "File with the three credentials as lines key = value."),
    CHOICE("consume-from", "first|last|timestamp", "first", "Where a group that neither broker nor database know begins (rocketmq)."),
    TEXT("consume-from.time", "consumeTimestamp", "The time for consume-from=timestamp: yyyyMMddHHmmss (UTC), or ms since 1970."),
    CHOICE("start", "database|broker", "database", "Whose position of a queue counts at start (rocketmq)."),
    DURATION("look-back", NULL, 0, DAYS(1), "10m", "How far before the last settled message a queue is read again at start and after its broker was away (rocketmq)."),
    CHOICE("stores", "one|many", "one", "many: members of the group write to different databases."),
    {"message-model", "MessageModel|messageModel", XO_T_CHOICE, NULL, 0, 0, "CLUSTERING", "CLUSTERING|BROADCASTING", "BROADCASTING is refused: exactly once is per group.", 0, NULL},
    DURATION("send.timeout", "SendMsgTimeoutMillis|sendMsgTimeout", MS(100), MINUTES(5), "10s", "How long a send may take, retries included."),
    INT("send.retries", "retryTimesWhenSendFailed", 0, 16, "2", "How often a failed send is tried again, on another broker where there is one (rocketmq)."),
    {"send.exactly-once", "EXACTLYONCE_DELIVERY|exactlyOnceDelivery", XO_T_BOOL, NULL, 0, 1, "off", NULL, "Add EXTEND_UNIQ_INFO to each message sent (rocketmq).", 0, NULL},
    {"trace", "MsgTraceSwitch|msgTraceSwitch", XO_T_BOOL, NULL, 0, 1, "off", NULL, "Write message traces to the broker (rocketmq).", 0, NULL},
    CHOICE("log.level", "error|warn|info|debug", "warn", "How much is logged; --verbose means info at least. SIGUSR1 makes it more, SIGUSR2 less, until the process ends."),
    CHOICE("log.format", "text|logfmt|json", "text", "How log lines are written: for people, as name=value, or as JSON, one object a line."),
    TEXT("log.file", NULL, "File that log lines are appended to; unset = standard error. Several processes may share it; one that was moved away is opened anew."),
    {"log.size", NULL, XO_T_SIZE, NULL, INT64_C(65536), MIB(1024), "64M", NULL, "Size at which the log file becomes FILE.1 and a new one is begun.", 0, NULL},
    INT("log.files", NULL, 1, 1000, "10", "Most log files: FILE, FILE.1, FILE.2 and so on; the oldest is deleted."),
    INT("log.rate", NULL, 0, 100000, "10", "Most lines a second about single messages, of each kind (duplicate, retried, put off, rejected); what is left out is counted in one line. 0 = all."),
    {"tls", NULL, XO_T_BOOL, NULL, 0, 1, "off", NULL, "Use TLS to name servers and brokers (rocketmq).", 0, NULL},
    TEXT("tls.ca", NULL, "File with the certificates that name servers and brokers are checked against; unset = those of the system."),
    TEXT("tls.cert", NULL, "File with our own certificate."),
    TEXT("tls.key", NULL, "File with its private key."),
    {"tls.verify", NULL, XO_T_BOOL, NULL, 0, 1, "on", NULL, "Check the certificates of name servers and brokers.", 0, NULL},
    DURATION("rocketmq.timeout", NULL, MS(100), MINUTES(1), "3s", "How long a request to a name server or broker may take."),
    DURATION("rocketmq.connect-timeout", NULL, MS(100), MINUTES(1), "3s", "How long connecting to a name server or broker may take."),
    DURATION("rocketmq.route-every", "pollNameServerInterval", MS(10), MINUTES(10), "30s", "How often routes are asked for."),
    DURATION("rocketmq.heartbeat-every", "heartbeatBrokerInterval", MS(10), MINUTES(1), "30s", "How often brokers hear that this member is alive."),
    DURATION("rocketmq.rebalance-every", NULL, MS(10), MINUTES(10), "20s", "How often queues are shared out among the members, besides at once when a member comes or goes."),
    DURATION("rocketmq.commit-every", "autoCommitIntervalMillis|persistConsumerOffsetInterval", MS(10), MINUTES(10), "5s", "How often positions are written to database and broker."),
    DURATION("rocketmq.long-poll", "brokerSuspendMaxTimeMillis", MS(10), MINUTES(1), "15s", "How long a broker may keep a pull waiting for a message."),
    INT("rocketmq.pull-batch", "pullBatchSize", 1, 1024, "32", "Most messages that one pull asks for; brokers give at most 32 unless told otherwise."),
    INT("rocketmq.queue-messages", "pullThresholdForQueue", 1, 65535, "1000", "Most messages in memory per queue."),
    {"rocketmq.queue-size", "pullThresholdSizeForQueue", XO_T_SIZE, NULL, MIB(1), MIB(1024), "100M", NULL, "Most bytes in memory per queue: of answers, each kept until its last message is settled.", 0, "M"},
    {"rocketmq.dead-letter", NULL, XO_T_BOOL, NULL, 0, 1, "off", NULL, "Also copy a rejected message to the broker's dead-letter topic.", 0, NULL},
    {"rocketmq.compress-over", "compressMsgBodyOverHowmuch", XO_T_SIZE, NULL, 0, MIB(4), "4k", NULL, "Bodies from this size are sent compressed.", 0, NULL},
    CHOICE("rocketmq.compression", "zlib|lz4|zstd|none", "zlib", "How bodies are compressed; brokers and clients before 5.0 know zlib only."),
    TEXT("rocketmq.instance-name", "InstanceName|instanceName", "Part of the client id, after the address; unset = process id and a random part."),
    TEXT("rocketmq.ons-channel", "OnsChannel", "A signed field that some cloud endpoints want, as ALIYUN; unset = none."),
    TEXT("http.cacert", NULL, "File with the certificates that an https endpoint is checked against; unset = those of the system."),
    INT("http.polls", NULL, 1, 64, "32", "Most long polls in flight per subscription: so many while they come back full, two when there is nothing. More: faster where the endpoint is far; fewer: fewer connections."),
    {"http.wait", NULL, XO_T_DURATION, "s", 0, SECONDS(30), "10s", NULL, "How long a poll waits at the endpoint for a message; whole seconds. Longer: fewer requests for nothing; 0 = it does not wait, and is repeated after a second at most.", 0, NULL},
    INT("http.batch", NULL, 1, 16, "16", "Most messages that one poll asks for. Fewer: more requests, and less comes again when the process dies."),
    DURATION("http.connect-timeout", NULL, MS(100), MINUTES(5), "10s", "How long connecting to the endpoint may take."),
    DURATION("http.timeout", NULL, SECONDS(1), MINUTES(5), "10s", "How long an acknowledgement may take."),
    DURATION("http.ack-linger", NULL, 0, SECONDS(5), "20ms", "How long acknowledgements are gathered to share a request, which 16 fill at once. Longer: fewer requests when there is little to do; a message whose time runs out meanwhile comes again."),
};
/* Settings of the Java clients that have another place here, or none. */
static const struct {
    const char *name, *where;
} elsewhere[] = {
    {"GROUP_ID", "the group is given with the store (--group)"},
    {"ConsumerId", "the group is given with the store (--group)"},
    {"consumerGroup", "the group is given with the store (--group)"},
    {"ProducerId", "a producer needs a group for transactions only, and is told it with the checker"},
    {"producerGroup", "a producer needs a group for transactions only, and is told it with the checker"},
    {"NAMESRV_ADDR", "the name servers are the URI: rocketmq://host:9876;host:9876"},
    {"namesrvAddr", "the name servers are the URI: rocketmq://host:9876;host:9876"},
    {"ONSAddr", "the address is the URI: rocketmq://host:9876 or http://host"},
    {"isVipChannelEnabled", "brokers' second port is never used"},
    {"vipChannelEnabled", "brokers' second port is never used"},
    {"PostSubscriptionWhenPull", "the subscription is always that of the heartbeat"},
    {"consumeThreadMin", "workers is the most; how many of them run follows from the load"},
    {"consumeFromWhere", "it is consume-from=first, last or timestamp"},
    {"consumeMessageOrderly", "subscribe with xonce_on_ordered (--ordered)"},
    {"autoCommit", "positions are always committed, after the transaction"},
    {"pollTimeoutMillis", "the consumer polls by itself; see rocketmq.long-poll and http.wait"},
    {"CheckImmunityTimeInSeconds", "set the property CHECK_IMMUNITY_TIME_IN_SECONDS on the message"},
    {"consumeConcurrentlyMaxSpan", "twice rocketmq.queue-messages"},
    {"maxMessageSize", "brokers take 4 MiB"},
    {"allocateMessageQueueStrategy", "queues are shared out averagely, as Java clients do by default"},
    {"MQType", "it is told from the URI"},
    {"LanguageIdentifier", "it is not sent"},
};

const char *xo_config_elsewhere(const char *name)
{
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        if (strcmp(elsewhere[i].name, name) == 0) {
            return elsewhere[i].where;
        }
    }
    return NULL;
}

/* What xonce_consumer_reconfigure() takes over. */
static const char *const reloads[] = {"workers", "batch.max", "batch.linger", "buffer.messages", "buffer.size", "prune.keep", "prune.every", "prune.window", "prune.rate", "log.level", "log.rate"};

int xo_config_reloads(const char *key)
{
    for (size_t i = 0; i < sizeof(reloads) / sizeof(reloads[0]); i++) {
        if (strcmp(reloads[i], key) == 0) {
            return 1;
        }
    }
    return 0;
}

const size_t xo_config_count = sizeof(xo_config_keys) / sizeof(xo_config_keys[0]);
