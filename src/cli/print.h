/* consume --print: shows messages and acknowledges nothing. */
#ifndef XO_CLI_PRINT_H
#define XO_CLI_PRINT_H
#include "source/source.h"
#include <signal.h>

typedef struct {
    const char *group, *topic, *tags;
    int ordered, json;
    int64_t idle_ms;                     /* stop after this long without a message; 0 = never */
    const volatile sig_atomic_t *stop;
} xo_print_job;
/* The exit code. */
int xo_print_messages(xonce_source *source, const xo_print_job *job);
#endif
