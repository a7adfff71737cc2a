/* xonce: exactly-once message consumption for C.
 *
 * For each message one row goes into transaction_record in the same local transaction as your writes. A second delivery hits the
 * unique key and is skipped, a crash rolls both back, and the broker hears "done" only after a durable COMMIT.
 *
 * What is promised: each message's effects on the database are applied exactly once per consumer group, as long as they are made
 * through the transaction given to the handler and the database does not lose commits that it acknowledged. Effects elsewhere (mails,
 * HTTP calls, files) happen at least once.
 *
 * Conventions. Handles are opaque. open/close hold connections, new/free only memory, start/stop threads. close and free take NULL. The out
 * parameter comes first and is set to NULL on failure; a callback comes last, followed by its `void *arg`. Every call that can
 * fail returns a xonce_status, and xonce_error_last() says more. Text is UTF-8, NUL-terminated, and copied unless said otherwise. Times are
 * milliseconds since 1970-01-01 UTC, durations milliseconds. The library never prints, never exits, and touches no signal.
 * Only what stands in the headers of include/xonce is published. */
#ifndef XONCE_H
#define XONCE_H
#include <stddef.h>
#include <stdint.h>
#ifndef XONCE_API
#if defined(__GNUC__)
#define XONCE_API __attribute__((visibility("default")))
#else
#define XONCE_API
#endif
#endif
#if defined(__GNUC__)
#define XONCE_PRINTF_(f, a) __attribute__((format(printf, f, a)))
#else
#define XONCE_PRINTF_(f, a)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* The version of these headers. xonce_version() has that of the library in use. */
#define XONCE_VERSION "0.1.0"

typedef struct xonce_config xonce_config;     /* settings: text keys and values */
typedef struct xonce_message xonce_message;   /* one message */
typedef struct xonce_batch xonce_batch;       /* the fresh messages of one transaction */
typedef struct xonce_store xonce_store;       /* a database: connections, record table, dialect */
typedef struct xonce_tx xonce_tx;             /* one open transaction */
typedef struct xonce_row xonce_row;           /* a result row inside xonce_query's callback */
typedef struct xonce_source xonce_source;     /* where messages come from and acks go */
typedef struct xonce_consumer xonce_consumer; /* source + store + handlers + workers + pruner */
typedef struct xonce_producer xonce_producer; /* sends messages */

/* ---- xonce_errors(3): what failed and why, and where log lines go ---------------------------------------------------------------- */

/* What a call that can fail returns. xonce_status_name() has each as a word. */
typedef enum {
    XONCE_OK = 0,           /* done */
    XONCE_E_INVALID,        /* an argument, a setting, a name or an input is wrong; nothing was done */
    XONCE_E_NOMEM,          /* out of memory */
    XONCE_E_CONNECT,        /* the database or the endpoint cannot be reached, or went away */
    XONCE_E_AUTH,           /* credentials refused, or a right is missing */
    XONCE_E_SQL,            /* the database refused a statement */
    XONCE_E_SCHEMA,         /* the record table is missing or unsafe: see xonce_store_check() */
    XONCE_E_CONFLICT,       /* deadlock, serialization failure, lock timeout: safe to run again */
    XONCE_E_TX_LOST,        /* the handler ended the transaction */
    XONCE_E_UNKNOWN_COMMIT, /* the connection broke during COMMIT and could not be asked again */
    XONCE_E_PROTOCOL,       /* the other side answered what it should not */
    XONCE_E_TIMEOUT,        /* not done in time */
    XONCE_E_CLOSED,         /* the object is stopping or closed */
    XONCE_E_NOT_FOUND,      /* what was asked for is not there */
    XONCE_E_FENCED          /* another member of the group has taken the queue over: nothing was applied */
} xonce_status;

/* What xonce_error_last() tells. */
typedef struct {
    xonce_status code; /* what the call returned */
    int again;        /* 1: the same call may be run again as it is */
    int native;       /* the driver's or HTTP's own number, 0 when there is none */
    char sqlstate[6]; /* "" when there is none */
    char text[512];   /* what, where, what to do; never a secret */
} xonce_error;

/* The last error of this thread. Never NULL; valid until the thread's next call into the library. Unchanged by calls that succeed. */
XONCE_API const xonce_error *xonce_error_last(void);
/* "ok", "invalid", "conflict"... Never NULL, static. */
XONCE_API const char *xonce_status_name(xonce_status code);
/* The version of the library at run time, as XONCE_VERSION. */
XONCE_API const char *xonce_version(void);

/* The levels of log lines. */
enum { XONCE_LOG_ERROR = 0, XONCE_LOG_WARN = 1, XONCE_LOG_INFO = 2, XONCE_LOG_DEBUG = 3 };
/* Where log lines go: fn(level, area, text, arg) with one line, no newline. Called from any thread, not concurrently. NULL (the start
   value) drops them. Not to be called from inside fn. */
XONCE_API void xonce_set_log(void (*fn)(int level, const char *area, const char *text, void *arg), void *arg);
/* Writes log lines as the keys log.* of cfg say (xonce.conf(5)): to log.file, or to standard error, up to log.level. cfg may be NULL; it is not kept. Takes the place of what xonce_set_log() or an
   earlier call said, and the other way round; called again it opens the file anew. XONCE_E_INVALID: the file cannot be opened; nothing has changed then. */
