/* A producer of payments in transactions, by the published interface alone: transactions URI TOPIC GROUP LEDGER COMMAND [FIRST LAST]
 *
 * The local transaction of payment i is a line "i UNIQ_KEY commit|rollback" in the file LEDGER, and the check looks there. COMMAND:
 *   send        payments FIRST to LAST: by turns commit; rollback; unknown after a commit; unknown after a rollback
 *   die-before  sends FIRST and kills itself with the half message stored, before the local transaction
 *   die-after   the same, after the local transaction and before the commit is told
 *   check       answers checks until a line comes on stdin
 * Prints a line for each check ("check i STATE") and "sent N" at the end. */
#include <xonce/xonce.h>

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *ledger, *command;
} job;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, xonce_error_last()->text);
    exit(1);
}

static void show(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    if (level <= XONCE_LOG_WARN)
        fprintf(stderr, "%s: %s\n", area, text);
}

/* Appends a line and has it on disk: the local transaction. */
static void write_down(const job *j, const xonce_message *m, const char *state)
{
    char line[400];
    const char *uniq = xonce_message_property(m, "UNIQ_KEY");
    int n = snprintf(line, sizeof line, "%s %s %s\n", xonce_message_key(m), uniq ? uniq : "none", state);
    int fd = open(j->ledger, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || n < 0 || write(fd, line, (size_t)n) != n || fsync(fd) != 0 || close(fd) != 0) {
        perror(j->ledger);
        exit(1);
    }
}

static xonce_transaction_state execute(const xonce_message *m, void *arg)
{
    const job *j = arg;
    if (strcmp(j->command, "die-before") == 0)
        (void)raise(SIGKILL);
    if (strcmp(j->command, "die-after") == 0) {
        write_down(j, m, "commit");
        (void)raise(SIGKILL);
    }
    long i = strtol(xonce_message_key(m), NULL, 10);
    write_down(j, m, i % 2 == 0 ? "commit" : "rollback");
    if (i % 4 >= 2)
        return XONCE_TRANSACTION_UNKNOWN;
    return i % 2 == 0 ? XONCE_TRANSACTION_COMMIT : XONCE_TRANSACTION_ROLLBACK;
}

/* What is not in the ledger was never done: those who were at it are dead. */
static xonce_transaction_state check(const xonce_message *m, void *arg)
{
    const job *j = arg;
    const char *uniq = xonce_message_property(m, "UNIQ_KEY");
    char line[400], key[64], id[200], state[20];
    xonce_transaction_state found = XONCE_TRANSACTION_ROLLBACK;
    FILE *f = fopen(j->ledger, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "%63s %199s %19s", key, id, state) == 3 && uniq && strcmp(id, uniq) == 0 && strcmp(state, "commit") == 0)
            found = XONCE_TRANSACTION_COMMIT;
    if (f)
        (void)fclose(f);
    printf("check %s %s\n", xonce_message_key(m), found == XONCE_TRANSACTION_COMMIT ? "commit" : "rollback");
    fflush(stdout);
    return found;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: transactions URI TOPIC GROUP LEDGER COMMAND [FIRST LAST]\n");
        return 2;
    }
    xonce_producer *p = NULL;
    job j = {argv[4], argv[5]};
    long first = argc > 6 ? strtol(argv[6], NULL, 10) : 1, last = argc > 7 ? strtol(argv[7], NULL, 10) : first, n = 0;
    xonce_set_log(show, NULL);
    if (xonce_producer_open(&p, argv[1], NULL) != XONCE_OK)
        die("open");
    if (xonce_producer_on_check(p, argv[2], argv[3], check, &j) != XONCE_OK)
        die("on_check");
    for (long i = first; strcmp(j.command, "check") != 0 && i <= last; i++) {
        char body[120], key[24];
        xonce_message *m = NULL;
        snprintf(body, sizeof body, "{\"id\":\"p%ld\",\"amount\":%ld,\"queue\":\"\",\"seq\":0}", i, i);
        snprintf(key, sizeof key, "%ld", i);
        if (xonce_message_new(&m, argv[2], NULL, body, strlen(body)) != XONCE_OK || xonce_message_set_property(m, "KEYS", key) != XONCE_OK)
            die("message");
        if (xonce_producer_send_transaction(p, m, execute, &j, NULL) != XONCE_OK)
            die("send");
        xonce_message_free(m);
        n++;
    }
    if (strcmp(j.command, "check") == 0)
        (void)getchar();
    xonce_producer_close(p);
    printf("sent %ld\n", n);
    return 0;
}
