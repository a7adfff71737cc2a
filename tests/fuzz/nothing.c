/* What decoders mention but no fuzzer reaches: a transaction, and a producer that speaks anything but HTTP. Only `make fuzz` links it. */
#include "producer/producer.h"
#include "proto/properties.h"

xonce_status xonce_exec_values(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n)
{
    (void)tx, (void)sql, (void)v, (void)n;
    return XONCE_E_CLOSED;
}

void xonce_fail(xonce_tx *tx, const char *fmt, ...)
{
    (void)tx, (void)fmt;
}

xonce_status xo_producer_check(xonce_producer *p, const xonce_message *m)
{
    (void)p;
    return xo_check_http_message(m);
}

xonce_status xo_producer_later(xonce_producer *p, xonce_message *m, int64_t delay_ms, int64_t at_ms)
{
    (void)p, (void)delay_ms, (void)at_ms;
    return xonce_message_set_property(m, "__STARTDELIVERTIME", "1700000000000");
}