XONCE_API xonce_status xonce_log_open(const xonce_config *cfg);
/* Lines above this level (XONCE_LOG_*) are dropped from here on: at first none for xonce_set_log(), those above log.level for xonce_log_open(). Returns the level before; one that is none (-1) only asks.
   Any thread, also a signal handler. */
XONCE_API int xonce_log_level(int level);

/* ---- xonce_config(3): settings --------------------------------------------------------------------------------------------------- */

/* An empty configuration: every key has its default. Keys, units, ranges and defaults: xonce.conf(5). */
XONCE_API xonce_status xonce_config_new(xonce_config **out);
/* Sets a key. Durations take "250ms" "30s" "5m" "4d", sizes "64k" "512M". XONCE_E_INVALID for an unknown key (the text names the nearest)
   or a value out of range (the text names the range). Java SDK names (ConsumeThreadNums...) are taken as aliases. */
XONCE_API xonce_status xonce_config_set(xonce_config *c, const char *key, const char *value);
/* Reads "key = value" lines; '#' starts a comment, ${NAME} is an environment variable (unset = error). Sections of xonce consume ([consume], [subscription NAME], [store NAME]) are passed over. Errors
   name file and line; the configuration is unchanged then. */
XONCE_API xonce_status xonce_config_load(xonce_config *c, const char *path);
/* Sets each key whose environment variable is there and not empty: XONCE_BATCH_MAX for batch.max, dots and hyphens being underscores. XONCE_E_INVALID names the variable; the configuration is unchanged then. */
XONCE_API xonce_status xonce_config_env(xonce_config *c);
/* Frees it; who was given it has a copy. NULL is fine. */
XONCE_API void xonce_config_free(xonce_config *c);

/* ---- xonce_messages(3): making and reading messages ------------------------------------------------------------------------------ */

/* A message of your own making, to send or to claim. topic and id are copied, body too. id is what makes two deliveries the same message; for
   sending it may be NULL. XONCE_E_INVALID: topic empty or longer than 255 bytes, id empty. */
XONCE_API xonce_status xonce_message_new(xonce_message **out, const char *topic, const char *id, const void *body, size_t len);
/* As xonce_message_new, but body stays the caller's and must live until release(owner) is called, once, when the message is freed. release may be
   NULL. On failure release is not called. */
XONCE_API xonce_status xonce_message_wrap(xonce_message **out, const char *topic, const char *id, const void *body, size_t len,
                                          void (*release)(void *owner), void *owner);
/* A deep copy that owns all it holds; its owner is NULL. */
XONCE_API xonce_status xonce_message_copy(xonce_message **out, const xonce_message *m);
/* Says where the message stood: broker name, queue number, offset in the queue. They are recorded with the claim; unknown ones are "" and -1. */
XONCE_API xonce_status xonce_message_set_origin(xonce_message *m, const char *broker, int32_t queue, int64_t offset);
/* Adds or replaces a property, of 8192 at most. name is not empty, neither holds a NUL. Known names: TAGS, KEYS, __SHARDINGKEY, __STARTDELIVERTIME (ms UTC),
   __TransCheckT (s), EXTEND_UNIQ_INFO, UNIQ_KEY. What a protocol cannot carry is refused when sending. */
XONCE_API xonce_status xonce_message_set_property(xonce_message *m, const char *name, const char *value);
/* Sets the number of this delivery, from 1 (the default of a new message). At the configured `attempts` a failing message is rejected. */
XONCE_API xonce_status xonce_message_set_attempt(xonce_message *m, int attempt);
/* Getters never fail; text lives as long as the message. */
XONCE_API const char *xonce_message_id(const xonce_message *m);    /* "" when none was given */
XONCE_API const char *xonce_message_topic(const xonce_message *m); /* never empty */
XONCE_API const void *xonce_message_body(const xonce_message *m, size_t *len); /* never NULL; a NUL stands behind len bytes when the library copied it */
XONCE_API const char *xonce_message_property(const xonce_message *m, const char *name); /* NULL when absent */
/* Calls fn for each property in the order set. */
XONCE_API void xonce_message_each_property(const xonce_message *m, void (*fn)(const char *name, const char *value, void *arg), void *arg);
/* Two properties by their use. */
XONCE_API const char *xonce_message_tag(const xonce_message *m); /* property TAGS, "" when absent */
XONCE_API const char *xonce_message_key(const xonce_message *m); /* property KEYS, "" when absent */
/* The offset, -1 when unknown; broker ("" when unknown) and queue (-1) are set when not NULL. */
XONCE_API int64_t xonce_message_offset(const xonce_message *m, const char **broker, int32_t *queue);
/* The number of this delivery, from 1. */
XONCE_API int xonce_message_attempt(const xonce_message *m);
/* The W3C trace context that the message was sent with: its property traceparent (in any case), "00-" 32 hex "-" 16 hex "-" 2 hex, checked; NULL when it has none or an invalid one. */
XONCE_API const char *xonce_message_traceparent(const xonce_message *m);
/* When the broker stored it, ms UTC; -1 when unknown. */
XONCE_API int64_t xonce_message_store_time(const xonce_message *m);
/* What was given to xonce_message_wrap() as owner: a delivery tag, a rd_kafka_message_t. NULL for other messages. */
XONCE_API void *xonce_message_owner(const xonce_message *m);
/* Frees the message, and calls release of xonce_message_wrap(). NULL is fine. Not for messages that the library lends to a handler or another callback. */
XONCE_API void xonce_message_free(xonce_message *m);

/* ---- xonce_handlers(3): what a handler is given, and its verdict ----------------------------------------------------------------- */

