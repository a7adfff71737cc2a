/* Looking into the queues without changing them. */
#include "endpoint/look.h"
#include <string.h>

enum { DONE = 2 }; /* of a group's states */

static int has_tag(const xo_tag *tag, const char *const *tags, size_t ntags)
{
    for (size_t i = 0; i < ntags; i++)
        if (tag && strcmp(tag->text, tags[i]) == 0)
            return 1;
    return ntags == 0;
}

const xo_group *xo_look_group(const xo_topic *t, const char *name)
{
    for (const xo_link *l = t->groups.next; l != &t->groups; l = l->next)
        if (strcmp(XO_OF(xo_group, link, l)->name, name) == 0)
            return XO_OF(xo_group, link, l);
    return NULL;
}

void xo_look_out(const xo_topic *t, const xo_group *g, void (*fn)(const xo_node *n, xo_handle *newest, void *arg), void *arg)
{
    const xo_map *handles = &t->engine->handles;
    for (xo_mapped *m = xo_map_next(handles, NULL); m; m = xo_map_next(handles, m)) {
        xo_handle *h = XO_OF(xo_handle, by_text, m);
        const xo_node *n = h->node;
        if (n && n->state == XO_OUT && h->topic == t && (!g || h->group == g) && n->handles.prev == &h->of)
            fn(n, h, arg);
    }
}

int xo_look_settled(const xo_topic *t, const xo_group *g, const char *const *tags, size_t ntags)
{
    for (int64_t pos = g && g->floor > t->base_pos ? g->floor : t->base_pos; pos < t->next_pos; pos++)
        if (has_tag(xo_topic_entry(t, pos)->tag, tags, ntags) && (!g || xo_group_state(g, pos) != DONE))
            return 0;
    for (const xo_link *l = t->timed.next; l != &t->timed; l = l->next)
        if (has_tag(XO_OF(xo_timed, link, l)->entry.tag, tags, ntags))
            return 0;
    return 1;
}

typedef struct {
    const char *const *tags;
    size_t ntags;
    int64_t n;
} tally;

static void count_out(const xo_node *n, xo_handle *newest, void *arg)
{
    tally *c = arg;
    (void)newest;
    c->n += has_tag(xo_node_tag(n), c->tags, c->ntags);
}

void xo_look_at(const xo_topic *t, const xo_group *g, const char *const *tags, size_t ntags, xo_look *out)
{
    tally flying = {tags, ntags, 0};
    memset(out, 0, sizeof *out);
    for (int64_t pos = t->base_pos; pos < t->next_pos; pos++) {
        if (!has_tag(xo_topic_entry(t, pos)->tag, tags, ntags))
            continue;
        out->messages++;
        out->settled += g && xo_group_state(g, pos) == DONE;
    }
    for (const xo_link *l = t->timed.next; l != &t->timed; l = l->next)
        out->timed += has_tag(XO_OF(xo_timed, link, l)->entry.tag, tags, ntags);
    for (const xo_link *l = t->halves.next; l != &t->halves; l = l->next)
        out->halves += has_tag(XO_OF(xo_half, link, l)->tag, tags, ntags);
    if (g)
        xo_look_out(t, g, count_out, &flying);
    out->in_flight = flying.n;
    out->waiting = out->messages - out->settled - flying.n;
    out->messages += out->timed;
}
