/* xonce convert: from a Spring XML of the Java consumer to settings, a handler skeleton in C, and a report. One arena holds everything. */
#ifndef XO_CLI_CONVERT_H
#define XO_CLI_CONVERT_H
#include "base/buf.h"
#include "base/mem.h"

enum { XO_CV_FILE_MAX = 4 << 20, XO_CV_DEPTH = 64, XO_CV_NODES = 50000, XO_CV_TEXT_MAX = 64 * 1024 };

typedef struct xo_cv_attr {
    const char *name, *uri, *value; /* uri: of its namespace, "" when it has none */
    struct xo_cv_attr *next;
} xo_cv_attr;
typedef struct xo_cv_node {
    const char *name, *text; /* name without prefix; text is trimmed, "" where elements are inside */
    const char *file;
    int line;
    size_t number; /* in the order of all files */
    xo_cv_attr *attrs;
    struct xo_cv_node *parent, *first, *last, *next;
} xo_cv_node;

/* A value of the file. env: it holds a placeholder that nobody resolved; the whole text is then to come from this environment variable. */
typedef struct {
    const char *text, *env;
    int line;
} xo_cv_value;

typedef struct {
    const char *name, *value;
} xo_cv_pair;
typedef struct {
    xo_cv_pair *items;
    size_t n, cap;
} xo_cv_pairs;

typedef enum { XO_CV_STOP /* to be decided before it runs */, XO_CV_DIFFERS /* no counterpart, or another one */, XO_CV_KEPT /* taken over */ } xo_cv_level;
typedef struct {
    xo_cv_level level;
    const char *where, *text; /* where: "consumer.xml:12", or "" */
} xo_cv_note;

typedef struct {
    const char *name, *bean, *class; /* name: of the C function */
    int kind;                        /* XO_CV_... of its topic */
} xo_cv_handler;
enum { XO_CV_EACH, XO_CV_ORDERED, XO_CV_BATCH };
typedef struct {
    xo_cv_value topic, tags;
    size_t handler;
} xo_cv_subscription;
typedef struct {
    const char *key;        /* of xonce.conf(5) */
    const char *value;      /* as it is written into the file; may hold ${VARIABLE} */
    const char *java;       /* the name it came under */
    const char *wrong;      /* NULL, or why the value is refused: it is written as a comment */
} xo_cv_setting;
typedef struct {
    const char *name, *value; /* value NULL: it is not written down */
    const char *what;         /* for the comment */
    int secret;
} xo_cv_variable;
typedef struct {
    const char *id, *file_name; /* of the bean; file_name: the part that tells its files from others', "" when there is one consumer */
    int kind, line;
    xo_cv_value group, from;
    xo_cv_setting *settings;
    xo_cv_subscription *subscriptions;
    xo_cv_handler *handlers;
    xo_cv_variable *variables;
    size_t nsettings, nsubscriptions, nhandlers, nvariables, settings_cap, subscriptions_cap, handlers_cap, variables_cap;
} xo_cv_consumer;

typedef struct {
    const char *id;
    const xo_cv_node *node;
} xo_cv_name;

typedef struct {
    xo_arena memory;
    int failed;               /* out of memory somewhere: nothing may be used */
    xo_cv_node *root;         /* its children are the root elements of the files */
    size_t nodes, expansions;
    xo_cv_name *names;        /* of all beans that are active, sorted; made when all files are read */
    size_t nnames, names_cap;
    xo_cv_pairs given;        /* --properties, and properties that stand in the files */
    const char *properties;   /* name of the file of --properties, without folders; NULL */
    const char *encoding, *profile, *data_source; /* options; NULL */
    xo_cv_note *notes;
    size_t nnotes, notes_cap, dropped;
    xo_cv_consumer *consumers;
    size_t nconsumers, consumers_cap;
    const char *store;        /* the store's URI for the shell, "" when it is not known; may hold ${VARIABLE} */
    xo_cv_variable *store_variables;
    size_t nstore_variables, store_variables_cap;
} xo_cv;

/* ---- memory ---- */
const char *xo_cv_keep(xo_cv *cv, const char *s, size_t n); /* never NULL; sets failed */
const char *xo_cv_format(xo_cv *cv, const char *fmt, ...) XO_PRINTF(2, 3);
void *xo_cv_more(xo_cv *cv, void *list, size_t *n, size_t *cap, size_t size); /* the list with room for one more, *n counted up, zeroed; NULL sets failed */
/* at may be NULL. Beyond some hundred they are only counted. */
void xo_cv_say(xo_cv *cv, xo_cv_level level, const xo_cv_node *at, const char *fmt, ...) XO_PRINTF(4, 5);
void xo_cv_free(xo_cv *cv);

