/* The endpoint's database: opening, schema, and the statements of the writer's transactions and of answers. */
#include "endpoint/storage.h"
#include "base/log.h"
#include "endpoint/storage_db.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char schema[] =
    "CREATE TABLE topic(id INTEGER PRIMARY KEY, instance TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL, next_pos INTEGER NOT NULL,"
    " offsets TEXT NOT NULL, UNIQUE(instance, name));"
    "CREATE TABLE message(n INTEGER PRIMARY KEY, topic INTEGER NOT NULL, state INTEGER NOT NULL, pos INTEGER, queue INTEGER, \"offset\" INTEGER,"
    " id BLOB NOT NULL, born INTEGER NOT NULL, at INTEGER NOT NULL, deliver_at INTEGER NOT NULL, check_s INTEGER NOT NULL, lane INTEGER NOT NULL,"
    " tag TEXT, properties TEXT, body TEXT NOT NULL);"
    "CREATE TABLE consumer_group(id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, name TEXT NOT NULL, floor INTEGER NOT NULL, UNIQUE(topic, name));"
    "CREATE TABLE progress(consumer_group INTEGER NOT NULL, pos INTEGER NOT NULL, times INTEGER NOT NULL, first INTEGER NOT NULL,"
    " done INTEGER NOT NULL, PRIMARY KEY(consumer_group, pos)) WITHOUT ROWID;"
    "PRAGMA user_version=1;";

#define PROGRESS "INSERT OR REPLACE INTO progress(consumer_group, done, pos, times, first) VALUES "
#define ROW(pos, times, first) "(?1, ?2, ?" #pos ", ?" #times ", ?" #first ")"
enum { MANY = 8 }; /* rows of XO_PROGRESS_MANY: a row costs two thirds of what it does alone */

static const char *const texts[XO_STATEMENTS] = {
    [XO_BEGIN] = "BEGIN IMMEDIATE",
    [XO_COMMIT] = "COMMIT",
    [XO_ROLLBACK] = "ROLLBACK",
    [XO_TOPIC] = "INSERT INTO topic(id, instance, name, kind, next_pos, offsets) VALUES (?1, ?2, ?3, ?4, 0, '')"
                 " ON CONFLICT(id) DO UPDATE SET kind = excluded.kind",
    [XO_GROUP] = "INSERT OR IGNORE INTO consumer_group(id, topic, name, floor) VALUES (?1, ?2, ?3, ?4)",
    [XO_INSERT] = "INSERT INTO message(n, topic, state, pos, queue, \"offset\", id, born, at, deliver_at, check_s, lane, tag, properties, body)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    [XO_PLACE] = "UPDATE message SET state = ?2, pos = ?3, queue = ?4, \"offset\" = ?5, at = ?6, lane = ?7 WHERE n = ?1",
    [XO_DELETE] = "DELETE FROM message WHERE n = ?1",
    [XO_PROGRESS] = PROGRESS ROW(3, 4, 5),
    [XO_PROGRESS_MANY] = PROGRESS ROW(3, 4, 5) "," ROW(6, 7, 8) "," ROW(9, 10, 11) "," ROW(12, 13, 14) "," ROW(15, 16, 17) "," ROW(18, 19, 20)
        "," ROW(21, 22, 23) "," ROW(24, 25, 26),
    [XO_FLOOR] = "UPDATE consumer_group SET floor = ?2 WHERE id = ?1",
    [XO_BELOW] = "DELETE FROM progress WHERE consumer_group = ?1 AND pos < ?2",
    [XO_COUNTERS] = "UPDATE topic SET next_pos = ?2, offsets = ?3 WHERE id = ?1",
    [XO_READ] = "SELECT n, tag, properties, body FROM message WHERE n >= ?1 ORDER BY n",
    [XO_READ_BEGIN] = "BEGIN",
    [XO_READ_END] = "COMMIT",
};

static xonce_status failed(const xo_storage *s, const char *what)
{
    return xo_fail(XONCE_E_SQL, "%s: %s: %s", s->file, what, sqlite3_errmsg(s->db ? s->db : s->reader));
}

