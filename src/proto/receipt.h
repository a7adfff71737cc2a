/* Coordinates in a receipt handle of the form MessageId-base64("ckOffset popTime invisibleTime reviveQueue topicType
 * broker queue offset"). */
#ifndef XO_RECEIPT_H
#define XO_RECEIPT_H
#include "base/error.h"
typedef struct {
    char broker[128];
    int32_t queue;
    int64_t offset;
    int64_t pop_time, invisible_ms;
} xo_receipt;
/* 1 and *out when the handle has that form, 0 when it has not: then nothing is known, and nothing is invented. */
int xo_receipt_read(xo_receipt *out, const char *handle);
/* Makes such a handle (the endpoint's). Caller frees. NULL: no memory, or a broker's name too long for one. */
char *xo_receipt_write(const char *message_id, int64_t ck_offset, int64_t pop_time, int64_t invisible_ms,
                       const char *broker, int32_t queue, int64_t offset);
/* v in decimal digits with a NUL; how many there are. printf took a fifth of an answer's time. */
enum { XO_DECIMAL_SIZE = 21 };
size_t xo_decimal(char out[XO_DECIMAL_SIZE], int64_t v);
#endif