/* A handler runs with the claim already inserted and the transaction open: it never sees a duplicate. It makes its writes through tx and
   returns a verdict. It must not BEGIN, COMMIT, ROLLBACK or (MySQL) run DDL; savepoints of its own are fine. It may be called again for the same
   message (after a deadlock, or when another message of the batch failed): its SQL takes effect once, so keep other effects out. m is valid until
   it returns. A tx is used by one thread at a time; arg is shared by all workers. */

/* What a handler returns. */
typedef enum {
    XONCE_DONE,  /* commit, acknowledge */
    XONCE_RETRY, /* roll back, let the message come again */
    XONCE_REJECT /* roll back, keep the message in xonce_rejected with the reason of xonce_fail(), acknowledge */
} xonce_verdict;
/* What became of a message. Acknowledge it unless it is XONCE_DEFERRED. */
typedef enum {
    XONCE_FRESH,     /* applied now and committed */
    XONCE_DUPLICATE, /* was applied before; nothing was done */
    XONCE_REJECTED,  /* stands in xonce_rejected */
    XONCE_DEFERRED   /* nothing was done: do not acknowledge, let it come again */
} xonce_outcome;
/* A handler for one message. */
typedef xonce_verdict (*xonce_handler)(xonce_tx *tx, const xonce_message *m, void *arg);
/* A batch handler gets all fresh messages of a transaction at once, duplicates taken out, in delivery order. XONCE_DONE commits all but those
   rejected or put off with the two functions below. On XONCE_RETRY or a failed statement the batch is run again in halves until the one at
   fault is found. XONCE_REJECT rejects all. */
typedef xonce_verdict (*xonce_batch_handler)(xonce_tx *tx, xonce_batch *batch, void *arg);
/* The messages of a batch, numbered from 0. */
XONCE_API size_t xonce_batch_count(const xonce_batch *b);
XONCE_API const xonce_message *xonce_batch_at(const xonce_batch *b, size_t i); /* NULL out of range */
/* Takes message i out of the batch, with a reason for the log and the rejected table. The transaction is rolled back when the handler returns, and the
   handler called again without it. */
XONCE_API void xonce_batch_reject(xonce_batch *b, size_t i, const char *reason);
XONCE_API void xonce_batch_retry(xonce_batch *b, size_t i, const char *reason);

/* ---- xonce_store(3): a database for one consumer group, and each message once in one call ---------------------------------------- */

/* Opens a database for one consumer group: 1 to 128 bytes of letters, digits, _ - % |. Connects once to learn version and table; further connections are opened when needed and kept. cfg is
   copied and may be NULL. The schema is never changed here. A missing table is found by the first claim or by xonce_store_check(). XONCE_E_INVALID: uri or group is wrong; XONCE_E_CONNECT: the
   database cannot be reached; XONCE_E_AUTH: it lets nobody in by this name. The URI is one of:

   sqlite:FILE[?mode=ro]

   postgresql://[user[:password]@][host][:port]/db[?libpq keys]

   mysql://user[:password]@host[:port]/db[?socket=PATH&defaults-file=F&ssl-ca=F&ssl-verify=0] */
XONCE_API xonce_status xonce_store_open(xonce_store **out, const char *uri, const char *group, const xonce_config *cfg);
/* Opens the same database for another group, sharing the connections of base. Close it before base. */
XONCE_API xonce_status xonce_store_for_group(xonce_store **out, xonce_store *base, const char *group);
/* A finding of xonce_store_check(). */
typedef struct {
    size_t size;      /* of this struct, as the library has it */
    int severity;     /* 0 note, 1 slow or unwise, 2 unsafe: messages can be lost or applied twice, 3 does not work */
    const char *what; /* the finding, one line */
    const char *why;  /* what happens because of it */
    const char *sql;  /* the exact statement or setting that mends it; "" when there is none */
} xonce_finding;
/* Looks at table, columns, keys, collation, engine, rights, settings, durability and clock, and calls fn for each finding (texts valid during the
   call). Changes nothing. XONCE_OK means that all could be looked at, not that nothing was found. */
XONCE_API xonce_status xonce_store_check(xonce_store *s, void (*fn)(const xonce_finding *f, void *arg), void *arg);
/* Creates what is missing, and adds our columns and tables to an existing vendor table. Needs the right to create tables; consuming does not. */
XONCE_API xonce_status xonce_store_upgrade(xonce_store *s);
/* Tells the SQL that xonce_store_upgrade() runs on an empty database of the URI's kind, for fn piece by piece. Needs no connection. */
XONCE_API xonce_status xonce_store_print_schema(const char *uri, void (*fn)(const char *sql, void *arg), void *arg);
/* Deletes at most max_rows (0 = no bound) records of this group older than keep_ms before the caught-up watermark, in paced small transactions of its own.
   One pruner a database at a time: when another runs, *deleted is 0 and XONCE_E_CONFLICT is returned. XONCE_E_INVALID when keep_ms is below the floor
   (24 h, or 6 h where positions of queues are kept, and the handler timeout) or when database and local clock differ by more than 5 min. Without a watermark nothing is deleted. A record that has a
   place in a queue is deleted only when a row of xonce_settled covers it. prune.unsafe lifts floor and watermark. */
XONCE_API xonce_status xonce_store_prune(xonce_store *s, int64_t keep_ms, int max_rows, int64_t *deleted);
/* For loops without a xonce_consumer: says that at this moment everything delivered to this group was settled and nothing older waits in the source.
   Moves the caught-up watermark to the database's now. Pruning counts age from there, never from the wall clock, so an outage forgets nothing. */
