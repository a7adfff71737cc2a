/* A loop of your own around xonce_once(), shaped like a Kafka consumer: poll, apply, commit the offset last. The process may die at any line and
   replay from the committed offset: the effects are there once. Give it the number of messages after which it is to die without committing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xonce/xonce.h>

/* The broker, in small: partition 0 of topic "clicks" holds offsets 0..19, and a file keeps the committed offset. */
enum { END = 20 };

static long committed(void)
{
    long offset = 0;
    FILE *f = fopen("offset.txt", "r");
    if (f && fscanf(f, "%ld", &offset) != 1)
        offset = 0;
    if (f)
        fclose(f);
    return offset;
}

static void commit_offset(long offset)
{
    FILE *f = fopen("offset.txt", "w");
    if (f) {
        fprintf(f, "%ld\n", offset);
        fclose(f);
    }
}

static xonce_verdict count_click(xonce_tx *tx, const xonce_message *m, void *arg)
{
    (void)arg;
    return xonce_exec(tx, "UPDATE clicks SET n = n + $1", xonce_decimal(xonce_message_body(m, NULL))) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}

static int set_up(xonce_store *store)
{
    xonce_tx *tx;
    if (xonce_store_upgrade(store) != XONCE_OK || xonce_tx_begin(store, &tx) != XONCE_OK)
        return 0;
    xonce_exec(tx, "CREATE TABLE IF NOT EXISTS clicks (n INTEGER)");
    xonce_exec(tx, "INSERT INTO clicks SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM clicks)");
    return xonce_tx_commit(tx) == XONCE_OK;
}

int main(int argc, char **argv)
{
    long die_after = argc > 1 ? strtol(argv[1], NULL, 10) : END, offset, fresh = 0, duplicates = 0;
    xonce_store *store;
    xonce_status st = xonce_store_open(&store, "sqlite:clicks.db", "GID_clicks", NULL);
    if (st == XONCE_OK && !set_up(store))
        st = xonce_error_last()->code;
    for (offset = committed(); offset < END && st == XONCE_OK; offset++) {
        xonce_message *m;
        xonce_outcome what;
        char id[48];
        snprintf(id, sizeof id, "clicks-0-%ld", offset); /* topic, partition and offset name a Kafka record for good */
        if ((st = xonce_message_new(&m, "clicks", id, "1", 1)) != XONCE_OK)
            break;
        xonce_message_set_origin(m, "kafka", 0, offset);
        st = xonce_once(store, m, count_click, NULL, &what);
        xonce_message_free(m);
        if (st != XONCE_OK || what == XONCE_DEFERRED)
            break; /* do not move on: the record comes again */
        fresh += what == XONCE_FRESH;
        duplicates += what == XONCE_DUPLICATE;
        if (fresh + duplicates == die_after)
            break; /* as if the process were killed here: the offset is not committed */
        if (offset % 5 == 4)
            commit_offset(offset + 1);
    }
    printf("fresh %ld, duplicate %ld\n", fresh, duplicates);
    if (st != XONCE_OK)
        fprintf(stderr, "%s\n", xonce_error_last()->text);
    xonce_store_close(store);
    return st != XONCE_OK;
}
