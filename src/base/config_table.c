/* The configuration keys: the one place that knows them. */
#include "base/config.h"

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
    INT("workers", "ConsumeThreadNums", 1, 1000, "4", "Threads that run handlers."),
    INT("batch.max", "ConsumeMessageBatchMaxSize", 1, 1024, "32", "Most messages in one transaction."),
    {"batch.linger", "BatchConsumeMaxAwaitDurationInSeconds", XO_T_DURATION, "ms", 0, SECONDS(450), "0", NULL,
     "How long a worker waits for a batch to fill; 0 = it takes what is there.", 0, "s"},
    INT("attempts", "MaxReconsumeTimes", 1, 280, "16", "At this many deliveries a failing message is rejected."),
    DURATION("suspend", "suspendTimeMillis", 10, SECONDS(30), "1s", "First pause of an ordered lane after a handler asked to retry; it doubles up to 30s."),
    {"handler.timeout", "ConsumeTimeout", XO_T_DURATION, "ms", SECONDS(1), HOURS(3), "15m", NULL,
     "How long a handler may hold a transaction before the database ends it and the message comes again.", 0, "m"},
    INT("buffer.messages", "maxCachedMessageAmount", 100, 50000, "5000", "Most messages in memory."),
    {"buffer.size", "maxCachedMessageSizeInMiB", XO_T_SIZE, NULL, MIB(16), MIB(2048), "512M", NULL, "Most bytes of message bodies in memory.", 0, "M"},
    DURATION("exit-when-idle", NULL, 0, DAYS(1), "0", "Stop after this long without a message; 0 = never."),
    INT("store.connections", NULL, 0, 1000, "0", "Most connections to the database; 0 = workers + 2."),
    DURATION("store.connect-timeout", NULL, MS(100), MINUTES(5), "10s", "How long connecting to the database may take."),
    DURATION("store.pool-timeout", NULL, MS(100), HOURS(1), "60s", "How long a call waits for a free connection."),
    DURATION("store.lock-timeout", NULL, MS(100), MINUTES(5), "5s", "How long a claim waits for the same message elsewhere before the transaction is run again."),
    INT("store.tries", NULL, 1, 100, "12", "How often a transaction is run again on deadlock or lost connection before the message is put off."),
    CHOICE("mysql.dialect", "auto|mysql|mariadb", "auto", "Which SQL to use on MySQL-like servers; auto asks the server for its version."),
    CHOICE("sql.errors", "retry|judge", "retry", "judge: data errors reject a message at once, a missing table or right stops the consumer; retry: all let the message come again."),
    CHOICE("collision", "claim|reject", "claim", "What becomes of another message under an id that is taken: claimed under an id of its own, or rejected."),
    DURATION("prune.keep", NULL, SECONDS(1), DAYS(3650), "4d", "Age, counted from the caught-up watermark, at which records may be deleted."),
    DURATION("prune.every", NULL, 0, DAYS(30), "1h", "How often a consumer prunes; 0 = never."),
    TEXT("instance", "INSTANCE_ID", "Instance id of the endpoint, as MQ_INST_x; unset for an instance without a namespace."),
    TEXT("credentials.access-key-id", "AccessKey", "Access key id; unset = environment variable ALIBABA_CLOUD_ACCESS_KEY_ID."),
    SECRET("credentials.access-key-secret", "SecretKey", "Access key secret; unset = environment variable ALIBABA_CLOUD_ACCESS_KEY_SECRET."),
    SECRET("credentials.security-token", "SecurityToken", "Token of temporary credentials; unset = environment variable ALIBABA_CLOUD_SECURITY_TOKEN."),
    TEXT("credentials.file", NULL, "File with the three credentials as lines key = value."),
    TEXT("http.cacert", NULL, "File with the certificates that an https endpoint is checked against; unset = those of the system."),
    INT("http.polls", NULL, 1, 64, "4", "Long polls in flight per subscription."),
    {"http.wait", NULL, XO_T_DURATION, "s", 0, SECONDS(30), "10s", NULL, "How long a poll waits at the endpoint for a message; whole seconds.", 0, NULL},
    INT("http.batch", NULL, 1, 16, "16", "Most messages that one poll asks for."),
    DURATION("http.connect-timeout", NULL, MS(100), MINUTES(5), "10s", "How long connecting to the endpoint may take."),
    DURATION("http.timeout", "SendMsgTimeoutMillis", SECONDS(1), MINUTES(5), "10s", "How long a send or an acknowledgement may take."),
    DURATION("http.ack-linger", NULL, 0, SECONDS(5), "20ms", "How long acknowledgements are gathered to share a request."),
};
const size_t xo_config_count = sizeof(xo_config_keys) / sizeof(xo_config_keys[0]);
