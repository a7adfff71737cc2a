/* The command line of one command: a table of long options, from which parsing and --help both come. */
#ifndef XO_CLI_OPTIONS_H
#define XO_CLI_OPTIONS_H
#include "base/config.h"

/* The program's exit codes. */
enum { XO_EXIT_OK = 0, XO_EXIT_FAILED = 1, XO_EXIT_USAGE = 2, XO_EXIT_NOT = 3 /* not found, or problems found */ };
enum { XO_GO_ON = -1 };

typedef struct {
    const char **items; /* values live as long as argv */
    size_t n, cap;
} xo_list_value;

typedef enum {
    XO_ARG_SWITCH,   /* out: int *, becomes 1 */
    XO_ARG_TEXT,     /* out: const char ** */
    XO_ARG_LIST,     /* out: xo_list_value *; may be given again and again */
    XO_ARG_INT,      /* out: int64_t *, min..max */
    XO_ARG_DURATION, /* out: int64_t *, ms, min..max */
    XO_ARG_SETTING,  /* out: xonce_config **; sets the configuration key `key` */
    XO_ARG_SETTINGS, /* out: xonce_config **; KEY=VALUE, may be given again and again */
    XO_ARG_CONFIG,   /* out: xonce_config **; a file that is read before any setting is made */
    XO_ARG_SECTIONS  /* out: xo_sections *; likewise, and its sections go to a function */
} xo_arg_kind;
typedef struct {
    xonce_config **cfg;
    xo_section_fn fn;
    void *arg;
} xo_sections;
typedef struct {
    const char *name;  /* "store", without dashes */
    const char *value; /* what --help calls its value, "URI"; NULL for a switch */
    xo_arg_kind kind;
    void *out;
    const char *key;   /* XO_ARG_SETTING */
    int64_t min, max;  /* XO_ARG_INT, XO_ARG_DURATION */
    const char *help;
} xo_arg;
typedef struct {
    const char *name;     /* the command: "send" */
    const char *synopsis; /* behind the command: "--store URI [--print]" */
    const char *about;    /* one or more sentences */
    const char *example;  /* whole lines */
    const char *notes;    /* more for --help: exit codes that are special; NULL for none */
    const xo_arg *args;
    size_t nargs;
    size_t max_rest;      /* how many plain arguments it takes */
} xo_usage;

/* Parses argv[1..] (argv[0] is the command). --name VALUE, --name=VALUE, -- ends options. Plain arguments are swapped to the front of argv[1..] and counted in
   *nrest. XO_GO_ON, or the exit code to end with: 0 after --help, 2 after a wrong use, which was told on stderr. */
int xo_args_parse(const xo_usage *u, int argc, char **argv, size_t *nrest);
/* Tells on stderr what is wrong with the use of a command and how to get help. Returns XO_EXIT_USAGE. */
int xo_args_wrong(const xo_usage *u, const char *fmt, ...) XO_PRINTF(2, 3);
void xo_list_free(xo_list_value *l);
#endif
