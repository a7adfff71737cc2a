/* Log lines go to the function of xonce_set_log(); without one they are dropped. The library never prints. */
#ifndef XO_LOG_H
#define XO_LOG_H
#include "base/error.h"
enum { XO_ERROR = 0, XO_WARN = 1, XO_INFO = 2, XO_DEBUG = 3 }; /* = XONCE_LOG_* */
/* area: "store", "consumer", "http"... Never pass a secret. Thread-safe. */
void xo_log(int level, const char *area, const char *fmt, ...) XO_PRINTF(3, 4);
int xo_log_enabled(void);
#endif
