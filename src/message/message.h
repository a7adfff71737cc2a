/* One message as the library sees it, and its identity. */
#ifndef XO_MESSAGE_H
#define XO_MESSAGE_H
#include "base/error.h"
#include "base/mem.h"

typedef struct {
    char *name, *value;
} xo_property;
typedef struct xo_pack xo_pack;

struct xonce_message {
    char *topic, *id;
    const void *body;
    size_t body_len;
    void (*release)(void *owner); /* of a wrapped body */
    void *owner;
    char *own_body;               /* freed with it; NULL: the body is in the message's own block, its pack's or somebody else's */
    char *broker;                 /* "" when unknown */
    char *own_broker;             /* freed with it; NULL: as with the body */
    int32_t queue;                /* -1 when unknown */
    int64_t offset;               /* -1 when unknown */
    int64_t store_time;           /* ms UTC, -1 when unknown */
    int64_t born_time;            /* likewise: when it was sent, by the sender's clock; over HTTP when the endpoint took it */
    int64_t log_offset;           /* physical offset in the broker's log, -1 when unknown */
    int attempt;                  /* from 1 */
    xo_property *properties;
    size_t nproperties;
    size_t cap_properties;        /* 0: the list and its texts are the pack's, copied before they are changed */
    char body_md5[33];            /* upper-case hex as the broker gave it, "" when it did not */
    /* of a delivery */
    char *handle;                 /* receipt handle, NULL when the source has none */
    int64_t polled_boot;          /* xo_boot_ms() when it was taken from the source or made */
    int64_t expires_mono;         /* xo_mono_ms() from which the source may give it to another; INT64_MAX: never */
    int ordered;                  /* taken by an ordered poll */
    char *uniq;                   /* what makes two deliveries the same, as the source found out; NULL: what the properties say */
    char *refuse;                 /* not to be run but rejected, for this reason; NULL: an ordinary message */
    uint64_t mark;                /* the source's own: which of its queues it came from, and which time that was assigned */
    uint64_t delivery;            /* likewise, for traces: the number of this delivery, 0 when it is not traced; and xo_mono_ms() of it */
    int64_t handed_mono;
    int64_t copy_offset;          /* where this copy stands, when that is not where the original stood (a redelivery through a retry topic); else -1 */
    int64_t copy_log_offset;
    char *copy_topic, *copy_broker; /* of a copy out of a retry queue: that queue, whose ranges say whether this copy is settled; NULL for what came out of its own topic */
    int32_t copy_queue;
    int64_t copy_store_time;
    /* A claim by offset: settled is what the queue's row of this generation covers, once it is moved from between claim_from and offset to behind it, under this epoch. */
    int64_t claim_from, claim_generation, claim_epoch; /* claim_epoch -1: by record */
    int claim_record;             /* with claim_epoch >= 0: by record as well. Without: by record only, although its queue is claimed by offset */
    int failed, rejected;         /* set by the consumer before it is settled: its handler failed in this delivery; it stands in xonce_rejected */
    int fenced;                   /* likewise: its queue was taken over by another member */
    int put_off;                  /* likewise: nothing was tried, its database is down, and it takes the room of others' */
    int duplicate;                /* likewise: it was applied before */
    size_t place;                 /* the consumer's own: which of its topic's databases it belongs to */
    xo_pack *pack;                /* whose memory it is part of; NULL: it is a block of its own */
    struct xonce_message *next;   /* for queues of the library's; the holder's */
};

/* Sets a property from n bytes each. */
xonce_status xo_message_put(xonce_message *m, const char *name, size_t nname, const char *value, size_t nvalue);
/* The lane of an ordered message: __SHARDINGKEY, else, or when it is claimed by offset, "broker/queue". Writes at most size bytes. */
void xo_message_lane(const xonce_message *m, char *out, size_t size);

/* ---- pack.c: messages that came together share one memory: their structs, lists and texts, and the very bytes they arrived in, which bodies and properties point into. It is freed with the last of
   them, so one message keeps the bytes of all: whoever bounds memory counts `size` for as long as one of them is there. */
struct xo_pack {
    _Atomic size_t users;         /* its messages, and one for whoever fills it */
    xo_arena memory;
    struct xo_pack_block *blocks;
    size_t size;                  /* bytes of the blocks */
    size_t held;                  /* the holder's: how many of its messages are counted there */
    int64_t made_boot;            /* its messages' polled_boot */
};
/* room: about how many bytes of memory it will need, beside blocks. NULL: no memory. */
xo_pack *xo_pack_new(size_t room);
int xo_pack_keep(xo_pack *k, void *block, size_t n); /* a malloc'd block that is freed with the pack; 0: no memory, and it is the caller's still */
xonce_message *xo_pack_message(xo_pack *k);          /* an empty one: only what is not 0 in an unknown message is set. NULL: no memory */
void xo_pack_drop(xo_pack *k);                       /* a message less, or whoever filled it is done. NULL is fine */
void xo_message_defaults(xonce_message *m);          /* message.c: of a zeroed one */

/* ---- identity (docs/design.md "Record and identity"; the rules are in docs/guarantees.md) ---- */
enum { XO_KEY_SIZE = 256 };       /* a message_id column value with its NUL */
/* What makes two deliveries the same message: what the source found out (m->uniq), else EXTEND_UNIQ_INFO, else UNIQ_KEY (the first of two), else the id. NULL when it has none. */
const char *xo_message_uniq(const xonce_message *m, size_t *len);
/* The message_id column: "<uniq>#<group>". A uniq that is not [\x21-\x7e]{1,190}, that would not fit into the column together with
   its group, or that begins with "sha256:" itself is stored as "sha256:<64 hex>". */
xonce_status xo_identity_key(char out[XO_KEY_SIZE], const char *uniq, size_t nuniq, const char *group);
/* The same for another message under an id that is taken: "<uniq>~<12 hex of digest and topic>#<group>". */
xonce_status xo_identity_collision_key(char out[XO_KEY_SIZE], const char *uniq, size_t nuniq, const char *group, const char *digest, const char *topic);
/* The body's digest as stored: the MD5 in upper-case hex, 32 characters (the broker's when it gave one). */
xonce_status xo_message_digest(const xonce_message *m, char out[33]);
/* 1 to 128 bytes of letters, digits, _ - % |; '#' separates id and group and is refused. */
xonce_status xo_check_group(const char *group);
#endif
