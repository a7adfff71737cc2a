/* A message as a broker stores it (bodies of pull, view and direct-consume), and the codecs of its body. */
#ifndef XO_RECORD_H
#define XO_RECORD_H
#include "base/buf.h"
#include "message/message.h"

enum { XO_SYS_COMPRESSED = 0x1, XO_SYS_TRANSACTION = 0xC, XO_SYS_HALF = 0x4, XO_SYS_BORN_V6 = 0x10, XO_SYS_STORE_V6 = 0x20, XO_SYS_INNER_BATCH = 0xC0, XO_SYS_CODEC = 0x700, XO_SYS_LZ4 = 0x100,
       XO_SYS_ZSTD = 0x200, XO_SYS_ZLIB = 0x300 };
enum { XO_BODY_MAX = 64 << 20 };     /* a decompressed body */
typedef struct {
    uint32_t magic, crc;
    int32_t queue, flag, sys_flag, reconsume;
    int64_t queue_offset, log_offset, born_time, store_time, prepared_offset;
    unsigned char born_host[20], store_host[20]; /* address and 4 bytes of port */
    size_t nborn, nstore;                        /* 8 or 20 */
    const void *body;                            /* as stored */
    size_t body_len;
    const char *topic, *properties;              /* not terminated */
    size_t ntopic, nproperties;
    int32_t member;                              /* of an inner batch, counted from 1; 0: no member. Their physical offset is one, so an id made of it needs this too */
} xo_record;                                     /* points into the buffer it was read from */
/* The record at *at of n bytes; *at moves behind it. *more 0 and XONCE_OK at the end. XONCE_E_PROTOCOL: bytes that are no record. */
xonce_status xo_record_next(const void *p, size_t n, size_t *at, xo_record *out, int *more);
void xo_record_encode(const xo_record *r, xo_buf *out); /* the very bytes it was read from */
/* Which-th property of this name, counted from 0; NULL when there are fewer. Not terminated. */
const char *xo_record_property(const xo_record *r, const char *name, size_t which, size_t *len);
const char *xo_record_last_property(const xo_record *r, const char *name, size_t *len); /* the last of this name that is not empty; NULL: none */
enum { XO_OFFSET_ID_SIZE = 57 };
void xo_record_id(const xo_record *r, char out[XO_OFFSET_ID_SIZE]); /* offsetMsgId: upper-case hex of store host and physical offset */
/* Body as the sender gave it, appended to out; the checksum is compared. XONCE_E_PROTOCOL: it differs, or the body does not unpack to at most XO_BODY_MAX bytes. */
xonce_status xo_record_body(const xo_record *r, xo_buf *out);
/* A message of it: topic (as on the wire), id = offsetMsgId, body, properties (of a name twice the last that is not empty, but UNIQ_KEY's first), broker, queue, offset, store_time, log_offset,
   copy_offset, copy_log_offset, attempt = reconsume + 1. What will never be another way - a body that does not unpack, properties that cannot be held - makes a message with the body as stored
   and the reason in `refuse`. XONCE_E_PROTOCOL: the checksum differs, or no topic; a pull again may help. */
xonce_status xo_record_message(const xo_record *r, const char *broker, xonce_message **out);
/* The same with the body as stored, unchecked, to be rejected for this reason: for whoever has tried often enough. */
xonce_status xo_record_refused(const xo_record *r, const char *broker, const char *why, xonce_message **out);
/* xo_record_message, or with `why` xo_record_refused, into k and without copying: what r points into, topic and broker are k's memory or live longer. Body and properties are ended with zero bytes where
   they stand, over lengths and separators that were read, so one byte behind each must be readable, and r's bytes are a record no more; on XONCE_E_PROTOCOL they still are. */
xonce_status xo_record_put(const xo_record *r, xo_pack *k, const char *topic, const char *broker, const char *why, xonce_message **out);
/* An inner batch (sys_flag has all of XO_SYS_INNER_BATCH): calls fn for each member, a record whose queue_offset counts on and whose pointers are valid during the call, or, when keep is not NULL, as long
   as that. Otherwise calls it once for r itself. fn returns XONCE_OK to go on. */
xonce_status xo_record_members(const xo_record *r, xo_pack *keep, xonce_status (*fn)(const xo_record *member, void *arg), void *arg);

/* ---- codec.c */
xonce_status xo_codec_pack(int codec /* XO_SYS_LZ4, _ZSTD, _ZLIB */, int level, const void *p, size_t n, xo_buf *out);
xonce_status xo_codec_unpack(int sys_flag, const void *p, size_t n, size_t max, xo_buf *out);
/* ---- properties as the wire has them: name 0x01 value 0x02 ... XONCE_E_INVALID: a name or value with one of these bytes, or more than 32767 bytes in all. */
xonce_status xo_wire_properties(const xonce_message *m, xo_buf *out);
void xo_wire_property(xo_buf *out, const char *name, const char *value);
#endif
