/* The header of a frame as Java brokers nearly always write it, without blanks, escapes or anything but texts and short numbers: read where it stands. Whatever is another way, or wrong, is left to the JSON library, which
   also says what is wrong. */
#include "remoting/wirejson.h"
#include <string.h>

enum { FIELDS_MAX = 32 };

typedef struct {
    char *at, *end;
} cursor;

typedef struct {
    char *p;
    size_t n;
} word;

typedef struct {
    word name, value;
} word_pair;

typedef struct {
    word_pair fields[FIELDS_MAX];
    size_t nfields;
    word language, remark, ignored;
    int32_t code, opaque, flag, version;
    unsigned seen;
} header;

static int skip(cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted) {
        return 0;
    }
    c->at++;
    return 1;
}

/* "..." */
static int read_word(cursor *c, word *out)
{
    if (!skip(c, '"')) {
        return 0;
    }
    out->p = c->at;
    while (c->at < c->end && *c->at >= 0x20 && *c->at < 0x7f && *c->at != '"' && *c->at != '\\') {
        c->at++;
    }
    out->n = (size_t)(c->at - out->p);
    return skip(c, '"');
}

/* At most 9 digits, the first not 0. */
static int read_number(cursor *c, int32_t *out)
{
    int negative = skip(c, '-');
    const char *first = c->at;
    int32_t v = 0;
    for (; c->at < c->end && c->at - first < 9 && *c->at >= '0' && *c->at <= '9'; c->at++) {
        v = v * 10 + (*c->at - '0');
    }
    *out = negative ? -v : v;
    return c->at > first && (*first != '0' || c->at - first == 1);
}

static int is_word(const word *w, const char *text, size_t n)
{
    return w->n == n && memcmp(w->p, text, n) == 0;
}

static int read_fields(cursor *c, header *h)
{
    if (!skip(c, '{')) {
        return 0;
    }
    if (skip(c, '}')) {
        return 1;
    }
    do {
        word_pair *f = &h->fields[h->nfields];
        if (h->nfields == FIELDS_MAX || !read_word(c, &f->name) || !skip(c, ':') || !read_word(c, &f->value)) {
            return 0;
        }
        for (size_t i = 0; i < h->nfields; i++) {
            if (is_word(&f->name, h->fields[i].name.p, h->fields[i].name.n)) {
                return 0;
            }
        }
        h->nfields++;
    } while (skip(c, ','));
    return skip(c, '}');
}

enum { KEY_CODE = 1, KEY_OPAQUE = 2, KEY_FLAG = 4, KEY_VERSION = 8, KEY_LANGUAGE = 16, KEY_REMARK = 32, KEY_FORM = 64, KEY_FIELDS = 128 };

static unsigned kind_of(const word *name)
{
    static const struct {
        const char *name;
        size_t n;
        unsigned kind;
    } names[] = {{"code", 4, KEY_CODE},         {"extFields", 9, KEY_FIELDS}, {"flag", 4, KEY_FLAG}, {"language", 8, KEY_LANGUAGE}, {"opaque", 6, KEY_OPAQUE}, {"remark", 6, KEY_REMARK},
                 {"version", 7, KEY_VERSION}, {"serializeTypeCurrentRPC", 23, KEY_FORM}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (is_word(name, names[i].name, names[i].n)) {
            return names[i].kind;
        }
    }
    return 0;
}

static int read_member(cursor *c, header *h)
{
    word name;
    unsigned kind = read_word(c, &name) && skip(c, ':') ? kind_of(&name) : 0;
    if (h->seen & kind) {
        return 0;
    }
    h->seen |= kind;
    switch (kind) {
    case KEY_CODE: return read_number(c, &h->code);
    case KEY_OPAQUE: return read_number(c, &h->opaque);
    case KEY_FLAG: return read_number(c, &h->flag);
    case KEY_VERSION: return read_number(c, &h->version);
    case KEY_LANGUAGE: return read_word(c, &h->language);
    case KEY_REMARK: return read_word(c, &h->remark);
    case KEY_FORM: return read_word(c, &h->ignored);
    case KEY_FIELDS: return read_fields(c, h);
    default: return 0;
    }
}

static char *ended(const word *w)
{
    w->p[w->n] = 0; /* the quote behind it */
    return w->p;
}

int xo_header_read(xo_command *c, char *p, size_t n)
{
    cursor at = {p, p + n};
    header h;
    h.nfields = 0;
    h.seen = 0;
    h.flag = h.version = 0;
    if (!skip(&at, '{')) {
        return 0;
    }
    do {
        if (!read_member(&at, &h)) {
            return 0;
        }
    } while (skip(&at, ','));
    if (!skip(&at, '}') || at.at != at.end || (h.seen & (KEY_CODE | KEY_OPAQUE | KEY_LANGUAGE)) != (KEY_CODE | KEY_OPAQUE | KEY_LANGUAGE)) {
        return 0;
    }
    int language = xo_language_number(h.language.p, h.language.n);
    xo_command_field *fields = h.nfields ? xo_arena_alloc(&c->memory, h.nfields * sizeof(*fields)) : NULL;
    if (h.nfields && !fields) {
        return 0;
    }
    for (size_t i = 0; i < h.nfields; i++) {
        fields[i] = (xo_command_field){ended(&h.fields[i].name), ended(&h.fields[i].value)};
    }
    c->fields = fields;
    c->nfields = c->cap = h.nfields;
    c->code = h.code;
    c->opaque = h.opaque;
    c->flag = h.flag;
    c->version = h.version;
    c->language = language;
    c->remark = h.seen & KEY_REMARK ? ended(&h.remark) : NULL;
    return 1;
}
