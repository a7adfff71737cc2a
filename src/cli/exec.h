/* --exec: one process a message. */
#ifndef XO_CLI_EXEC_H
#define XO_CLI_EXEC_H
#include "message/message.h"

typedef struct {
    char *path;         /* resolved through PATH */
    int64_t timeout_ms; /* SIGTERM then, SIGKILL 5 s later */
} xo_exec_program;
/* Finds the program. XONCE_E_INVALID when there is none that can be run. */
xonce_status xo_exec_find(xo_exec_program *out, const char *program, int64_t timeout_ms);
void xo_exec_free(xo_exec_program *e);
/* A xonce_handler; arg is the xo_exec_program. Exit 0 = done, 65 = rejected with stderr's last line as the reason, anything else = retry. */
xonce_verdict xo_exec_handler(xonce_tx *tx, const xonce_message *m, void *arg);

/* XONCE_ID=... and so on for a message, with what else stands in the environment. */
char **xo_exec_environment(const xonce_message *m, char *const *inherited);
void xo_exec_environment_free(char **env);
#endif
