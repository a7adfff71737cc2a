/* The language of --sql: SQL with :fields of a message, which become bound parameters. Also single fields, for --id. */
#ifndef XO_CLI_SQLTEMPLATE_H
#define XO_CLI_SQLTEMPLATE_H
#include "base/mem.h"
#include "cli/jsonpath.h"
#include "message/message.h"
#include "store/sqltext.h"

typedef enum { XO_FIELD_ID, XO_FIELD_TOPIC, XO_FIELD_TAG, XO_FIELD_KEY, XO_FIELD_BODY, XO_FIELD_ATTEMPT, XO_FIELD_PROPERTY, XO_FIELD_JSON } xo_field_kind;
typedef struct {
    xo_field_kind kind;
    char *name;     /* as written behind the ':', quotes resolved: "body.items.0.sku" */
    char *property; /* the property's name, inside `name` */
    char **steps;   /* XO_FIELD_JSON: the path; one block with the texts */
    size_t nsteps;
} xo_msg_field;
/* p: what follows the ':', n bytes, quoted or not. XONCE_E_INVALID names what is possible. */
xonce_status xo_field_parse(xo_msg_field *out, const char *p, size_t n);
void xo_field_free(xo_msg_field *f);

/* What fields are read from: one message, its body parsed at the first JSON field. */
typedef struct {
    const xonce_message *m;
    xo_json root;
    int parsed;
    xo_arena arena; /* of texts with escapes */
} xo_field_reader;
/* The value, valid until xo_field_reader_end(). Missing and null are XONCE_NULL. XONCE_E_INVALID: the body is not JSON. */
xonce_status xo_field_read(xo_field_reader *r, const xo_msg_field *f, xonce_value *out);
void xo_field_reader_end(xo_field_reader *r);

typedef struct {
    char *sql;        /* with $1..$n, one per mention */
    xo_msg_field *fields; /* of $1..$n */
    size_t nfields, cap;
} xo_template_statement;
typedef struct {
    xo_template_statement *statements;
    size_t n, cap, most_fields;
} xo_template;
/* XONCE_E_INVALID says what is wrong and where. */
xonce_status xo_template_make(xo_template **out, xo_dialect_kind dialect, const char *sql);
void xo_template_free(xo_template *t);
/* A xonce_handler; arg is the template. */
xonce_verdict xo_template_handler(xonce_tx *tx, const xonce_message *m, void *arg);
#endif
