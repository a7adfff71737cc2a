/* What several commands do with a store: finding its URI, opening it, handlers from --sql and --exec. */
#ifndef XO_CLI_CONNECT_H
#define XO_CLI_CONNECT_H
#include "cli/exec.h"
#include "cli/options.h"
#include "cli/sqltemplate.h"
#include "store/store.h"

/* The options themselves, for the tables of the commands. */
#define XO_ARG_STORE(out) {"store", "URI", XO_ARG_TEXT, out, NULL, 0, 0, "sqlite:FILE, postgresql://..., mysql://...; default: $XONCE_STORE"}
#define XO_ARG_GROUP(out) {"group", "GROUP", XO_ARG_TEXT, out, NULL, 0, 0, "the consumer group"}
#define XO_ARG_JSON(out) {"json", NULL, XO_ARG_SWITCH, out, NULL, 0, 0, "print JSON"}
#define XO_ARG_VERBOSE(out) {"verbose", NULL, XO_ARG_SWITCH, out, NULL, 0, 0, "log more than warnings and errors"}
#define XO_ARG_INSTANCE(out) {"instance", "ID", XO_ARG_SETTING, out, "instance", 0, 0, "its instance id; in RocketMQ's words the namespace"}
#define XO_ARG_NAMESPACE(out) {"namespace", "ID", XO_ARG_SETTING, out, "instance", 0, 0, "another word for --instance"}
#define XO_ARG_CREDENTIALS(out) \
    {"credentials", "FILE", XO_ARG_SETTING, out, "credentials.file", 0, 0, "file with the access key; default: ALIBABA_CLOUD_ACCESS_KEY_ID, ..._SECRET"}
#define XO_ARG_SET(out) {"set", "KEY=VALUE", XO_ARG_SETTINGS, out, NULL, 0, 0, "any other setting of xonce.conf(5); may be given again and again"}
#define XO_ARG_CONFIG_FILE(out) {"config", "FILE", XO_ARG_CONFIG, out, NULL, 0, 0, "settings, as in xonce.conf(5); options win over them"}

/* given, else $XONCE_STORE; NULL (after telling) when there is none. */
const char *xo_store_uri(const xo_usage *u, const char *given);
/* XO_GO_ON, or the exit code after telling what failed: XO_EXIT_USAGE when URI or group are wrong. cfg may be NULL. */
int xo_store_connect(xonce_store **out, const char *uri, const char *group, const xonce_config *cfg);
/* The same without a word. xonce_store_open() would make the SQLite file of a mistyped URI, which is for init alone. */
xonce_status xo_store_existing(xonce_store **out, const char *uri, const char *group, const xonce_config *cfg);
/* Tells the last error, of opening this URI, with its password masked. Returns the exit code. */
int xo_store_refused(const char *uri);
/* The exit code for the last error of an opening: wrong arguments are a wrong use. Tells it on stderr. */
int xo_open_failed(const char *what);

/* A handler made from --sql or --exec, of which exactly one is not NULL. */
typedef struct {
    xonce_handler fn;
    void *arg;
    xo_template *sql;
    xo_exec_program program;
} xo_apply;
/* uri tells the dialect of sql. XO_GO_ON or an exit code, told. */
int xo_apply_make(xo_apply *a, const xo_usage *u, const char *uri, const char *sql, const char *exec, int64_t exec_timeout_ms);
/* Does the SQL fit the database? XO_GO_ON or an exit code, told. */
int xo_apply_try(const xo_apply *a, xonce_store *s);
void xo_apply_free(xo_apply *a);

enum { XO_EXEC_TIMEOUT_MS = 5 * 60 * 1000, XO_EXEC_TIMEOUT_MAX_MS = 179 * 60 * 1000 };
#endif
