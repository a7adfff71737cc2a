/* Ordered messages: those of one sharding key are handled one after the other, also when one has to be tried again. The source is one of our own. */
#include <stdio.h>
#include <string.h>
#include <xonce/xonce.h>

enum { ACCOUNTS = 3, STEPS = 4, ALL = ACCOUNTS * STEPS };

/* A source needs three functions: this one hands out steps 1..4 of three accounts, and forgets what was acknowledged. */
typedef struct { int next, acked; } steps;

static xonce_status subscribe(void *self, const char *group, const char *topic, const char *tags)
{
    return (void)self, (void)group, (void)topic, (void)tags, XONCE_OK;
}

static xonce_status poll_steps(void *self, size_t max, int timeout_ms, xonce_message **out, size_t *n)
{
    steps *s = self;
    xonce_status st = XONCE_OK;
    for (*n = 0; *n < max && s->next < ALL && st == XONCE_OK; s->next++) {
        char id[32], account[16];
        snprintf(account, sizeof account, "A%d", s->next % ACCOUNTS);
        snprintf(id, sizeof id, "%s-%d", account, s->next / ACCOUNTS + 1);
        if ((st = xonce_message_new(&out[*n], "steps", id, id, strlen(id))) == XONCE_OK)
            st = xonce_message_set_property(out[(*n)++], "__SHARDINGKEY", account);
    }
    return (void)timeout_ms, st;
}

static xonce_status ack_steps(void *self, const xonce_message *const *m, size_t n, xonce_status *each)
{
    ((steps *)self)->acked += (int)n;
    return (void)m, (void)each, XONCE_OK;
}

static xonce_verdict step(xonce_tx *tx, const xonce_message *m, void *arg)
{
    int *failures = arg;
    /* A1's second step fails twice: its lane waits and tries again in place, the other lanes go on */
    if (strcmp(xonce_message_id(m), "A1-2") == 0 && (*failures)++ < 2) {
        xonce_fail(tx, "not yet");
        return XONCE_RETRY;
    }
    return xonce_exec(tx, "INSERT INTO steps (account, id) VALUES ($1, $2)", xonce_text(xonce_message_property(m, "__SHARDINGKEY")),
                      xonce_text(xonce_message_id(m))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static int print_row(const xonce_row *r, void *arg)
{
    return (void)arg, printf("%s: %s\n", xonce_row_text(r, 0), xonce_row_text(r, 1)) < 0;
}

int main(void)
{
    static const xonce_source_ops ops = {.size = sizeof ops, .subscribe = subscribe, .poll = poll_steps, .ack = ack_steps};
    steps log = {0, 0};
    int failures = 0, ok;
    xonce_config *cfg = NULL;
    xonce_store *store = NULL;
    xonce_source *source = NULL;
    xonce_consumer *c = NULL;
    xonce_tx *tx = NULL;
    ok = xonce_config_new(&cfg) == XONCE_OK && xonce_config_set(cfg, "exit-when-idle", "500ms") == XONCE_OK && xonce_config_set(cfg, "suspend", "10ms") == XONCE_OK &&
             xonce_store_open(&store, "sqlite:ordered.db", "GID_ordered", cfg) == XONCE_OK && xonce_store_upgrade(store) == XONCE_OK &&
             xonce_tx_begin(store, &tx) == XONCE_OK && xonce_exec(tx, "CREATE TABLE IF NOT EXISTS steps (n INTEGER PRIMARY KEY, account TEXT, id TEXT)") == XONCE_OK &&
             xonce_tx_commit(tx) == XONCE_OK && xonce_source_custom(&source, &ops, &log) == XONCE_OK && xonce_consumer_new(&c, store, source, cfg) == XONCE_OK &&
             xonce_on_ordered(c, "steps", "*", step, &failures) == XONCE_OK && xonce_consumer_run(c) == XONCE_OK && xonce_tx_begin(store, &tx) == XONCE_OK;
    if (ok) { /* what the handlers wrote, in the order in which they wrote it */
        ok = xonce_query(tx, "SELECT account, group_concat(id, ' ') FROM (SELECT * FROM steps ORDER BY n) GROUP BY account ORDER BY account", NULL, 0, print_row, NULL) == XONCE_OK && printf("acknowledged: %d\n", log.acked) > 0;
        xonce_tx_rollback(tx);
    } else {
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    }
    xonce_consumer_free(c);
    xonce_source_close(source);
    xonce_store_close(store);
    xonce_config_free(cfg);
    return !ok;
}