XONCE_API xonce_status xonce_store_caught_up(xonce_store *s);
/* Tells when the message with this id was applied (ms UTC, database clock). XONCE_E_NOT_FOUND when this group has no record of it. */
XONCE_API xonce_status xonce_store_seen(xonce_store *s, const char *id, int64_t *applied_ms);
/* Sets a function that makes the id of a message from its content, a business key. It writes a NUL-terminated text into id and returns XONCE_OK; anything else
   rejects the message with the reason of xonce_error_last() or of the function's status. Called from any worker. Set before first use. */
typedef xonce_status (*xonce_identify_fn)(const xonce_message *m, char *id, size_t size, void *arg);
XONCE_API xonce_status xonce_store_identify(xonce_store *s, xonce_identify_fn fn, void *arg);
/* State of yours per worker thread and per connection. connected runs on each new connection outside any message (PREPARE, SET); native is good for
   the accessors of postgres.h, mysql.h, sqlite.h. Each may be NULL. A status other than XONCE_OK fails the connection or worker. */
typedef struct {
    size_t size; /* sizeof(xonce_hooks) */
    xonce_status (*worker_start)(void *arg, void **worker);
    void (*worker_end)(void *arg, void *worker);
    xonce_status (*connected)(void *arg, xonce_tx *native, void **conn);
    void (*disconnected)(void *arg, void *conn);
} xonce_hooks;
XONCE_API xonce_status xonce_store_hooks(xonce_store *s, const xonce_hooks *hooks, void *arg);
/* Closes all connections. No call may be running. */
XONCE_API void xonce_store_close(xonce_store *s);

/* The whole promise in one call, for any source: claim, handler, commit; run again on deadlock, serialization failure and lost connection; an unknown COMMIT
   settled by claiming again; a rejected message written to xonce_rejected. On XONCE_OK *what says what became of the message. Any other status leaves *what
   XONCE_DEFERRED: nothing is known to be done, the message must come again. Thread-safe: up to `store.connections` calls run at once, others wait. */
XONCE_API xonce_status xonce_once(xonce_store *s, const xonce_message *m, xonce_handler fn, void *arg, xonce_outcome *what);
/* The same for n messages in one transaction; what has n elements. A copy inside the batch is a duplicate once its twin
   is applied, and rejected or deferred with it. */
XONCE_API xonce_status xonce_once_batch(xonce_store *s, const xonce_message *const *m, size_t n, xonce_batch_handler fn, void *arg,
                                        xonce_outcome *what);

/* ---- xonce_tx(3): transactions, step by step ------------------------------------------------------------------------------------- */

/* Opens a transaction on a connection of the store. */
XONCE_API xonce_status xonce_tx_begin(xonce_store *s, xonce_tx **out);
/* Claims n messages: what[i] is XONCE_FRESH (do your writes) or XONCE_DUPLICATE. Waits while another open transaction holds the same id. After an error the
   transaction must be rolled back. May be called several times. */
XONCE_API xonce_status xonce_tx_claim(xonce_tx *tx, const xonce_message *const *m, size_t n, xonce_outcome *what);
/* Commits. tx is gone, also on failure. XONCE_E_UNKNOWN_COMMIT: begin and claim again, the key answers. */
XONCE_API xonce_status xonce_tx_commit(xonce_tx *tx);
/* For a joined transaction (xonce_join_postgres, _mysql, _sqlite): sends what is queued and lets go; the user commits. tx is gone, also on failure. */
XONCE_API xonce_status xonce_tx_leave(xonce_tx *tx);
/* Rolls back (of a joined transaction: lets go only) and frees tx. NULL is fine. */
XONCE_API void xonce_tx_rollback(xonce_tx *tx);
/* 1 when a stop was asked for: a long handler should return XONCE_RETRY soon. */
XONCE_API int xonce_tx_stopping(const xonce_tx *tx);
/* Milliseconds until the source gives the message to another consumer; 0 or less: already possible; INT64_MAX: the source has no such time. */
XONCE_API int64_t xonce_tx_remaining_ms(const xonce_tx *tx);
/* Your state of xonce_store_hooks(). */
XONCE_API void *xonce_tx_worker(const xonce_tx *tx);     /* what hooks.worker_start made for this thread, else NULL */
XONCE_API void *xonce_tx_connection(const xonce_tx *tx); /* what hooks.connected made for this connection, else NULL */
/* Says why this message fails, for the log and the rejected table. The last call before the handler returns counts. */
XONCE_API void xonce_fail(xonce_tx *tx, const char *fmt, ...) XONCE_PRINTF_(2, 3);

/* ---- xonce_sql(3): statements and queries for every database --------------------------------------------------------------------- */

/* Parameters are $1..$n in every dialect and always bound: xonce_exec(tx, "INSERT INTO t VALUES ($1, $2)", xonce_text(s), xonce_int(7)).
   Quoted text, comments, dollar quotes and :: casts are left alone. One statement a call. */

