/* Connections to MySQL and MariaDB: opened from a URI, or the user's own wrapped. */
#include "base/clock.h"
#include "base/config.h"
#include "store/mysql/impl.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The libraries' own set-up is not safe when two threads connect first. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int library_failed;
static void start_library(void)
{
    library_failed = mysql_library_init(0, NULL, NULL) != 0;
}

int xo_my_socket(const xo_my *m)
{
#if XO_MY_MARIADB_CLIENT
    return (int)mysql_get_socket(m->my);
#else
    return (int)m->my->net.fd;
#endif
}

/* ---- what the URI says ---- */

typedef struct {
    const char *host, *user, *password, *db, *socket, *defaults, *ca;
    int verify; /* -1: not said */
} place;

static xonce_status read_query(place *p, const xo_uri *u)
{
    static const char *const names[] = {"socket", "defaults-file", "ssl-ca", "ssl-verify", "mode"};
    p->verify = -1;
    for (size_t i = 0; i < u->nquery; i++) {
        const char *name = u->query[i].name, *value = u->query[i].value;
        if (strcmp(name, "socket") == 0) {
            p->socket = value;
        } else if (strcmp(name, "defaults-file") == 0) {
            p->defaults = value;
        } else if (strcmp(name, "ssl-ca") == 0) {
            p->ca = value;
        } else if (strcmp(name, "ssl-verify") == 0) {
            if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
                return xo_fail(XONCE_E_INVALID, "store URI: ssl-verify is 0 or 1");
            p->verify = value[0] == '1';
        } else if (strcmp(name, "mode") == 0) {
            if (strcmp(value, "ro") != 0 && strcmp(value, "rw") != 0)
                return xo_fail(XONCE_E_INVALID, "store URI: mode is ro or rw");
        } else {
            const char *near = xo_nearest(name, names, sizeof names / sizeof *names);
            return xo_fail(XONCE_E_INVALID, "store URI: mysql: knows no \"%.40s\"%s%s%s; known are socket, defaults-file, ssl-ca, ssl-verify, mode", name,
                           near ? ", did you mean \"" : "", near ? near : "", near ? "\"" : "");
        }
    }
    return XONCE_OK;
}

static xonce_status read_place(place *p, const xo_uri *u)
{
    memset(p, 0, sizeof *p);
    xonce_status st = read_query(p, u);
    if (st != XONCE_OK)
        return st;
    p->db = u->path;
    while (*p->db == '/')
        p->db++;
    if (strchr(p->db, '/'))
        return xo_fail(XONCE_E_INVALID, "store URI: the database name must not hold a slash; a socket goes into ?socket=PATH");
    p->user = u->user;
    p->password = u->password;
    p->host = p->socket || !*u->host ? NULL : u->host;
    if (p->defaults && access(p->defaults, R_OK) != 0)
        return xo_fail(XONCE_E_INVALID, "store URI: the defaults-file %s cannot be read", p->defaults);
    if (p->ca && access(p->ca, R_OK) != 0)
        return xo_fail(XONCE_E_INVALID, "store URI: the ssl-ca file %s cannot be read", p->ca);
    if (!*p->db && !p->defaults)
        return xo_fail(XONCE_E_INVALID, "store URI: no database is named; use mysql://user@host:port/database");
    return XONCE_OK;
}

/* ---- options ---- */

static void set_tls(MYSQL *my, const place *p)
{
    if (p->ca)
        mysql_options(my, MYSQL_OPT_SSL_CA, p->ca);
    int verify = p->verify >= 0 ? p->verify : p->ca ? 1 : -1;
    if (verify < 0)
        return;
#if XO_MY_MARIADB_CLIENT
    my_bool on = 1, check = (my_bool)verify;
    if (verify || p->ca)
        mysql_options(my, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_options(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &check);
#else
    unsigned mode = verify ? SSL_MODE_VERIFY_IDENTITY : p->ca ? SSL_MODE_REQUIRED : SSL_MODE_PREFERRED;
    mysql_options(my, MYSQL_OPT_SSL_MODE, &mode);
#endif
}

static unsigned seconds(int64_t ms)
{
    int64_t s = (ms + 999) / 1000;
    return s < 1 ? 1 : s > 1000000 ? 1000000 : (unsigned)s;
}

static void set_options(MYSQL *my, const place *p, const xo_open_options *o)
{
    unsigned connect = seconds(o->connect_ms), write = 60, off = 0;
    /* longer than anything the server makes us wait for: a lock, and a statement that takes as long as a handler may */
    unsigned read = seconds(o->lock_ms + (o->idle_ms > 60000 ? o->idle_ms : 60000)) + 5;
    mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &connect);
    mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &read);
    mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &write);
    mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &off);
    mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (p->defaults) {
        mysql_options(my, MYSQL_READ_DEFAULT_FILE, p->defaults);
        mysql_options(my, MYSQL_READ_DEFAULT_GROUP, "client");
    }
    set_tls(my, p);
}

