/* What is in force beyond the keys of the configuration: which source, topics and databases, section by section. */
#include "base/config.h"
#include "base/text.h"
#include "status/inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_all(char **texts, size_t n)
{
    for (size_t i = 0; texts && i < 3 * n; i++) {
        free(texts[i]);
    }
    free(texts);
}

void xo_facts_free(xo_watched *w)
{
    free_all(w->facts, w->nfacts);
    w->facts = NULL;
    w->nfacts = 0;
}

xonce_status xo_status_facts(xo_status *s, const xonce_consumer *c, const xo_fact *facts, size_t n)
{
    char **texts = n < SIZE_MAX / 3 ? xo_calloc(3 * n + 1, sizeof(*texts)) : NULL;
    int failed = !texts;
    for (size_t i = 0; i < n && !failed; i++) {
        const char *from[] = {facts[i].section, facts[i].key, facts[i].value};
        for (size_t k = 0; k < 3; k++) {
            texts[3 * i + k] = xo_strdup(from[k]);
            failed |= !texts[3 * i + k];
        }
    }
    if (failed) {
        free_all(texts, n);
        return xo_nomem();
    }
    pthread_mutex_lock(&s->lock);
    for (xo_watched *w = s->list; w; w = w->next) {
        if (w->c == c) {
            char **was = w->facts;
            size_t nwas = w->nfacts;
            w->facts = texts;
            w->nfacts = n;
            texts = was;
            n = nwas;
            break;
        }
    }
    pthread_mutex_unlock(&s->lock);
    free_all(texts, n); /* the old ones; or these, of a consumer that is not shown */
    return XONCE_OK;
}

/* ---- as JSON ---- */

static void fact(xo_buf *b, const char *section, const char *key, const char *value)
{
    xo_buf_str(b, b->p && b->p[b->len - 1] == '[' ? "{\"section\":" : ",{\"section\":");
    xo_buf_json(b, section, strlen(section));
    xo_buf_str(b, ",\"key\":");
    xo_buf_json(b, key, strlen(key));
    xo_buf_str(b, ",\"value\":");
    xo_buf_json(b, value, strlen(value));
    xo_buf_char(b, '}');
}

static void numbered(xo_buf *b, const char *what, size_t n, const char *key, const char *value)
{
    char section[64];
    (void)snprintf(section, sizeof(section), "%s %zu", what, n);
    fact(b, section, key, value);
}

static void known_anyway(xo_buf *b, const xo_view_of *v)
{
    fact(b, "source", "from", v->source_uri ? v->source_uri : v->source_kind);
    fact(b, "source", "group", v->group);
    for (size_t i = 0; i < v->ntopics; i++) {
        const xo_topic_view *t = &v->topics[i];
        numbered(b, "subscription", i + 1, "topic", t->topic);
        numbered(b, "subscription", i + 1, "tags", t->tags && *t->tags ? t->tags : "*");
        numbered(b, "subscription", i + 1, "handler", t->kind);
        numbered(b, "subscription", i + 1, "claim", v->no_dedup ? "none" : t->by_offset ? "offset" : "record");
    }
    for (size_t i = 0; i < v->nstores; i++) {
        char *uri = xo_uri_mask(xo_pool_options(v->stores[i].store->pool)->uri_text);
        numbered(b, "store", i + 1, "uri", uri ? uri : "");
        free(uri);
    }
}

void xo_facts_json(xo_buf *b, const xo_shot *s)
{
    xo_buf_char(b, '[');
    for (size_t i = 0; i < s->w->nfacts; i++) {
        fact(b, s->w->facts[3 * i], s->w->facts[3 * i + 1], s->w->facts[3 * i + 2]);
    }
    if (!s->w->nfacts) {
        known_anyway(b, &s->v);
    }
    xo_buf_char(b, ']');
}