/* What a value is. */
typedef enum {
    XONCE_NULL,
    XONCE_INT,
    XONCE_REAL,
    XONCE_BOOL,
    XONCE_TEXT,
    XONCE_DECIMAL, /* digits as text */
    XONCE_TIME,    /* ms UTC */
    XONCE_BLOB
} xonce_kind;
/* A parameter, made by one of the functions below. */
typedef struct {
    xonce_kind kind;
    size_t len;        /* of text, digits and blobs */
    union {
        int64_t i;     /* XONCE_INT, XONCE_BOOL, XONCE_TIME */
        double d;      /* XONCE_REAL */
        const void *p; /* XONCE_TEXT, XONCE_DECIMAL, XONCE_BLOB: borrowed until the call that is given the value returns */
    } v;
} xonce_value;
/* Make parameters. Texts, digits, blobs and bodies are not copied here but by the call that is given the value; a NULL pointer is SQL's NULL. */
static inline xonce_value xonce_null(void) { xonce_value x; x.kind = XONCE_NULL; x.len = 0; x.v.p = NULL; return x; }
static inline xonce_value xonce_int(int64_t i) { xonce_value x; x.kind = XONCE_INT; x.len = 0; x.v.i = i; return x; }
static inline xonce_value xonce_bool(int b) { xonce_value x; x.kind = XONCE_BOOL; x.len = 0; x.v.i = b != 0; return x; }
static inline xonce_value xonce_real(double d) { xonce_value x; x.kind = XONCE_REAL; x.len = 0; x.v.d = d; return x; }
static inline xonce_value xonce_time(int64_t ms) { xonce_value x; x.kind = XONCE_TIME; x.len = 0; x.v.i = ms; return x; }
static inline xonce_value xonce_text_n(const char *s, size_t n) { xonce_value x; x.kind = s ? XONCE_TEXT : XONCE_NULL; x.len = n; x.v.p = s; return x; }
static inline xonce_value xonce_blob(const void *p, size_t n) { xonce_value x; x.kind = p ? XONCE_BLOB : XONCE_NULL; x.len = n; x.v.p = p; return x; }
XONCE_API xonce_value xonce_text(const char *s);         /* NULL is SQL NULL */
XONCE_API xonce_value xonce_decimal(const char *digits); /* a number as its digits, never through a double */
XONCE_API xonce_value xonce_body(const xonce_message *m); /* the body as text when it is UTF-8 without NUL, else as a blob */
/* Queues a statement; it is sent at the latest before the commit, together with others (a PostgreSQL pipeline, MariaDB bulk arrays; SQLite runs it at
   once). XONCE_OK means accepted. When it fails, its message fails as if the handler had returned XONCE_RETRY, and the error names the statement.
   v is copied. Transaction control statements are refused with XONCE_E_INVALID. */
XONCE_API xonce_status xonce_exec_values(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n);
/* Sends what is queued and this statement, and waits. *changed (may be NULL) is the number of rows. After a failure PostgreSQL's transaction takes no further
   statement: return XONCE_RETRY or XONCE_REJECT. */
XONCE_API xonce_status xonce_exec_now(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, int64_t *changed);
/* Sends what is queued, waits, and reports the first failure here. */
XONCE_API xonce_status xonce_tx_flush(xonce_tx *tx);
/* Flushes, runs a query and calls fn for each row; fn returns 0 to go on, anything else to stop early (still XONCE_OK). No call on tx inside fn. */
XONCE_API xonce_status xonce_query(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n, int (*fn)(const xonce_row *r, void *arg), void *arg);
/* Read the row that xonce_query() has given to its callback. Columns count from 0; what is out of range or NULL reads as 0, "" and NULL. Text and blobs are valid during the callback. */
XONCE_API int xonce_row_columns(const xonce_row *r);
XONCE_API int xonce_row_is_null(const xonce_row *r, int column);
XONCE_API int64_t xonce_row_int(const xonce_row *r, int column);
XONCE_API const char *xonce_row_text(const xonce_row *r, int column);
XONCE_API const void *xonce_row_blob(const xonce_row *r, int column, size_t *len);
#define XONCE_COUNT_(a) (sizeof(a) / sizeof(xonce_value))
#ifndef __cplusplus
/* As xonce_exec_values() with the parameters in the call: xonce_exec(tx, "UPDATE t SET a = $1 WHERE id = $2", xonce_text(a), xonce_int(7)). In C a macro, whose null at the end keeps the
   list non-empty, so that xonce_exec(tx, "DELETE FROM t") is ISO C99; in C++ a function that takes them as a list: xonce_exec(tx, "INSERT INTO t VALUES ($1)", {xonce_int(7)}). */
#define xonce_exec(tx, ...) XONCE_EXEC_(tx, __VA_ARGS__, xonce_null())
#define XONCE_EXEC_(tx, sql, ...)                                                                                                  \
    xonce_exec_values((tx), (sql), (const xonce_value[]){__VA_ARGS__}, XONCE_COUNT_(((const xonce_value[]){__VA_ARGS__})) - 1)
#endif

/* ---- xonce_source(3): where messages come from ----------------------------------------------------------------------------------- */