/* A peer that has vanished is noticed within a minute or two, also while a long read timeout runs. */
static void watch_peer(const xo_my *m)
{
    int fd = xo_my_socket(m), on = 1, idle = 30, every = 10, times = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef TCP_KEEPIDLE
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
#else
    (void)idle, (void)every, (void)times;
#endif
#ifdef TCP_USER_TIMEOUT
    unsigned unsent_ms = 60000;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof unsent_ms);
#endif
}

/* ---- what the server is ---- */

static void learn_server(xo_my *m, const xonce_config *cfg)
{
    const char *info = mysql_get_server_info(m->my), *want = xo_config_text(cfg, "mysql.dialect");
    unsigned a = 0, b = 0, c = 0;
    m->server_maria = strstr(info, "MariaDB") != NULL;
    if (m->server_maria && strncmp(info, "5.5.5-", 6) == 0) /* the prefix that MariaDB shows to clients of MySQL */
        info += 6;
    sscanf(info, "%3u.%3u.%3u", &a, &b, &c);
    m->version = a * 10000 + b * 100 + c;
    if (want && strcmp(want, "mariadb") == 0)
        m->server_maria = 1;
    int maria = m->server_maria && !(want && strcmp(want, "mysql") == 0);
    m->returning = m->compound = maria && m->version >= 100500;
    m->skip_locked = m->server_maria ? m->version >= 100600 : m->version >= 80001;
#if XO_MY_MARIADB_CLIENT
    unsigned long more = 0;
    mariadb_get_infov(m->my, MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &more);
    m->bulk = maria && (more & (unsigned long)(MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32)) != 0;
#endif
}

static xonce_status set_database(xo_my *m, const char *db)
{
    xo_buf b = {0};
    xo_buf_char(&b, '`');
    for (const char *p = db; *p; p++) {
        if (*p == '`')
            xo_buf_char(&b, '`');
        xo_buf_char(&b, *p);
    }
    xo_buf_str(&b, "`.transaction_record");
    m->db = xo_strdup(db);
    m->table = xo_buf_take(&b);
    return m->db && m->table ? XONCE_OK : xo_nomem();
}

typedef struct {
    xo_my *m;
    int answered;
    xonce_status st;
} learned;

static int learn_row(const xonce_row *r, void *arg)
{
    learned *l = arg;
    l->answered = 1;
    long long packet = r->text[1] ? strtoll(r->text[1], NULL, 10) : 0, now = r->text[2] ? strtoll(r->text[2], NULL, 10) : 0;
    if (!r->text[0]) {
        l->st = xo_fail(XONCE_E_INVALID, "store URI: no database is named, neither in it nor in the defaults-file");
        return 1;
    }
    size_t half = packet > 8192 ? (size_t)packet / 2 : 4096;
    l->m->packet = half > 1024 * 1024 ? 1024 * 1024 : half;
    l->m->clock_boot = xo_boot_ms();
    l->m->clock_offset = now - l->m->clock_boot;
    l->st = set_database(l->m, r->text[0]);
    return 1;
}

/* Each side may think of another character set: MariaDB does not know the utf8mb4 of MySQL's client and falls back to its own default, so it is set and asked for by SQL. */
static int take_charset(const xonce_row *r, void *arg)
{
    ((xo_my *)arg)->utf8 = r->text[0] && strncmp(r->text[0], "utf8", 4) == 0;
    return 0;
}

static xonce_status learn_charset(xo_my *m)
{
    static const char sql[] = "SELECT @@SESSION.character_set_client";
    m->utf8 = strncmp(mysql_character_set_name(m->my), "utf8", 4) == 0;
    if (XO_MY_MARIADB_CLIENT || !m->server_maria || !m->utf8)
        return XONCE_OK;
    return xo_my_text(m, sql, sizeof sql - 1, take_charset, m, NULL);
}

/* One text for all settings of the session, with what we need to know at its end. */
static xonce_status set_session(xo_my *m, const xo_open_options *o)
{
    xo_buf b = {0};
    m->lock_s = m->lock_now = (int)seconds(o->lock_ms);
    xo_buf_printf(&b,
                  "SET NAMES utf8mb4; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = %d, "
                  "sql_mode = CONCAT_WS(',', NULLIF(@@SESSION.sql_mode, ''), 'STRICT_ALL_TABLES'), autocommit = 0",
                  m->lock_s);
    if (m->server_maria && m->version >= 100300 && o->idle_ms > 0)
        xo_buf_printf(&b, ", idle_transaction_timeout = %u", seconds(o->idle_ms));
    if (o->read_only)
        xo_buf_str(&b, "; SET SESSION TRANSACTION READ ONLY");
    xo_buf_str(&b, "; SELECT DATABASE(), @@max_allowed_packet, " XO_MY_NOW);
    xonce_status st = xo_buf_status(&b);
    learned l = {.m = m};
    if (st == XONCE_OK)
        st = xo_my_text(m, b.p, b.len, learn_row, &l, NULL);
    if (st == XONCE_OK)
        st = l.answered ? l.st : xo_fail(XONCE_E_PROTOCOL, "the server did not answer what its settings are");
    xo_buf_free(&b);
    if (st == XONCE_OK && strncmp(mysql_character_set_name(m->my), "utf8mb4", 7) != 0 && mysql_set_character_set(m->my, "utf8mb4") != 0)
        st = xo_my_fail_conn(m, "utf8mb4");
    return st;
}

