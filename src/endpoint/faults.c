/* Faults: reading them, and the dice. */
#include "endpoint/faults.h"
#include "base/clock.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

xonce_status xo_parse_percent(const char *what, const char *text, double *chance)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || strspn(text, "0123456789.") != (size_t)(end - text) || strcmp(end, "%") != 0 || errno || !isfinite(v) ||
        v > 100)
        return xo_fail(XONCE_E_INVALID, "%s: '%s' is not a percentage such as 10%% or 0.5%%, from 0%% to 100%%", what, text);
    *chance = v / 100;
    return XONCE_OK;
}

xonce_status xo_parse_error_fault(const char *text, int *status, double *chance)
{
    char *end;
    errno = 0;
    long code = strtol(text, &end, 10);
    if (end != text + 3 || *end != ':' || errno || code < 400 || code > 599)
        return xo_fail(XONCE_E_INVALID, "--error: '%s' is not STATUS:PERCENT such as 503:5%%, with a status from 400 to 599", text);
    *status = (int)code;
    return xo_parse_percent("--error", end + 1, chance);
}

int xo_dice(double chance)
{
    if (chance <= 0)
        return 0;
    return (double)(xo_random() >> 11) / 9007199254740992.0 < chance;
}