static int complain(const xo_storage *s, const char *what)
{
    xo_log(XO_ERROR, "endpoint", "%s: %s: %s", s->file, what, sqlite3_errmsg(s->db));
    return -1;
}

static xonce_status connect_file(xo_storage *s, sqlite3 **db)
{
    int rc = sqlite3_open_v2(s->file, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return xo_fail(XONCE_E_CONNECT, "%s: %s", s->file, *db ? sqlite3_errmsg(*db) : "out of memory");
    sqlite3_busy_timeout(*db, 10000);
    return XONCE_OK;
}

/* One process a folder: two would hand out the same messages. */
static xonce_status lock_folder(xo_storage *s, const char *dir)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return xo_fail(XONCE_E_INVALID, "cannot make the folder %s: %s", dir, strerror(errno));
    char *path = xo_printf("%s/lock", dir);
    if (!path)
        return xo_nomem();
    s->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    int error = errno;
    free(path);
    if (s->lock_fd < 0)
        return xo_fail(XONCE_E_INVALID, "cannot write to the folder %s: %s", dir, strerror(error));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return xo_fail(XONCE_E_CONFLICT, "the folder %s is in use by another endpoint", dir);
    return XONCE_OK;
}

static xonce_status make_schema(xo_storage *s, int sync)
{
    if (sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) != SQLITE_OK)
        return failed(s, "journal_mode=WAL");
    if (sqlite3_exec(s->db, sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL, NULL, NULL) != SQLITE_OK)
        return failed(s, "synchronous");
    sqlite3_stmt *st = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (version < 0)
        return failed(s, "reading its version");
    if (version > 1)
        return xo_fail(XONCE_E_SCHEMA, "%s was written by a newer version of this program", s->file);
    if (version == 0) {
        char *sql = xo_printf("BEGIN IMMEDIATE;%sCOMMIT", schema);
        int rc = sql ? sqlite3_exec(s->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
        free(sql);
        if (rc != SQLITE_OK)
            return failed(s, "making its tables");
    }
    return XONCE_OK;
}

xonce_status xo_storage_open(xo_storage **out, const char *dir, int sync)
{
    *out = NULL;
    xo_storage *s = xo_calloc(1, sizeof *s);
    if (!s)
        return xo_nomem();
    s->lock_fd = -1;
    s->transaction = 1;
    pthread_mutex_init(&s->read_lock, NULL);
    s->file = xo_printf("%s/queues.db", dir);
    xonce_status st = s->file ? lock_folder(s, dir) : xo_nomem();
    if (st == XONCE_OK)
        st = connect_file(s, &s->db);
    if (st == XONCE_OK)
        st = make_schema(s, sync);
    if (st == XONCE_OK)
        st = connect_file(s, &s->reader);
    for (int i = 0; st == XONCE_OK && i < XO_STATEMENTS; i++)
        if (sqlite3_prepare_v3(i >= XO_READ ? s->reader : s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL) != SQLITE_OK)
            st = failed(s, "preparing its statements");
    if (st != XONCE_OK) {
        xo_storage_close(s);
        return st;
    }
    *out = s;
    return XONCE_OK;
}

void xo_storage_close(xo_storage *s)
{
    if (!s)
        return;
    for (int i = 0; i < XO_STATEMENTS; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->reader);
    sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->read_lock);
    free(s->file);
    free(s);
}

/* Runs a statement that returns no row. */
static int run(xo_storage *s, int which, const char *what)
{
    sqlite3_stmt *st = s->statements[which];
    int rc = sqlite3_step(st);
    if (rc != SQLITE_DONE)
        complain(s, what);
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : -1;
}

int xo_storage_begin(xo_storage *s)
{
    s->transaction++;
    return run(s, XO_BEGIN, "BEGIN");
}

int xo_storage_commit(xo_storage *s)
{
    return run(s, XO_COMMIT, "COMMIT");
}

void xo_storage_rollback(xo_storage *s)
{
    if (!sqlite3_get_autocommit(s->db))
        run(s, XO_ROLLBACK, "ROLLBACK");
}

int64_t xo_storage_transaction(const xo_storage *s)
{
    return s->transaction;
}

