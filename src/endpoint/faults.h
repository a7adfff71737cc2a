/* Faults on order: what `xonce serve` breaks, and how often. */
#ifndef XO_FAULTS_H
#define XO_FAULTS_H
#include "base/error.h"
typedef struct {
    double duplicate, lose_ack, error, cut; /* chances, 0 to 1 */
    int error_status;                       /* 400 to 599 */
    int64_t delay_ack_ms, clock_skew_ms;
    int reorder;
} xo_faults;
/* "10%" or "0.5%", 0 to 100. what names the option in the error. */
xonce_status xo_parse_percent(const char *what, const char *text, double *chance);
/* "503:5%" */
xonce_status xo_parse_error_fault(const char *text, int *status, double *chance);
int xo_dice(double chance); /* 1 with that chance */
#endif