/* The functions of a source of your own (Kafka, AMQP, NATS, a webhook). Every function runs on one thread of the library's, never two at once, except wake. */
typedef struct {
    size_t size;    /* sizeof(xonce_source_ops) */
    unsigned flags; /* XONCE_SOURCE_CUMULATIVE */
    /* Called once per xonce_on before the first poll. tags "" or "*" is everything. */
    xonce_status (*subscribe)(void *self, const char *group, const char *topic, const char *tags);
    /* At most max messages within timeout_ms (0 = what is there). *n = 0 is fine. The messages become the library's. An error is logged and the poll repeated
       after a pause. */
    xonce_status (*poll)(void *self, size_t max, int timeout_ms, xonce_message **out, size_t *n);
    /* These are done. each (n elements, XONCE_OK at the call) takes a status per message; the message is freed after. */
    xonce_status (*ack)(void *self, const xonce_message *const *m, size_t n, xonce_status *each);
    /* Come again after delay_ms (a wish). May be NULL: the message comes when its time is up (of a cumulative source it is kept here and run again). */
    xonce_status (*nack)(void *self, const xonce_message *m, int64_t delay_ms);
    /* Keep m from others for ms more; called every 10 s for messages that are still in work. May be NULL. */
    xonce_status (*extend)(void *self, const xonce_message *m, int64_t ms);
    void (*wake)(void *self);  /* any thread: let a waiting poll return soon. May be NULL: then polls use short timeouts */
    void (*close)(void *self); /* once, after the last call. May be NULL */
} xonce_source_ops;
/* A flag of xonce_source_ops: ack gets, per queue, only the last message of a gapless settled run (Kafka's offsets). */
#define XONCE_SOURCE_CUMULATIVE 1u
/* Opens a source of messages. Does not connect yet. The URI is one of:

   http://host[:port][?instance=MQ_INST_x] or https://: the RocketMQ HTTP protocol. Credentials come from cfg (credentials.*), the environment
   (ALIBABA_CLOUD_ACCESS_KEY_ID, _SECRET, ALIBABA_CLOUD_SECURITY_TOKEN) or cfg's credentials.file; in a URI they are refused; without any only an endpoint on a loopback address is asked, unsigned.

   rocketmq://host[:port][;host[:port]]...[?instance=N]: the name servers of an Apache RocketMQ cluster (4.9, 5.x, the cloud's TCP endpoints); port 9876 unless given, [v6] in brackets.
   Where a queue is read from, how members share queues and what retries do: docs/rocketmq.md. */
XONCE_API xonce_status xonce_source_open(xonce_source **out, const char *uri, const xonce_config *cfg);
/* For the functions of a source of your own: makes this the thread's last error, so that the log says why, and returns code: return xonce_set_error(XONCE_E_CONNECT, "no broker at %s", host). */
XONCE_API xonce_status xonce_set_error(xonce_status code, const char *fmt, ...) XONCE_PRINTF_(2, 3);
/* A source of your own: ops is copied, self handed to each of its functions. */
XONCE_API xonce_status xonce_source_custom(xonce_source **out, const xonce_source_ops *ops, void *self);
/* The consumer that uses it must be freed before. */
XONCE_API void xonce_source_close(xonce_source *s);

/* ---- xonce_consumer(3): takes messages from a source and runs handlers, each message once ---------------------------------------- */

/* A consumer that does not run yet. Borrows store and source, which must outlive it; the group is the store's. cfg is copied and may be NULL. */
XONCE_API xonce_status xonce_consumer_new(xonce_consumer **out, xonce_store *store, xonce_source *source, const xonce_config *cfg);
/* Subscribes a handler: once per topic, before start. tags: "a||b", "" or "*" for all. XONCE_E_INVALID for a topic twice. Messages of a topic run concurrently on
   the workers, in batches of up to batch.max a transaction. */
XONCE_API xonce_status xonce_on(xonce_consumer *c, const char *topic, const char *tags, xonce_handler fn, void *arg);
XONCE_API xonce_status xonce_on_batch(xonce_consumer *c, const char *topic, const char *tags, xonce_batch_handler fn, void *arg);
/* Subscribes a handler that runs in order per lane (property __SHARDINGKEY, else queue): one message of a lane at a time; XONCE_RETRY suspends its lane and tries again in place. */
XONCE_API xonce_status xonce_on_ordered(xonce_consumer *c, const char *topic, const char *tags, xonce_handler fn, void *arg);
/* How the messages of a topic are claimed. All members of the group must claim a topic alike. */
typedef enum {
    /* A row of transaction_record for each message, the default. It also knows a message that was sent twice. */
    XONCE_CLAIM_RECORD = 0,
    /* The queue's row of xonce_settled moves behind the message in the same transaction; no row a message, nothing to prune. The messages of a queue then run in order, one transaction of a queue
       at a time; XONCE_RETRY suspends the queue and tries again in place, at `attempts` the message is rejected; copies that a producer sent twice are two messages. */
    XONCE_CLAIM_OFFSET = 1
} xonce_claim_mode;
/* Sets how a topic is claimed. After the topic was subscribed, before start; else config `claim` says it for all topics. XONCE_E_NOT_FOUND: it is not subscribed; XONCE_E_INVALID: the source has no offsets (it is not rocketmq://). */
XONCE_API xonce_status xonce_on_claim(xonce_consumer *c, const char *topic, xonce_claim_mode mode);
/* Which of several databases a message belongs to: an index into the stores of xonce_on_stores. It must follow from the message alone and stay the same for good: a message that is sent elsewhere when it comes
   again is applied there too. Out of range is the first; let its handler reject what belongs nowhere. Called on a thread of the consumer's, and by your handler if it wants to know. */
typedef size_t (*xonce_route_fn)(const xonce_message *m, void *arg);
/* The messages of a topic go to these databases instead of the consumer's own: all to stores[0], or, with n > 1, each to stores[fn(m, arg)]. After the topic was subscribed, before start, once per topic.
   The stores are borrowed, like the consumer's own, and of the same group. Each has its own records, watermark and pruning. One that is down holds up its own messages only: what is more than a part of the memory goes back to the source, to come again.
   Positions of a rocketmq:// source are kept in the topic's first store. XONCE_E_INVALID with xonce_consumer_start: claim=offset and n > 1. XONCE_E_NOT_FOUND: the topic is not subscribed. */