int xo_storage_topic(xo_storage *s, xo_topic *t)
{
    if (t->saved)
        return 0;
    sqlite3_stmt *st = s->statements[XO_TOPIC];
    sqlite3_bind_int64(st, 1, t->id);
    sqlite3_bind_text(st, 2, t->engine->opt.instance, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, t->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 4, (int)t->kind);
    if (run(s, XO_TOPIC, "saving a topic") != 0)
        return -1;
    t->saved = s->transaction;
    return 0;
}

int xo_storage_group(xo_storage *s, xo_group *g)
{
    if (g->saved)
        return 0;
    if (xo_storage_topic(s, g->topic) != 0)
        return -1;
    sqlite3_stmt *st = s->statements[XO_GROUP];
    sqlite3_bind_int64(st, 1, g->id);
    sqlite3_bind_int64(st, 2, g->topic->id);
    sqlite3_bind_text(st, 3, g->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, 0);
    if (run(s, XO_GROUP, "saving a group") != 0)
        return -1;
    g->saved = s->transaction;
    return 0;
}

static void bind_optional(sqlite3_stmt *st, int i, const char *text)
{
    if (text)
        sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, i);
}

int xo_storage_insert(xo_storage *s, const xo_send *m, xo_row_state state)
{
    sqlite3_stmt *st = s->statements[XO_INSERT];
    const xo_entry *e = &m->entry;
    sqlite3_bind_int64(st, 1, e->n);
    sqlite3_bind_int64(st, 2, m->topic->id);
    sqlite3_bind_int(st, 3, (int)state);
    if (state == XO_ROW_VISIBLE)
        sqlite3_bind_int64(st, 4, m->pos);
    else
        sqlite3_bind_null(st, 4);
    sqlite3_bind_int(st, 5, e->queue);
    sqlite3_bind_int64(st, 6, e->offset);
    sqlite3_bind_blob(st, 7, e->id, sizeof e->id, SQLITE_STATIC);
    sqlite3_bind_int64(st, 8, e->born);
    sqlite3_bind_int64(st, 9, e->at);
    sqlite3_bind_int64(st, 10, m->deliver_at);
    sqlite3_bind_int(st, 11, m->check_s);
    sqlite3_bind_int64(st, 12, (int64_t)e->lane);
    bind_optional(st, 13, m->tag);
    bind_optional(st, 14, m->properties);
    sqlite3_bind_text64(st, 15, m->body, m->body_len, SQLITE_STATIC, SQLITE_UTF8);
    return run(s, XO_INSERT, "storing a message");
}

int xo_storage_place(xo_storage *s, const xo_entry *e, int64_t pos, xo_row_state state)
{
    sqlite3_stmt *st = s->statements[XO_PLACE];
    sqlite3_bind_int64(st, 1, e->n);
    sqlite3_bind_int(st, 2, (int)state);
    if (state == XO_ROW_VISIBLE)
        sqlite3_bind_int64(st, 3, pos);
    else
        sqlite3_bind_null(st, 3);
    sqlite3_bind_int(st, 4, e->queue);
    sqlite3_bind_int64(st, 5, e->offset);
    sqlite3_bind_int64(st, 6, e->at);
    sqlite3_bind_int64(st, 7, (int64_t)e->lane);
    return run(s, XO_PLACE, "making a message visible");
}

int xo_storage_delete(xo_storage *s, int64_t n)
{
    sqlite3_bind_int64(s->statements[XO_DELETE], 1, n);
    return run(s, XO_DELETE, "deleting a message");
}

int xo_storage_progress(xo_storage *s, int64_t group, const xo_progress *rows, size_t n, int done)
{
    while (n) {
        int which = n < MANY ? XO_PROGRESS : XO_PROGRESS_MANY, now = n < MANY ? 1 : MANY;
        sqlite3_stmt *st = s->statements[which];
        sqlite3_bind_int64(st, 1, group);
        sqlite3_bind_int(st, 2, done);
        for (int i = 0; i < now; i++) {
            sqlite3_bind_int64(st, 3 * i + 3, rows[i].pos);
            sqlite3_bind_int(st, 3 * i + 4, rows[i].times);
            sqlite3_bind_int64(st, 3 * i + 5, rows[i].first);
        }
        if (run(s, which, "storing progress") != 0)
            return -1;
        rows += now;
        n -= (size_t)now;
    }
    return 0;
}

