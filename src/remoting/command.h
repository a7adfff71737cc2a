/* One remoting command: a request or an answer, as a frame and as its parts. The wire: u32 length, u8 serialize (0 JSON, 1 binary), u24 header length, header, body. */
#ifndef XO_COMMAND_H
#define XO_COMMAND_H
#include "base/buf.h"
#include "base/mem.h"

enum { XO_FRAME_MAX = 16 << 20 };  /* bytes behind the length word */
enum { XO_FLAG_RESPONSE = 1, XO_FLAG_ONEWAY = 2 };
enum { XO_REMOTING_VERSION = 433 }; /* 5.1.0: standard JSON from name servers, the client's maxReconsumeTimes counts */
enum { XO_LANGUAGE_JAVA = 0, XO_LANGUAGE_CPP = 1, XO_LANGUAGE_OTHER = 7, XO_LANGUAGES = 14 };

typedef enum {
    XO_RMQ_SEND = 10, XO_RMQ_PULL = 11, XO_RMQ_QUERY_MESSAGE = 12, XO_RMQ_QUERY_OFFSET = 14, XO_RMQ_UPDATE_OFFSET = 15, XO_RMQ_CREATE_TOPIC = 17,
    XO_RMQ_BROKER_CONFIG = 26, XO_RMQ_BROKER_INFO = 28, XO_RMQ_GROUPS = 201,
    XO_RMQ_SEARCH_OFFSET = 29, XO_RMQ_MAX_OFFSET = 30, XO_RMQ_MIN_OFFSET = 31, XO_RMQ_VIEW_MESSAGE = 33, XO_RMQ_HEARTBEAT = 34, XO_RMQ_UNREGISTER = 35,
    XO_RMQ_SEND_BACK = 36, XO_RMQ_END_TRANSACTION = 37, XO_RMQ_CONSUMER_LIST = 38, XO_RMQ_CHECK_TRANSACTION = 39, XO_RMQ_CONSUMERS_CHANGED = 40,
    XO_RMQ_LOCK = 41, XO_RMQ_UNLOCK = 42, XO_RMQ_ROUTE = 105, XO_RMQ_CLUSTER_INFO = 106, XO_RMQ_TOPIC_STATS = 202, XO_RMQ_CONSUMER_CONNECTIONS = 203,
    XO_RMQ_CONSUME_STATS = 208, XO_RMQ_RESET_OFFSET = 220, XO_RMQ_CONSUMER_STATUS = 221, XO_RMQ_RUNNING_INFO = 307, XO_RMQ_CONSUME_DIRECTLY = 309, XO_RMQ_SEND_V2 = 310,
    XO_RMQ_SEND_BATCH = 320
} xo_rmq_request_code;
typedef enum {
    XO_RMQ_OK = 0, XO_RMQ_SYSTEM_ERROR = 1, XO_RMQ_BUSY = 2, XO_RMQ_NOT_SUPPORTED = 3, XO_RMQ_FLUSH_DISK_TIMEOUT = 10, XO_RMQ_SLAVE_NOT_AVAILABLE = 11,
    XO_RMQ_FLUSH_SLAVE_TIMEOUT = 12, XO_RMQ_MESSAGE_ILLEGAL = 13, XO_RMQ_NOT_AVAILABLE = 14, XO_RMQ_NO_PERMISSION = 16, XO_RMQ_NO_TOPIC = 17, XO_RMQ_PULL_NOT_FOUND = 19,
    XO_RMQ_PULL_AGAIN = 20, XO_RMQ_PULL_MOVED = 21, XO_RMQ_QUERY_NOT_FOUND = 22, XO_RMQ_BAD_SUBSCRIPTION = 23, XO_RMQ_NO_SUBSCRIPTION = 24, XO_RMQ_OLD_SUBSCRIPTION = 25,
    XO_RMQ_NO_GROUP = 26, XO_RMQ_INVALID_PARAMETER = 29, XO_RMQ_NOT_ONLINE = 206, XO_RMQ_FLOW_CONTROL = 215, XO_RMQ_GO_AWAY = 1500
} xo_rmq_answer_code;

typedef struct {
    const char *name, *value;
} xo_command_field;
typedef struct {
    int32_t code, version, opaque, flag;
    int language;          /* the number; -1: a name nobody knows */
    int binary;            /* the header came, or is to be written, in the binary form */
    const char *remark;    /* NULL when absent */
    xo_command_field *fields;      /* extFields in wire order; values are text whatever their type */
    size_t nfields, cap;
    int failed;            /* out of memory while it was built: encoding says so */
    const void *body;      /* of a request being built: the builder's, or own_body. Of a decoded one: inside of frame */
    size_t body_len;
    char *own_body;        /* freed with the command; NULL when borrowed */
    char *frame;           /* the bytes it was decoded from, owned; NULL otherwise */
    xo_arena memory;       /* of fields and texts */
} xo_command;              /* may be moved by assignment when the old one is then forgotten or zeroed */

/* A request of ours: version, language CPP, flag 0. */
void xo_command_init(xo_command *c, int32_t code);
/* Copies name and value; replaces one of the same name. A NULL value is left out. */
void xo_command_set(xo_command *c, const char *name, const char *value);
void xo_command_set_int(xo_command *c, const char *name, int64_t value);
void xo_command_set_bool(xo_command *c, const char *name, int value);
const char *xo_command_get(const xo_command *c, const char *name);  /* NULL when absent */
/* XONCE_E_PROTOCOL, naming the field, when it is absent or no number of 64 bits. */
xonce_status xo_command_get_int(const xo_command *c, const char *name, int64_t *out);
void xo_command_take_body(xo_command *c, xo_buf *body);             /* moves the buffer's content; body is empty after */
/* Appends the whole frame, length word included. XONCE_E_INVALID: larger than XO_FRAME_MAX, or a code or text the binary form cannot carry. */
xonce_status xo_command_encode(const xo_command *c, xo_buf *out);
/* frame: what stands behind the length word; taken (malloc'd), also on failure. Every length is checked. XONCE_E_PROTOCOL. */
xonce_status xo_command_decode(xo_command *out, char *frame, size_t n);
void xo_command_free(xo_command *c); /* leaves it zeroed */
/* Turns an answer with a code that is not 0 into this thread's error: AUTH, NOT_FOUND, INVALID, CONFLICT... with its code as `native`, `again` where that is sensible, and the remark. what: for the
   text, "pull of orders from broker-a". XONCE_OK for code 0. */
xonce_status xo_command_error(const xo_command *answer, const char *what);

/* ---- acl.c: signs the final fields and body (AccessKey, SecurityToken and Signature are set here). Does nothing when access_key is NULL. */
xonce_status xo_acl_sign(xo_command *c, const char *access_key, const char *secret, const char *token, const char *ons_channel);
#endif
