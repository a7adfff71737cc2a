/* The store conformance suite: the same tests over each engine. */
#ifndef SUITE_H
#define SUITE_H
#include "base/clock.h"
#include "base/config.h"
#include "store/run.h"
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { ON_SQLITE, ON_POSTGRES, ON_MYSQL } engine;
extern const char *const suite_engine; /* one file each: on_sqlite.c, on_postgres.c, on_mysql.c, on_mysql_plain.c (MariaDB taken as MySQL), and ..._days.c with a partitioned table */
extern engine on;             /* the engine under test */
extern const char *store_uri; /* its database */
extern int partitioned;       /* transaction_record is split by day */

void fresh_database(void);                                       /* checked fixture: our tables and `orders`, all empty */
xonce_store *open_store(const char *group);                      /* or fails the test */
xonce_store *open_store_with(const char *group, const char *key, const char *value);
void sql(const char *text);                                      /* on a connection apart */
int64_t sql_int(const char *text);                               /* one number, the judge */
char *sql_text(const char *text);                                /* one text, caller frees */
xonce_message *message(const char *id, const char *body);        /* topic "orders" */
xonce_verdict book(xonce_tx *tx, const xonce_message *m, void *arg); /* INSERT INTO orders (id, body), queued */
int wait_until(int (*ready)(void *arg), void *arg, int64_t ms);  /* 1 when it came true */
int64_t orders(void);
int64_t records(void);
int64_t rejected(void);
xonce_outcome once(xonce_store *s, const char *id, const char *body);
void end_transaction_natively(xonce_tx *tx, const char *text);   /* runs text through the native handle */
void *connect_native(void);                                      /* a user's own connection, or the test fails */
void run_native(void *native, const char *text);
void disconnect_native(void *native);

Suite *suite_claims(void);
Suite *suite_batches(void);
Suite *suite_concurrency(void);
Suite *suite_escapes(void);
Suite *suite_rejects(void);
Suite *suite_refusals(void);
Suite *suite_breakers(void);
Suite *suite_corners(void);
Suite *suite_sources(void);
Suite *suite_positions(void);
Suite *suite_ranges(void);
Suite *suite_offset(void);
Suite *suite_ahead(void);
Suite *suite_takeout(void);
#endif
