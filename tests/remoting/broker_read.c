/* What stands at the brokers of the in-process cluster, read as a consumer would get it. */
#include "base/buf.h"
#include "tests/remoting/broker.h"
#include <check.h>
#include <stdlib.h>

xonce_message *mq_stored(mq *m, int b, const char *topic, int queue, int64_t offset)
{
    char *bytes;
    size_t at = 0, n = mq_record(m, b, topic, queue, offset, &bytes);
    xo_record r;
    int more = 0;
    xonce_message *x;
    ck_assert_msg(n > 0, "nothing stands at %s/%d@%lld", topic, queue, (long long)offset);
    ck_assert_int_eq(xo_record_next(bytes, n, &at, &r, &more), XONCE_OK);
    ck_assert_int_eq(more, 1);
    ck_assert_int_eq(xo_record_message(&r, mq_name(m, b), &x), XONCE_OK);
    free(bytes);
    return x;
}

void mq_traces(mq *m, int brokers, const char *topic, xo_buf *out)
{
    xo_buf_reset(out);
    for (int b = 0; b < brokers; b++)
        for (int64_t i = 0; i < mq_max(m, b, topic, 0); i++) {
            xonce_message *y = mq_stored(m, b, topic, 0, i);
            for (size_t k = 0; k < y->body_len; k++) {
                char c = ((const char *)y->body)[k];
                xo_buf_char(out, c == 1 ? '|' : c == 2 ? '\n' : c);
            }
            xo_buf_printf(out, "KEYS=%s\n", xonce_message_key(y));
            xonce_message_free(y);
        }
    xo_buf_str(out, "");
}
