/* A batch handler: all fresh messages of a transaction at once, one commit for all of them. A bad message leaves the batch and sinks nobody else. */
#include <stdio.h>
#include <string.h>
#include <xonce/xonce.h>

static xonce_verdict book_all(xonce_tx *tx, xonce_batch *b, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < xonce_batch_count(b); i++) {
        const xonce_message *m = xonce_batch_at(b, i);
        size_t len;
        const char *body = xonce_message_body(m, &len);
        if (len == 0 || strspn(body, "0123456789") != len) {
            xonce_batch_reject(b, i, "the amount is not a number"); /* the handler is called again without it */
            continue;
        }
        if (xonce_exec(tx, "INSERT INTO bookings (id, amount) VALUES ($1, $2)", xonce_text(xonce_message_id(m)), xonce_decimal(body)) != XONCE_OK)
            return XONCE_RETRY;
    }
    return XONCE_DONE;
}

static xonce_status create_table(xonce_store *store)
{
    xonce_tx *tx;
    xonce_status st = xonce_tx_begin(store, &tx);
    if (st != XONCE_OK)
        return st;
    if ((st = xonce_exec(tx, "CREATE TABLE IF NOT EXISTS bookings (id TEXT, amount NUMERIC)")) == XONCE_OK)
        return xonce_tx_commit(tx);
    xonce_tx_rollback(tx);
    return st;
}

int main(void)
{
    enum { N = 100 };
    static const char *const names[] = {"applied", "duplicate", "rejected", "put off"};
    xonce_message *m[N] = {NULL};
    xonce_outcome what[N];
    size_t counts[4] = {0}, i;
    xonce_store *store;
    xonce_status st = xonce_store_open(&store, "sqlite:batch.db", "GID_batch", NULL);
    if (st == XONCE_OK)
        st = xonce_store_upgrade(store);
    if (st == XONCE_OK)
        st = create_table(store);
    for (i = 0; i < N && st == XONCE_OK; i++) {
        char id[32], body[32];
        size_t which = i > 0 && i % 5 == 0 ? i - 1 : i; /* every fifth is its neighbour again */
        snprintf(id, sizeof id, "B-%zu", which);
        if (which == 42)
            snprintf(body, sizeof body, "forty-two");
        else
            snprintf(body, sizeof body, "%zu", which);
        st = xonce_message_new(&m[i], "bookings", id, body, strlen(body));
    }
    if (st == XONCE_OK)
        st = xonce_once_batch(store, (const xonce_message *const *)m, N, book_all, NULL, what);
    for (i = 0; i < N; i++) {
        if (st == XONCE_OK)
            counts[what[i]]++;
        xonce_message_free(m[i]);
    }
    for (i = 0; i < 4 && st == XONCE_OK; i++)
        printf("%s: %zu\n", names[i], counts[i]);
    if (st != XONCE_OK)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    return st != XONCE_OK;
}
