/* Looking into the queues without changing them: how far a group is, and what is out. All with the engine's lock held. */
#ifndef XO_LOOK_H
#define XO_LOOK_H
#include "endpoint/engine.h"
/* The messages of one topic as one group sees them. */
typedef struct {
    int64_t messages; /* all below: kept in the log, or waiting for their time */
    int64_t settled;  /* acknowledged, or given up after too many hand-outs */
    int64_t in_flight; /* handed out and not settled */
    int64_t waiting;  /* to be handed out, now or again */
    int64_t timed;    /* their time has not come */
    int64_t halves;   /* neither committed nor rolled back: not among messages */
} xo_look;
/* Messages with one of the tags only; ntags 0: all. g NULL: a group that has never come. */
void xo_look_at(const xo_topic *t, const xo_group *g, const char *const *tags, size_t ntags, xo_look *out);
/* 1 when none of them is left to settle; stops looking at the first that is. */
int xo_look_settled(const xo_topic *t, const xo_group *g, const char *const *tags, size_t ntags);
const xo_group *xo_look_group(const xo_topic *t, const char *name); /* NULL when it has never come */
/* Each message of a topic that is out to a group (NULL: to any), with its newest handle. fn must not change anything but the handle's timer. */
void xo_look_out(const xo_topic *t, const xo_group *g, void (*fn)(const xo_node *n, xo_handle *newest, void *arg), void *arg);
#endif
