/* Copies in several connections and processes at once. */
#include "suite.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* ---- a second copy waits for the first ---- */

typedef struct {
    xonce_store *s;
    const xonce_message *m;
    xonce_outcome what;
    xonce_status st;
    int done;
} copy;

static void *run_copy(void *arg)
{
    copy *c = arg;
    c->st = xonce_once(c->s, c->m, book, NULL, &c->what);
    __atomic_store_n(&c->done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static int copy_done(void *arg)
{
    return __atomic_load_n(&((copy *)arg)->done, __ATOMIC_SEQ_CST);
}

START_TEST(the_second_copy_waits)
{
    int commit = _i;
    xonce_store *s = open_store("GID_a"), *other = open_store("GID_a");
    xonce_message *m = message("m1", "x");
    xonce_outcome what;
    xonce_tx *tx = NULL;
    ck_assert_int_eq(xonce_tx_begin(s, &tx), XONCE_OK);
    ck_assert_int_eq(xonce_tx_claim(tx, (const xonce_message *const *)&m, 1, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_FRESH);
    copy c = {.s = other, .m = m};
    pthread_t t;
    pthread_create(&t, NULL, run_copy, &c);
    ck_assert(!wait_until(copy_done, &c, 300)); /* it waits for the key */
    if (commit) {
        book(tx, m, NULL);
        ck_assert_int_eq(xonce_tx_commit(tx), XONCE_OK);
    } else {
        xonce_tx_rollback(tx);
    }
    ck_assert(wait_until(copy_done, &c, 20000));
    pthread_join(t, NULL);
    ck_assert_int_eq(c.st, XONCE_OK);
    ck_assert_int_eq(c.what, commit ? XONCE_DUPLICATE : XONCE_FRESH);
    ck_assert_int_eq(orders(), 1);
    xonce_message_free(m);
    xonce_store_close(other);
    xonce_store_close(s);
}
END_TEST

/* ---- overlapping batches ---- */

typedef struct {
    xonce_store *s;
    unsigned seed;
    int rounds, errors, conflicts;
    char text[512];
} hammer;

enum { POOL = 60, TAKE = 20 };

static xonce_verdict book_batch(xonce_tx *tx, xonce_batch *b, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < xonce_batch_count(b); i++)
        book(tx, xonce_batch_at(b, i), NULL);
    return XONCE_DONE;
}

/* Takes messages of a small pool in random order again and again, as redeliveries to many consumers would. */
static void *pound(void *arg)
{
    hammer *h = arg;
    for (int r = 0; r < h->rounds; r++) {
        xonce_message *m[TAKE];
        xonce_outcome what[TAKE];
        for (int i = 0; i < TAKE; i++) {
            char id[32];
            snprintf(id, sizeof id, "p%d-%03d", r, rand_r(&h->seed) % POOL);
            m[i] = message(id, "x");
        }
        xonce_status st = xonce_once_batch(h->s, (const xonce_message *const *)m, TAKE, book_batch, NULL, what);
        if (st != XONCE_OK) {
            h->errors++;
            snprintf(h->text, sizeof h->text, "%s", xonce_error_last()->text);
        }
        for (int i = 0; i < TAKE; i++)
            xonce_message_free(m[i]);
    }
    return NULL;
}

START_TEST(overlapping_batches_do_not_deadlock)
{
    enum { THREADS = 8 };
    pthread_t t[THREADS];
    hammer h[THREADS];
    xonce_store *s = open_store("GID_a");
    for (unsigned i = 0; i < THREADS; i++) {
        h[i] = (hammer){.s = s, .seed = i + 1, .rounds = 12};
        pthread_create(&t[i], NULL, pound, &h[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < THREADS; i++)
        ck_assert_msg(h[i].errors == 0, "%d errors: %s", h[i].errors, h[i].text);
    ck_assert_int_eq(orders(), sql_int("SELECT COUNT(DISTINCT id) FROM orders"));
    ck_assert_int_eq(orders(), records());
    xonce_store_close(s);
}
END_TEST

/* ---- a process that is stopped or killed with a claim in hand ---- */

static pid_t claim_in_a_child(const char *id, int ready_fd)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    xonce_store *s = open_store("GID_a");
    xonce_message *m = message(id, "x");
    xonce_outcome what;
    xonce_tx *tx = NULL;
    int ok = xonce_tx_begin(s, &tx) == XONCE_OK && xonce_tx_claim(tx, (const xonce_message *const *)&m, 1, &what) == XONCE_OK && book(tx, m, NULL) == XONCE_DONE &&
             xonce_tx_flush(tx) == XONCE_OK;
    char c = ok ? 'y' : 'n';
    if (write(ready_fd, &c, 1) != 1)
        _exit(2);
    for (;;)
        pause();
}

START_TEST(a_killed_holder_leaves_nothing)
{
    int fd[2];
    char c = 0;
    ck_assert_int_eq(pipe(fd), 0);
    pid_t pid = claim_in_a_child("m1", fd[1]);
    ck_assert_int_eq(read(fd[0], &c, 1), 1);
    ck_assert_int_eq(c, 'y');
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    xonce_store *s = open_store("GID_a");
    ck_assert_int_eq(once(s, "m1", "x"), XONCE_FRESH);
    ck_assert_int_eq(orders(), 1);
    xonce_store_close(s);
    close(fd[0]);
    close(fd[1]);
}
END_TEST

START_TEST(a_stopped_holder_does_not_cost_a_message)
{
    int fd[2];
    char c = 0;
    ck_assert_int_eq(pipe(fd), 0);
    pid_t pid = claim_in_a_child("m1", fd[1]);
    ck_assert_int_eq(read(fd[0], &c, 1), 1);
    kill(pid, SIGSTOP);
    xonce_store *s = open_store_with("GID_a", "store.lock-timeout", "200ms");
    xonce_message *m = message("m1", "x");
    xonce_outcome what = XONCE_FRESH;
    xonce_status st = xonce_once(s, m, book, NULL, &what);
    ck_assert_int_ne(st, XONCE_OK); /* waited for, given up, told so: neither fresh nor duplicate */
    ck_assert_int_eq(what, XONCE_DEFERRED);
    ck_assert(xonce_error_last()->again);
    if (on != ON_SQLITE) { /* others pass; SQLite has one writer, and it is stopped */
        ck_assert_int_eq(once(s, "m2", "x"), XONCE_FRESH);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ck_assert_int_eq(xonce_once(s, m, book, NULL, &what), XONCE_OK);
    ck_assert_int_eq(what, XONCE_FRESH);
    ck_assert_int_eq(orders(), on == ON_SQLITE ? 1 : 2);
    xonce_message_free(m);
    xonce_store_close(s);
    close(fd[0]);
    close(fd[1]);
}
END_TEST

Suite *suite_concurrency(void)
{
    Suite *s = suite_create("concurrency");
    TCase *t = tcase_create("concurrency");
    tcase_add_checked_fixture(t, fresh_database, NULL);
    tcase_set_timeout(t, 180);
    tcase_add_loop_test(t, the_second_copy_waits, 0, 2);
    tcase_add_test(t, overlapping_batches_do_not_deadlock);
    tcase_add_test(t, a_killed_holder_leaves_nothing);
    tcase_add_test(t, a_stopped_holder_does_not_cost_a_message);
    suite_add_tcase(s, t);
    return s;
}
