/* What a database and the logs know of one message: for `xonce explain`. */
#ifndef XO_CLI_STORY_H
#define XO_CLI_STORY_H
#include "base/mem.h"
#include "store/store.h"

/* A row of transaction_record or xonce_rejected. Texts are the story's; numbers that are not known are -1. */
typedef struct {
    const char *id, *topic, *broker;
    int64_t queue, offset, stored_ms, at_ms; /* at: applied, or rejected */
    /* of a record */
    int64_t transaction, batch, committed_ms; /* where the engine tells: its number, how many records it wrote, when it committed */
    int collides;        /* another message under the same id: its record has an id of its own */
    /* of a rejected one */
    int64_t attempts, size, marked_ms;
    const char *reason, *trace;
    /* of both: its place in a queue is settled up to this offset; -1: no range holds it */
    int64_t settled_to;
} xo_story_row;
typedef struct {
    int64_t time;
    const char *level, *text, *cause, *reason, *trace;
    int64_t attempt, pid;
} xo_story_line;
typedef struct {
    xonce_store *store;
    const char *id;
    char key[256];               /* the message_id that was looked for */
    xo_arena memory;
    xo_story_row *records, *rejected;
    size_t nrecords, nrejected, cap_records, cap_rejected;
    int64_t watermark, updated;  /* ms; -1: there is none */
    int64_t now;                 /* the database's clock */
    int by_offset;               /* the group claims some queues by offset: their messages have no record */
    int partitioned, has_ours;
    const char *engine;
    xo_story_line *lines;
    size_t nlines, cap_lines;
    uint64_t files;              /* log files that were read */
    int failed;                  /* no memory */
} xo_story;

/* Fills it from the database. The story must be zeroed, but for store and id. */
xonce_status xo_story_read(xo_story *s);
/* story_log.c: adds what FILE, FILE.1, FILE.2 ... say about it, oldest first; whatever their format. XONCE_E_INVALID: FILE cannot be read. */
xonce_status xo_story_logs(xo_story *s, const char *path);
void xo_story_free(xo_story *s);
/* A copy in the story's memory; NULL of nothing or an empty one. */
const char *xo_story_text(xo_story *s, const char *text, size_t n);
#endif