/* ---- reading ---- */
/* A file as UTF-8 without its document type; *text is the arena's. Errors name the file. */
xonce_status xo_cv_load(xo_cv *cv, const char *path, const char **text, size_t *n);
xonce_status xo_cv_read_file(xo_cv *cv, const char *path, const char **bytes, size_t *n); /* the bytes as they are */
/* Appends the file's root element to cv->root. */
xonce_status xo_cv_parse(xo_cv *cv, const char *path);
/* Lines of a Java .properties file, from n bytes of UTF-8 or ISO-8859-1. */
void xo_cv_properties(xo_cv *cv, xo_cv_pairs *out, const char *p, size_t n);

/* ---- beans ---- */
const char *xo_cv_attribute(const xo_cv_node *node, const char *name); /* without a namespace; NULL when absent */
xo_cv_value xo_cv_resolve(xo_cv *cv, const xo_cv_node *at, const char *text);
void xo_cv_index(xo_cv *cv);                                           /* once, when all files are read */
const xo_cv_node *xo_cv_bean(xo_cv *cv, const char *id);               /* by id, name or alias; NULL */
const char *xo_cv_class(xo_cv *cv, const xo_cv_node *bean);            /* its own or its parent's; "" */
const char *xo_cv_class_name(const char *class);                       /* without the package */
/* What a property, a constructor argument or an entry is given: text, a bean by name, or an element. */
typedef struct {
    const xo_cv_node *at;    /* for lines */
    const char *name, *text, *ref;
    const xo_cv_node *value;
} xo_cv_arg;
int xo_cv_property(xo_cv *cv, const xo_cv_node *bean, const char *name, xo_cv_arg *out); /* 1: it is there, here or in a parent */
size_t xo_cv_setters(xo_cv *cv, const xo_cv_node *bean, xo_cv_arg *out, size_t most);      /* all properties of this bean itself */
size_t xo_cv_constructor(xo_cv *cv, const xo_cv_node *bean, xo_cv_arg *out, size_t most);
xo_cv_arg xo_cv_element(const xo_cv_node *node);                       /* of <value>, <ref>, <bean>... itself */
int xo_cv_text(xo_cv *cv, const xo_cv_arg *arg, xo_cv_value *out);     /* 1: it is a text */
/* What the bean of this id, some properties or a map, holds under a name, as it stands there; NULL. */
const char *xo_cv_entry(xo_cv *cv, const char *id, const char *name);
const xo_cv_node *xo_cv_target(xo_cv *cv, const xo_cv_arg *arg);       /* the bean it names or holds; NULL */
/* The <map>, <props>, <list>... that it is, also behind a reference or a factory bean; NULL. */
const xo_cv_node *xo_cv_container(xo_cv *cv, const xo_cv_arg *arg);
typedef struct {
    xo_cv_value name, value;
    const xo_cv_node *at;
} xo_cv_item;
typedef struct {
    xo_cv_item *items;
    size_t n, cap;
} xo_cv_items;
/* A java.util.Properties, however it is written. */
void xo_cv_collect(xo_cv *cv, const xo_cv_arg *arg, xo_cv_items *out);
int xo_cv_active(const xo_cv *cv, const xo_cv_node *node);             /* is it outside of profiles that were not asked for? */
const xo_cv_node *xo_cv_next(const xo_cv_node *node, const xo_cv_node *top); /* the next in document order below top; NULL */

/* ---- the consumers ---- */
/* Fills cv->consumers, store and notes. NOT_FOUND: there is no consumer in the files. */
xonce_status xo_cv_model(xo_cv *cv);
void xo_cv_find_store(xo_cv *cv);
void xo_cv_setting_of(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item); /* one property of the Java client */
xo_cv_variable *xo_cv_variable_for(xo_cv *cv, xo_cv_variable **list, size_t *n, size_t *cap, const char *name, const char *value, const char *what, int secret);
void xo_cv_address(xo_cv *cv, xo_cv_consumer *c, const xo_cv_item *item);   /* NAMESRV_ADDR and its like */

/* ---- writing ---- */
void xo_cv_write_conf(xo_buf *b, const xo_cv *cv, const xo_cv_consumer *c);
void xo_cv_write_environment(xo_buf *b, const xo_cv *cv, const xo_cv_consumer *c, int secrets);
void xo_cv_write_skeleton(xo_buf *b, const xo_cv *cv, const xo_cv_consumer *c);
void xo_cv_write_report(xo_buf *b, const xo_cv *cv, const char *dir);
const char *xo_cv_stem(xo_cv *cv, const xo_cv_consumer *c, const char *alone); /* "xonce", or the consumer's own name when there are several */
#endif