/* ---- open, wrap, close ---- */

static xonce_status connect_failed(xo_my *m, const place *p, int port)
{
    xonce_status st = xo_my_fail_conn(m, NULL);
    if (p->socket)
        xo_error_context("cannot connect to MySQL by %s", p->socket);
    else
        xo_error_context("cannot connect to MySQL at %s%s%.0d", p->host ? p->host : "localhost", port ? ":" : "", port);
    return st;
}

static xonce_status connect_to(xo_my *m, const xo_open_options *o)
{
    place p;
    xonce_status st = read_place(&p, &o->uri);
    if (st != XONCE_OK)
        return st;
    pthread_once(&once, start_library);
    m->my = library_failed ? NULL : mysql_init(NULL);
    if (!m->my)
        return xo_nomem();
    set_options(m->my, &p, o);
    if (o->uri.port && !p.socket) { /* who names a port means TCP, also of localhost */
        unsigned tcp = MYSQL_PROTOCOL_TCP;
        mysql_options(m->my, MYSQL_OPT_PROTOCOL, &tcp);
        p.host = p.host ? p.host : "localhost";
    }
    /* found rows: an UPDATE counts the rows that it matched, as the other engines do. Several statements in one text: for the guard and COMMIT. */
    if (!mysql_real_connect(m->my, p.host, p.user, p.password, *p.db ? p.db : NULL, (unsigned)o->uri.port, p.socket, CLIENT_FOUND_ROWS | CLIENT_MULTI_STATEMENTS))
        return connect_failed(m, &p, o->uri.port);
    watch_peer(m);
    learn_server(m, o->cfg);
    return set_session(m, o);
}

static xo_my *make(void)
{
    xo_my *m = xo_calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->c.d = xo_dialect_mysql();
    m->own_columns = m->utf8 = 1;
    return m;
}

xonce_status xo_my_open(xo_conn **out, const xo_open_options *o)
{
    *out = NULL;
    xo_my *m = make();
    if (!m)
        return xo_nomem();
    xonce_status st = connect_to(m, o);
    if (st != XONCE_OK) {
        xo_error kept;
        xo_error_save(&kept);
        xo_my_close(&m->c);
        return xo_error_restore(&kept);
    }
    *out = &m->c;
    return XONCE_OK;
}

xonce_status xo_my_wrap(xo_conn **out, void *native, const xo_open_options *o)
{
    MYSQL *my = native;
    *out = NULL;
    if (my->status != MYSQL_STATUS_READY)
        return xo_fail(XONCE_E_INVALID, "the MYSQL connection has an unread result: read it to its end before joining");
    if (!(my->server_status & SERVER_STATUS_IN_TRANS) && (my->server_status & SERVER_STATUS_AUTOCOMMIT))
        return xo_fail(XONCE_E_INVALID, "the MYSQL connection is in no transaction: START TRANSACTION or set autocommit=0 before joining");
    xo_my *m = make();
    if (!m)
        return xo_nomem();
    m->my = my;
    m->c.joined = m->c.in_tx = 1;
    m->foreign_zone = -1;
    m->packet = 256 * 1024;
    learn_server(m, o->cfg);
    const char *db = o->uri.path;
    while (*db == '/')
        db++;
    xonce_status st = *db || my->db ? set_database(m, *db ? db : my->db) : xo_fail(XONCE_E_INVALID, "no database is chosen on the MYSQL connection, and the store's URI names none");
    if (st == XONCE_OK)
        st = learn_charset(m);
    if (st != XONCE_OK) {
        xo_my_close(&m->c);
        return st;
    }
    *out = &m->c;
    return XONCE_OK;
}

void xo_my_close(xo_conn *c)
{
    xo_my *m = (xo_my *)c;
    if (!m)
        return;
    if (m->my && !c->joined)
        mysql_close(m->my); /* first: its statements are freed without a word to the server then */
    for (size_t i = 0; i < XO_MY_CACHE; i++)
        xo_my_forget(m, &m->cache[i]);
    xo_arena_free(&m->scratch);
    free(m->db);
    free(m->table);
    free(m);
}

int xo_my_usable(xo_conn *c)
{
    xo_my *m = (xo_my *)c;
    struct pollfd p = {.fd = xo_my_socket(m), .events = POLLIN};
    return !c->lost && m->my->status == MYSQL_STATUS_READY && poll(&p, 1, 0) == 0; /* an idle server has nothing to say but goodbye */
}
