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
/* Where a message stands at its broker: what --at names. */
typedef struct {
    char *topic, *broker;        /* topic: NULL: no place is asked for */
    int64_t queue, offset;
} xo_story_place;
/* A row of xonce_settled, of the queue that is asked for. */
typedef struct {
    int64_t generation, first, next, last_stored, record_before; /* record_before: -1: its messages are claimed by record */
    const char *tags;
} xo_story_range;
typedef struct {
    xonce_store *store;
    const char *id;              /* when only a place is given: found there, or NULL */
    const xo_story_place *at;    /* NULL: the message is asked for by its id */
    const char *other;           /* another message that stood at the same place; NULL: none */
    xo_story_range *ranges;      /* of the place's queue, by generation */
    size_t nranges, cap_ranges;
    int64_t queues;              /* how many queues of the place's topic have such rows */
    char key[256];               /* the message_id that was looked for; "": none is known */
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

/* Fills it from the database. The story must be zeroed, but for store and id or at. */
xonce_status xo_story_read(xo_story *s);
/* story_place.c: reads TOPIC/BROKER/QUEUE/OFFSET; free it. */
xonce_status xo_story_place_parse(xo_story_place *p, const char *text);
void xo_story_place_free(xo_story_place *p);
/* Sets id, key and other by the records of the place, and the ranges of its queue; has_ours is known. */
xonce_status xo_story_at(xo_story *s);
/* The youngest row that holds the place's offset; sent: when its message was sent, -1: not known. NULL: none does. */
const xo_story_range *xo_story_holds(const xo_story *s, int64_t sent);
/* story_log.c: adds what FILE, FILE.1, FILE.2 ... say about it, oldest first; whatever their format. XONCE_E_INVALID: FILE cannot be read. */
xonce_status xo_story_logs(xo_story *s, const char *path);
void xo_story_free(xo_story *s);
/* A copy in the story's memory; NULL of nothing or an empty one. */
const char *xo_story_text(xo_story *s, const char *text, size_t n);
/* message_id without "#group": as the commands take it. */
const char *xo_story_id(xo_story *s, const char *key);

/* What it means, in sentences, and the whole story as JSON (story_json.c); pruned_before: ms, -1: nothing was. */
typedef struct {
    char *text[16];
    size_t n;
    int failed;
} xo_story_sentences;
void xo_story_json(const xo_story *s, const xo_story_sentences *w, const char *state, int64_t pruned_before);
#endif
