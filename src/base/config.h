/* The one table of configuration keys. */
#ifndef XO_CONFIG_H
#define XO_CONFIG_H
#include "base/error.h"
typedef enum { XO_T_TEXT, XO_T_INT, XO_T_DURATION /* ms */, XO_T_SIZE /* bytes, k M G */, XO_T_BOOL, XO_T_CHOICE, XO_T_WINDOW /* HH:MM-HH:MM, UTC */ } xo_type;
typedef struct {
    const char *key, *alias;     /* alias: the Java clients' properties, "a|b"; NULL when they have none */
    xo_type type;
    const char *unit;            /* of a bare number: "ms", "s"; NULL otherwise */
    int64_t min, max;
    const char *fallback;        /* the default, as text; NULL = unset */
    const char *choices;         /* "a|b|c" for XO_T_CHOICE */
    const char *sentence;        /* for help and manual */
    int secret;                  /* never printed */
    const char *alias_unit;      /* of a bare number under the alias, when it is not unit: "s", "m", "M" */
} xo_config_key;
extern const xo_config_key xo_config_keys[];
extern const size_t xo_config_count;
/* What became of a property of the Java clients that is no setting here; NULL when the name is none of theirs. */
const char *xo_config_elsewhere(const char *name);
/* Can a running consumer take a new value? */
int xo_config_reloads(const char *key);
enum { XO_CONFIG_NAME = 64 };
/* The environment variable of a key: XONCE_BATCH_MAX of batch.max. Cut off when it does not fit, which no key of the table does. */
void xo_config_variable(const char *key, char *out, size_t size);
/* A name that begins with XONCE_, is the variable of no key and nothing else of ours, and looks like a mistyped one: that one, made with xo_strdup. NULL: it is none. */
char *xo_config_mistyped(const char *name);
/* The value that a key has in `from`, set or default. */
xonce_status xo_config_take(xonce_config *c, const xonce_config *from, const char *key);
void xo_config_swap(xonce_config *a, xonce_config *b);
/* What stands behind a head [KIND NAME] in a file: fn is called for the head with key NULL, then for each of its lines. */
typedef xonce_status (*xo_section_fn)(const char *kind, const char *name, const char *key, const char *value, void *arg);
/* As xonce_config_load, which passes over the sections of a consumer; fn (NULL: as there) gets them. Its errors get file and line. */
xonce_status xo_config_load_sections(xonce_config *c, const char *path, xo_section_fn fn, void *arg);
/* Getters: cfg may be NULL (all defaults). Keys are literals of ours: an unknown one is a bug and yields the zero value. */
const char *xo_config_text(const xonce_config *cfg, const char *key);   /* NULL when unset */
int64_t xo_config_int(const xonce_config *cfg, const char *key);        /* INT, DURATION, SIZE, BOOL; CHOICE gives its index */
/* Is this time (ms since the epoch) inside a WINDOW's value, as xo_config_int() gives it? Always inside one that is unset. */
int xo_window_open(int64_t window, int64_t now_ms);
int xo_config_is_set(const xonce_config *cfg, const char *key);         /* set by hand, not by default */
xonce_status xo_config_copy(xonce_config **out, const xonce_config *cfg); /* NULL gives an empty one */
/* A copy of under, with what is set in over (may be NULL) instead. */
xonce_status xo_config_overlay(xonce_config **out, const xonce_config *under, const xonce_config *over);
#endif