XONCE_API xonce_status xonce_on_stores(xonce_consumer *c, const char *topic, xonce_store *const *stores, size_t n, xonce_route_fn fn, void *arg);
/* Runs until asked to stop, on threads of its own; the calling thread waits. XONCE_OK after an orderly stop; an error when it cannot go on (the table is missing, a
   right, the endpoint refuses the credentials): nothing is acknowledged then that was not committed. */
XONCE_API xonce_status xonce_consumer_run(xonce_consumer *c);
/* Starts the threads and returns. */
XONCE_API xonce_status xonce_consumer_start(xonce_consumer *c);
/* Asks for a stop and returns at once: polling ends, what runs is finished, and xonce_consumer_run() returns; after xonce_consumer_start() call xonce_consumer_stop() as well. Async-signal-safe: may be
   called from a signal handler. */
XONCE_API void xonce_consumer_ask_stop(xonce_consumer *c);
/* Stops polling, finishes what runs, commits, settles, joins the threads. XONCE_E_TIMEOUT when handlers did not return within timeout_ms: their messages come again,
   and the consumer must not be freed until a later stop succeeds. Not from a handler, not from a signal handler. */
XONCE_API xonce_status xonce_consumer_stop(xonce_consumer *c, int64_t timeout_ms);
/* Takes over what differs in cfg (NULL: all defaults) from the settings in force and can change while the consumer runs: workers (up to as many as it was started with), batch.max, batch.linger, buffer.messages,
   buffer.size, prune.every, prune.window, prune.rate, and prune.keep when it grows. left, if not NULL, is called for each other key that differs: it holds after a restart. XONCE_E_INVALID, and
   nothing has changed: prune.keep is too short. Any thread; left runs in this one. */
XONCE_API xonce_status xonce_consumer_reconfigure(xonce_consumer *c, const xonce_config *cfg, void (*left)(const char *key, void *arg), void *arg);
/* What a consumer did since it was started. */
typedef struct {
    size_t size;              /* sizeof(xonce_counts), set by the caller */
    uint64_t polled;          /* messages that the source gave */
    uint64_t fresh;           /* applied and committed */
    uint64_t duplicate;       /* not applied, since they were before */
    uint64_t rejected;        /* written to xonce_rejected */
    uint64_t retried;         /* given back, to come again */
    uint64_t acked;           /* acknowledged */
    uint64_t ack_failed;      /* acknowledges that the source refused or that got lost: these come again, as duplicates */
    uint64_t conflicts;       /* messages held up by a deadlock, a serialization failure or a lock timeout */
    uint64_t unknown_commits; /* messages whose commit got no answer: the claim tells what became of them */
    uint64_t replayed;        /* rejected messages that were run again */
    uint64_t pruned;          /* records deleted because of their age */
    uint64_t in_flight;       /* polled and not settled */
    int64_t last_poll_ms;     /* since the last message arrived; -1 before the first */
    int healthy;              /* 0: the database or the source cannot be reached, or a handler broke its transaction */
} xonce_counts;
/* A snapshot. Thread-safe, while the consumer exists. */
XONCE_API xonce_status xonce_consumer_counts(xonce_consumer *c, xonce_counts *out);
/* Serves what there is to see of the consumer over HTTP, by threads of its own, until the consumer is freed: / is a page for people, /metrics for Prometheus, /healthz and /readyz for probes,
   /status.json everything. listen: "HOST:PORT" or "[HOST]:PORT", port 0: any free one; nothing but this address is listened on. Whoever reaches it may look: there are no passwords, nothing can be
   changed, and settings that are secrets are masked; but reasons and error texts are shown. A thread that waits for a database which does not answer is left behind when the consumer is freed, and ends by itself when
   the wait does: a program that unloads the library must not do so before. Before start or after, once. XONCE_E_INVALID: not HOST:PORT, or served already; XONCE_E_CONNECT: it cannot be
   listened on. docs/monitoring/README.md */
XONCE_API xonce_status xonce_consumer_status_listen(xonce_consumer *c, const char *listen);
/* "http://HOST:PORT", the consumer's; NULL when nothing is served. */
XONCE_API const char *xonce_consumer_status_address(xonce_consumer *c);
/* Frees it: after a stop, or when it was never started. NULL is fine. */
XONCE_API void xonce_consumer_free(xonce_consumer *c);

/* ---- xonce_producer(3): sends messages ------------------------------------------------------------------------------------------- */

/* Where a message that was sent is. */
typedef struct {
    size_t size;      /* sizeof(xonce_sent), set by the caller */
    char id[256];     /* the message's id: that of the endpoint (HTTP), its UNIQ_KEY (rocketmq) */
    char broker[128]; /* "" when the protocol does not tell (HTTP) */
    int32_t queue;    /* -1 likewise */
    int64_t offset;   /* -1 likewise, and of delayed messages and transactions: it is not known yet */
} xonce_sent;
/* What became of the local transaction that a half message stands for. */
typedef enum {
    XONCE_TRANSACTION_COMMIT,   /* it did commit: the message is delivered */
    XONCE_TRANSACTION_ROLLBACK, /* it never can any more: the message is dropped */
    XONCE_TRANSACTION_UNKNOWN   /* not known yet: the broker asks again */
} xonce_transaction_state;
/* A function that runs a local transaction, or knows what became of it. */
typedef xonce_transaction_state (*xonce_transaction_fn)(const xonce_message *m, void *arg);
/* Opens a producer. uri, credentials and cfg as for xonce_source_open(): http://, https:// or rocketmq://NAMESERVER[:PORT][;NAMESERVER...][?instance=NAMESPACE]. Does not
   connect yet. Thread-safe. Settings: send.timeout bounds each send, tries included; with rocketmq:// also send.retries, send.exactly-once (adds
   EXTEND_UNIQ_INFO), trace, rocketmq.compress-over, rocketmq.compression. */
