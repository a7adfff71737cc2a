/* The endpoint's database file: schema, statements, loading. One connection writes (the writer thread), one reads bodies. */
#ifndef XO_STORAGE_H
#define XO_STORAGE_H
#include "endpoint/engine.h"
xonce_status xo_storage_open(xo_storage **out, const char *dir, int sync);
void xo_storage_close(xo_storage *s);
xonce_status xo_storage_load(xo_storage *s, xo_engine *e); /* all topics, groups, messages of the engine's instance */
/* In the writer's transaction; 0 or -1 (logged). */
int xo_storage_begin(xo_storage *s);
int xo_storage_commit(xo_storage *s);
void xo_storage_rollback(xo_storage *s);
int64_t xo_storage_transaction(const xo_storage *s); /* number of the running or last one; never 0 or 1 */
int xo_storage_topic(xo_storage *s, xo_topic *t); /* its row, when it is not there yet */
int xo_storage_group(xo_storage *s, xo_group *g);
typedef enum { XO_ROW_VISIBLE, XO_ROW_TIMED, XO_ROW_HALF } xo_row_state;
int xo_storage_insert(xo_storage *s, const xo_send *m, xo_row_state state);
int xo_storage_place(xo_storage *s, const xo_entry *e, int64_t pos, xo_row_state state); /* a timed or half message changes its state */
int xo_storage_delete(xo_storage *s, int64_t n);
typedef struct {
    int64_t pos, first;
    int times;
} xo_progress; /* of one message, as in xo_node */
int xo_storage_progress(xo_storage *s, int64_t group, const xo_progress *rows, size_t n, int done);
int xo_storage_floor(xo_storage *s, int64_t group, int64_t floor);
int xo_storage_counters(xo_storage *s, const xo_topic *t, const xo_counters *c);
/* A message's text for an answer; the caller frees it. */
typedef struct {
    char *memory;                  /* that all stand in */
    char *tag, *properties, *body; /* tag, properties NULL when absent */
    size_t body_len;
} xo_content;
/* Reads n of them under one lock, from any thread. A pruned row leaves its body NULL. -1: the database failed. */
int xo_storage_read(xo_storage *s, const xo_pick *picks, int n, xo_content *out);
void xo_content_free(xo_content *c);
#endif