int xo_storage_floor(xo_storage *s, int64_t group, int64_t floor)
{
    sqlite3_bind_int64(s->statements[XO_FLOOR], 1, group);
    sqlite3_bind_int64(s->statements[XO_FLOOR], 2, floor);
    sqlite3_bind_int64(s->statements[XO_BELOW], 1, group);
    sqlite3_bind_int64(s->statements[XO_BELOW], 2, floor);
    return run(s, XO_FLOOR, "storing progress") == 0 && run(s, XO_BELOW, "storing progress") == 0 ? 0 : -1;
}

int xo_storage_counters(xo_storage *s, const xo_topic *t, const xo_counters *c)
{
    xo_buf text = {0};
    for (int i = 0; i < XO_QUEUES; i++)
        xo_buf_printf(&text, "%s%lld", i ? " " : "", (long long)c->offsets[i]);
    if (text.failed) {
        xo_buf_free(&text);
        return -1;
    }
    sqlite3_stmt *st = s->statements[XO_COUNTERS];
    sqlite3_bind_int64(st, 1, t->id);
    sqlite3_bind_int64(st, 2, c->next_pos);
    sqlite3_bind_text(st, 3, text.p, -1, SQLITE_TRANSIENT);
    xo_buf_free(&text);
    return run(s, XO_COUNTERS, "storing a topic's counters");
}

void xo_content_free(xo_content *c)
{
    free(c->memory);
    memset(c, 0, sizeof *c);
}

/* The row's texts, in one block. */
static int copy_row(sqlite3_stmt *st, xo_content *out)
{
    const unsigned char *text[3];
    size_t n[3], all = 0;
    char *copy[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        text[i] = sqlite3_column_text(st, i + 1);
        n[i] = (size_t)sqlite3_column_bytes(st, i + 1);
        if (!text[i] && sqlite3_column_type(st, i + 1) != SQLITE_NULL)
            return -1;
        all += n[i] + 1;
    }
    char *p = out->memory = xo_calloc(all, 1);
    if (!p)
        return -1;
    for (int i = 0; i < 3; i++) {
        if (!text[i])
            continue;
        copy[i] = memcpy(p, text[i], n[i]);
        p += n[i] + 1;
    }
    out->tag = copy[0];
    out->properties = copy[1];
    out->body = copy[2];
    out->body_len = n[2];
    return 0;
}

/* Row n. The statement stands at another row or at none; messages are mostly handed out in the order of their rows, so that it need only go on. */
static int read_one(xo_storage *s, int64_t n, xo_content *out)
{
    sqlite3_stmt *st = s->statements[XO_READ];
    int rc = s->reading && n == s->read_at + 1 ? sqlite3_step(st) : SQLITE_MISUSE;
    if (rc == SQLITE_MISUSE) {
        sqlite3_reset(st);
        sqlite3_bind_int64(st, 1, n);
        rc = sqlite3_step(st);
    }
    s->reading = rc == SQLITE_ROW;
    int bad = rc != SQLITE_ROW && rc != SQLITE_DONE;
    if (s->reading && (s->read_at = sqlite3_column_int64(st, 0)) == n)
        bad = copy_row(st, out) != 0;
    if (bad)
        xo_log(XO_ERROR, "endpoint", "%s: reading a message: %s", s->file, sqlite3_errmsg(s->reader));
    return bad ? -1 : 0;
}

int xo_storage_read(xo_storage *s, const xo_pick *picks, int n, xo_content *out)
{
    int rc = 0;
    pthread_mutex_lock(&s->read_lock);
    sqlite3_step(s->statements[XO_READ_BEGIN]); /* one snapshot for all: cheaper than one each; without it they still read */
    sqlite3_reset(s->statements[XO_READ_BEGIN]);
    s->reading = 0;
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_one(s, picks[i].n, &out[i]);
    sqlite3_reset(s->statements[XO_READ]);
    sqlite3_step(s->statements[XO_READ_END]);
    sqlite3_reset(s->statements[XO_READ_END]);
    pthread_mutex_unlock(&s->read_lock);
    return rc;
}
