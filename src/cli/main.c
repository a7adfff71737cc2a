/* The program: finds the command and runs it. */
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/output.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"init", xo_cmd_init, "create the tables in a database"},
    {"upgrade", xo_cmd_upgrade, "make tables of an earlier version, or the vendor's, safe and complete"},
    {"check", xo_cmd_check, "look at a database for what is unsafe or slow"},
    {"doctor", xo_cmd_doctor, "look at a database and a source, and say what to do"},
    {"consume", xo_cmd_consume, "take messages and apply each one exactly once"},
    {"send", xo_cmd_send, "send lines as messages"},
    {"serve", xo_cmd_serve, "run a local endpoint, with faults on order"},
    {"topic", xo_cmd_topic, "create a topic, or show what one holds"},
    {"stats", xo_cmd_stats, "count records per group, and show lag"},
    {"seen", xo_cmd_seen, "tell whether and when a message was applied"},
    {"explain", xo_cmd_explain, "tell the story of one message"},
    {"rejected", xo_cmd_rejected, "list messages that were given up"},
    {"replay", xo_cmd_replay, "run rejected messages again"},
    {"rewind", xo_cmd_rewind, "let a group apply messages of a topic again"},
    {"prune", xo_cmd_prune, "delete records that are old enough"},
    {"convert", xo_cmd_convert, "turn a Java consumer's Spring XML into settings and a program in C"},
    {"bench", xo_cmd_bench, "measure what exactly once costs in a database"},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int help(void)
{
    printf("usage: xonce COMMAND [OPTION]...\n\nExactly-once message consumption into SQL databases.\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    printf("\nxonce COMMAND --help tells its options, with an example.\n"
           "Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found or problems found.\n\n"
           "example:\n"
           "  xonce init --store sqlite:shop.db\n"
           "  xonce consume --from http://127.0.0.1:8080 --topic orders --group GID_orders --store sqlite:shop.db \\\n"
           "    --sql \"INSERT INTO orders (id, amount) VALUES (:body.id, :body.amount)\"\n");
    return fflush(stdout) == 0 ? XO_EXIT_OK : XO_EXIT_FAILED;
}

static int wrong_command(const char *word)
{
    const char *names[COMMANDS], *near;
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
    }
    near = xo_nearest(word, names, COMMANDS);
    (void)fprintf(stderr, "xonce: there is no command \"%.60s\"%s%s%s\nxonce --help lists the commands\n", word, near ? "; did you mean \"" : "",
                  near ? near : "", near ? "\"?" : "");
    return XO_EXIT_USAGE;
}

/* Copies the arguments, then overwrites what looks like a password where other users' ps would read it. */
static char **take_arguments(int argc, char **argv)
{
    char **copy = xo_calloc((size_t)argc + 1, sizeof(*copy));
    for (int i = 0; copy && i < argc; i++) {
        copy[i] = xo_strdup(argv[i]);
        char *masked = xo_uri_mask(argv[i]);
        if (!copy[i] || !masked) {
            return NULL;
        }
        if (strcmp(masked, argv[i]) != 0) {
            size_t n = strlen(argv[i]), m = strlen(masked);
            xo_wipe(argv[i], n);
            memcpy(argv[i], masked, m < n ? m : n);
        }
        free(masked);
    }
    return copy;
}

static void drop_arguments(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        xo_wipe_free(argv[i]);
    }
    free(argv);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: xonce COMMAND [OPTION]...\nxonce --help lists the commands\n");
        return XO_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        if (argc == 2 || argv[1][0] == '-') {
            return help();
        }
        char *again[] = {argv[2], (char[]){"--help"}, NULL};
        for (size_t i = 0; i < COMMANDS; i++) {
            if (strcmp(commands[i].name, argv[2]) == 0) {
                return commands[i].run(2, again);
            }
        }
        return wrong_command(argv[2]);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("xonce %s\n", xonce_version());
        return fflush(stdout) == 0 ? XO_EXIT_OK : XO_EXIT_FAILED;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[1]) == 0) {
            return xo_out_end(commands[i].run(argc - 1, argv + 1));
        }
    }
    return wrong_command(argv[1]);
}

/* Files and pipes must not land on the numbers of standard streams that somebody closed. */
static void open_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
}

int main(int argc, char **argv)
{
    open_standard_streams();
    /* a closed pipe is an error of the write, for us and not for our database connections to die of */
    (void)signal(SIGPIPE, SIG_IGN);
    char **copy = take_arguments(argc, argv);
    if (!copy) {
        (void)fprintf(stderr, "xonce: out of memory\n");
        return XO_EXIT_FAILED;
    }
    int rc = run(argc, copy);
    drop_arguments(argc, copy);
    return rc;
}
