/* Intrusive doubly linked lists, circular, with a head of their own. */
#ifndef XO_LIST_H
#define XO_LIST_H
#include <stddef.h>
typedef struct xo_link {
    struct xo_link *prev, *next; /* both NULL: in no list */
} xo_link;
/* The struct that holds member at p. */
#define XO_OF(type, member, p) ((type *)(void *)((char *)(p)-offsetof(type, member)))
static inline void xo_list_init(xo_link *head)
{
    head->prev = head->next = head;
}
static inline int xo_list_empty(const xo_link *head)
{
    return head->next == head;
}
static inline int xo_linked(const xo_link *l)
{
    return l->next != NULL;
}
/* Puts l in front of `at`; with a head, that is the end. */
static inline void xo_list_before(xo_link *at, xo_link *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
static inline void xo_list_push(xo_link *head, xo_link *l)
{
    xo_list_before(head, l);
}
static inline void xo_list_unshift(xo_link *head, xo_link *l)
{
    xo_list_before(head->next, l);
}
static inline void xo_list_remove(xo_link *l) /* fine when in no list */
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}
#endif
