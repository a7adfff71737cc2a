/* What decoders mention but no fuzzer reaches: a transaction. Only `make fuzz` links it. */
#include "xonce/xonce.h"

xonce_status xonce_exec_values(xonce_tx *tx, const char *sql, const xonce_value *v, size_t n)
{
    (void)tx, (void)sql, (void)v, (void)n;
    return XONCE_E_CLOSED;
}

void xonce_fail(xonce_tx *tx, const char *fmt, ...)
{
    (void)tx, (void)fmt;
}
