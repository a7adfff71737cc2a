/* What consoles show of a message's way through this group: traces of deliveries, as Java consumers write them. */
#include "base/clock.h"
#include "source/rocketmq/rocketmq.h"

/* Of a record, what both of a delivery's say. The id is the one that its producer's trace has; of a batch's member its own. */
static xo_trace_record about(const xo_rocketmq *s, const xonce_message *m, char request[XO_UNIQ_SIZE])
{
    const char *id = xonce_message_property(m, "UNIQ_KEY");
    xo_trace_request(s->trace, m->delivery, request);
    return (xo_trace_record){.region = xonce_message_property(m, "MSG_REGION"), .group = s->group, .request_id = request, .id = id ? id : m->id, .keys = xonce_message_key(m)};
}

void xo_rmq_trace_handed(xo_rocketmq *s, xonce_message *list)
{
    char request[XO_UNIQ_SIZE];
    int64_t now = s->trace ? xo_mono_ms() : 0;
    for (xonce_message *m = s->trace ? list : NULL; m; m = m->next) {
        m->delivery = xo_trace_wanted(s->trace, xonce_message_property(m, "TRACE_ON")) ? xo_trace_delivery() : 0;
        m->handed_mono = now;
        if (m->delivery) {
            xo_trace_record r = about(s, m, request);
            r.retry_times = m->attempt - 1;
            xo_trace_sub_before(s->trace, &r);
        }
    }
}

void xo_rmq_trace_settled(xo_rocketmq *s, xonce_message *m, int acked)
{
    char request[XO_UNIQ_SIZE];
    if (!s->trace || !m->delivery) {
        return;
    }
    xo_trace_record r = about(s, m, request);
    r.cost_ms = xo_mono_ms() - m->handed_mono;
    r.success = acked && !m->rejected;
    r.context = r.success ? XO_TRACE_SUCCESS : acked || (m->failed && !m->fenced && !m->put_off) ? XO_TRACE_FAILED : XO_TRACE_NOTHING;
    r.exactly_once = m->duplicate ? XO_TRACE_DUPLICATE : r.success && s->positions ? XO_TRACE_APPLIED : XO_TRACE_UNCLAIMED;
    xo_trace_sub_after(s->trace, &r);
    m->delivery = 0;
}