XONCE_API xonce_status xonce_producer_open(xonce_producer **out, const char *uri, const xonce_config *cfg);
/* Sends and waits for the broker; out may be NULL. Ordered: property __SHARDINGKEY. XONCE_E_INVALID before anything is sent when the protocol cannot
   carry the message, naming the offending byte (HTTP: characters outside XML 1.0, ' " & < > | : in properties; RocketMQ: the bytes 1 and 2 in
   properties, more than 32767 bytes of them; both: an empty body, more than 4 MiB). XONCE_E_TIMEOUT and XONCE_E_CONNECT leave open whether the broker
   has it.

   Over HTTP a message is sent once. Over rocketmq:// it gets a UNIQ_KEY when it has none, which is what out->id says, and is tried again, on another
   broker where there is one, with the same UNIQ_KEY: the brokers may then hold it twice, and an exactly-once consumer applies it once. To send a
   message again after an error, give it a UNIQ_KEY of your own and keep it.

   Timed: __STARTDELIVERTIME (ms UTC), over HTTP and in the cloud as it is, to an own broker of 5.0 or later as TIMER_DELIVER_MS. rocketmq:// also takes
   one of DELAY, a level from 1 (1s 5s 10s 30s 1m 2m ... 10m 20m 30m 1h 2h, as the broker is set up; above the last one it means the last),
   TIMER_DELAY_SEC, TIMER_DELAY_MS and TIMER_DELIVER_MS. A broker before 5.0 would deliver all but DELAY at once: XONCE_E_INVALID, it is not sent. */
XONCE_API xonce_status xonce_producer_send(xonce_producer *p, const xonce_message *m, xonce_sent *out);
/* Hears what became of a message: called once, on a thread of the library's, never inside the call that sent: sent is NULL unless st is XONCE_OK, and xonce_error_last() says why. It
   should return soon: those of a rocketmq:// producer are called one after the other. It may send, it must not close the producer. */
typedef void (*xonce_sent_fn)(xonce_status st, const xonce_sent *sent, void *arg);
/* As xonce_producer_send without waiting for the broker. m is copied. At most 1024 messages, or 64 MiB of bodies, are on their way at a time: the
   call waits for room, up to send.timeout (XONCE_E_TIMEOUT: not sent), but not inside done. It may wait for the route of a topic that is new to the
   producer. done is called only when XONCE_OK is returned. Messages sent one after the other may arrive in another order. */
XONCE_API xonce_status xonce_producer_send_async(xonce_producer *p, const xonce_message *m, xonce_sent_fn done, void *arg);
/* Sends without an answer: XONCE_OK says that it was given to a connection, and nothing of what became of it. Never tried again. rocketmq:// only:
   over HTTP each request has an answer. */
XONCE_API xonce_status xonce_producer_send_oneway(xonce_producer *p, const xonce_message *m);
/* Sends n messages of one topic in one request: all are stored, one behind the other in one queue, or none. *out (may be NULL) describes the first.
   XONCE_E_INVALID: delayed or timed messages, different sharding keys, more than 4 MiB in all. rocketmq:// only. */
XONCE_API xonce_status xonce_producer_send_batch(xonce_producer *p, const xonce_message *const *m, size_t n, xonce_sent *out);
/* Sends a half message, runs execute, then commits or rolls back; UNKNOWN leaves it to the check. Over HTTP m needs no __TransCheckT: the default is
   30 s. XONCE_OK: the half message was stored and execute was called; when its commit then fails on the way, the check decides: it is not sent twice,
   since two commits make two messages. Any other status: execute was not called. XONCE_E_INVALID before xonce_producer_on_check() was called for the
   topic: the commit is made in that group's name, and without a checker a half message could stay open for ever. rocketmq://: execute is given m with
   the UNIQ_KEY that its check will have, to be kept with what it writes; delays are refused; while execute runs, checks of it are put off. */
XONCE_API xonce_status xonce_producer_send_transaction(xonce_producer *p, const xonce_message *m, xonce_transaction_fn execute, void *arg, xonce_sent *out);
/* Starts a thread that asks check what became of half messages of this topic left open by members of this group (also by an earlier run). Once per
   topic. HTTP: it asks for them. rocketmq://: brokers bring them, to any one member of the group: all members must check the same topics. check must
   answer from what is durable: COMMIT when the local transaction did commit, ROLLBACK when it never can any more, UNKNOWN otherwise. It gets the
   message as stored. */
XONCE_API xonce_status xonce_producer_on_check(xonce_producer *p, const char *topic, const char *group, xonce_transaction_fn check, void *arg);
/* Waits for what is on its way, each for its send.timeout at most, and calls its done. No call may be running. */
XONCE_API void xonce_producer_close(xonce_producer *p);

#ifdef __cplusplus
}
#include <initializer_list>
inline xonce_status xonce_exec(xonce_tx *tx, const char *sql, std::initializer_list<xonce_value> v = {})
{
    return xonce_exec_values(tx, sql, v.begin(), v.size());
}
#endif
#endif
