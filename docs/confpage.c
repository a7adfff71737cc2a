/* Prints the manual page xonce.conf(5), or with the argument "sample" a configuration file with every default commented, from the table of configuration keys. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/config.h"

typedef struct {
    int64_t is;
    const char *name;
} unit;

/* A value as people write it: in the largest unit that divides it. */
static void print_value(const xo_config_key *k, int64_t n)
{
    static const unit durations[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    static const unit sizes[] = {{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "k"}, {1, ""}};
    static const unit plain[] = {{1, ""}};
    const unit *u = n == 0 ? plain : k->type == XO_T_DURATION ? durations : k->type == XO_T_SIZE ? sizes : plain;
    while (n % u->is != 0)
        u++;
    printf("%" PRId64 "%s", n / u->is, u->name);
}

static const char *type_name(const xo_config_key *k)
{
    switch (k->type) {
    case XO_T_INT: return "number";
    case XO_T_DURATION: return "duration";
    case XO_T_SIZE: return "size";
    case XO_T_BOOL: return "yes or no";
    case XO_T_CHOICE: return "one of";
    case XO_T_WINDOW: return "two times of day, HH:MM-HH:MM";
    default: return "text";
    }
}

/* Text for troff: a leading dot or quote, backslashes and hyphens. */
static void print_troff(const char *s)
{
    if (*s == '.' || *s == '\'')
        printf("\\&");
    for (; *s; s++) {
        if (*s == '-' || *s == '\\')
            putchar('\\');
        putchar(*s);
    }
}

static void print_range(const xo_config_key *k)
{
    printf("%s", type_name(k));
    if (k->type == XO_T_CHOICE) {
        printf(" %s", k->choices);
    } else if (k->type != XO_T_TEXT && k->type != XO_T_BOOL && k->type != XO_T_WINDOW) {
        printf(" from ");
        print_value(k, k->min);
        printf(" to ");
        print_value(k, k->max);
    }
}

static void print_aliases(const char *aliases)
{
    printf(" \\fR(");
    for (const char *p = aliases; *p; p++) {
        if (*p == '|')
            printf(", ");
        else
            putchar(*p);
    }
    printf(")");
}

static void print_page(void)
{
    printf(".\\\" Made by docs/confpage.c from the table of configuration keys; `make manual` writes it.\n.TH XONCE.CONF 5 \"\" \"xonce %s\" \"xonce\"\n"
           ".SH NAME\nxonce.conf \\- configuration of xonce\n.SH SYNOPSIS\n.nf\n"
           "xonce consume \\-\\-config FILE ...\nxonce_config_load(cfg, \"FILE\");  xonce_config_set(cfg, \"KEY\", \"VALUE\");\n.fi\n"
           ".SH DESCRIPTION\nLines \\fIkey\\fR = \\fIvalue\\fR; # starts a comment; ${NAME} stands for an environment variable, which must be set.\n"
           "A duration is a number with ms, s, m, h or d, a size a number with k, M or G. An unknown key or a value out of range is an error.\n"
           "The names of the Java client in parentheses are taken too, with the unit that they have there.\n"
           ".PP\nEach key is also an environment variable: XONCE_ and the key in capitals, with _ for dots and hyphens, as XONCE_BATCH_MAX for batch.max. A variable counts more than the file, an option\n"
           "of the command line more than both; one that is empty counts as unset. A value that is wrong is an error that names the variable.\n"
           ".PP\nA running\n.B xonce consume\nreads all of them again at SIGHUP. What says so below is taken over at once; the rest is named in the log and holds after a restart. A file that is wrong changes nothing.\n"
           ".PP\nBehind the settings, a file may have sections for\n.BR xonce\\-consume (1):\n[consume], [subscription \\fINAME\\fR] and [store \\fINAME\\fR]. Everything else passes over them.\n"
           ".SH KEYS\n", XONCE_VERSION);
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        printf(".TP\n.B ");
        print_troff(k->key);
        if (k->alias)
            print_aliases(k->alias);
        printf("\n");
        print_troff(k->sentence);
        printf("\n.br\n");
        print_range(k);
        printf("; default: ");
        print_troff(k->fallback ? k->fallback : "unset");
        printf(".%s%s\n", k->secret ? " Never shown." : "", xo_config_reloads(k->key) ? " Taken over at SIGHUP." : "");
    }
    printf(".SH SEE ALSO\n.BR xonce (1),\n.BR xonce\\-consume (1),\n.BR libxonce (3)\n");
}

static void print_sample(void)
{
    printf("# Configuration of xonce: every key with its default. Made by docs/confpage.c; see xonce.conf(5).\n"
           "# Each key is also an environment variable: XONCE_BATCH_MAX for batch.max. Sections at the end, for several topics and databases: xonce-consume(1).\n");
    for (size_t i = 0; i < xo_config_count; i++) {
        const xo_config_key *k = &xo_config_keys[i];
        printf("\n# %s\n# ", k->sentence);
        print_range(k);
        printf("\n#%s =%s%s\n", k->key, k->fallback ? " " : "", k->fallback ? k->fallback : "");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "sample") == 0)
        print_sample();
    else
        print_page();
    return fflush(stdout) != 0 || ferror(stdout);
}
