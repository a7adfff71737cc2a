/* What the tests of the PostgreSQL dialect share: a fresh database, connections, a judge on a connection of its own. */
#ifndef POSTGRES_HELP_H
#define POSTGRES_HELP_H
#include "store/dialect.h"
#include "store/schema_files.h"
#include <check.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const char *uri;
extern const xo_dialect *d;

int postgres_there(void); /* else the plan says that all is skipped */
int run_suite(Suite *s);
void fresh(void); /* fixture: our tables, all empty */
void tidy(void);
void sql(const char *text); /* by the judge */
int64_t number(const char *text);
xo_sql *make(const char *text);
xo_conn *open_conn(void);
xo_conn *open_conn_set(const char *key, const char *value); /* a setting of the configuration */
xo_conn *open_conn_with(const char *where, int64_t lock_ms, int64_t idle_ms);
xonce_status try_open(xo_conn **c, const char *where, int64_t connect_ms);
xonce_status exec_now(xo_conn *c, const char *text);
void commit(xo_conn *c);
PGconn *raw(void); /* a connection as a user has it */

#define ok(call) ck_assert_msg((call) == XONCE_OK, "%s: %s", #call, xonce_error_last()->text)
#define fails(call, status, cls)                                                                                       \
    do {                                                                                                               \
        xonce_status got_ = (call);                                                                                    \
        ck_assert_msg(got_ == (status) && ((status) == XONCE_OK || xo_error_class() == (cls)), "%s: %s, class %d: %s", \
                      #call, xonce_status_name(got_), (int)xo_error_class(), xonce_error_last()->text);                \
    } while (0)
#endif
