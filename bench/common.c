/* What the measuring programs share. */
#include "bench/common.h"
#include "base/clock.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { FILL_CHUNK = 100000 };

void bench_die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, xonce_error_last()->text);
    exit(1);
}

xonce_store *bench_open(const char *uri, const char *const *settings)
{
    xonce_config *cfg = NULL;
    xonce_store *s = NULL;
    char most[16];
    snprintf(most, sizeof most, "%d", BENCH_CONNECTIONS);
    if (xonce_config_new(&cfg) != XONCE_OK || xonce_config_set(cfg, "store.connections", most) != XONCE_OK)
        bench_die("settings");
    for (; settings && *settings; settings += 2)
        if (xonce_config_set(cfg, settings[0], settings[1]) != XONCE_OK)
            bench_die("settings");
    if (xonce_store_open(&s, uri, BENCH_GROUP, cfg) != XONCE_OK)
        bench_die(uri);
    xonce_config_free(cfg);
    return s;
}

void bench_query(xonce_store *s, const char *sql)
{
    if (xo_store_query(s, sql, NULL, 0, NULL, NULL, NULL) != XONCE_OK)
        bench_die(sql);
}

static int on_int(const xonce_row *r, void *arg)
{
    *(int64_t *)arg = xonce_row_int(r, 0);
    return 1;
}

int64_t bench_number(xonce_store *s, const char *sql)
{
    int64_t n = 0;
    if (xo_store_query(s, sql, NULL, 0, on_int, &n, NULL) != XONCE_OK)
        bench_die(sql);
    return n;
}

/* ---- tables ---- */

void bench_tables(xonce_store *s)
{
    static const char *const tables[] = {"bench_orders", "bench_count", "transaction_record", "xonce_rejected", "xonce_watermark", "xonce_settled", "xonce_store"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[80];
        snprintf(sql, sizeof sql, "DROP TABLE IF EXISTS %s", tables[i]);
        bench_query(s, sql);
    }
    if (xonce_store_upgrade(s) != XONCE_OK)
        bench_die("init");
}

void bench_fill(xonce_store *s, int64_t from, int64_t n)
{
    xo_dialect_kind kind = s->d->kind;
    const int64_t first = xo_now_ms() - BENCH_OLD_MS - 86400000;
    const char *i = kind == XO_DIALECT_MYSQL ? "seq" : "i", *hex = kind == XO_DIALECT_PG ? "upper(lpad(to_hex(i), 16, '0'))" : kind == XO_DIALECT_MYSQL ? "lpad(hex(seq), 16, '0')" : "printf('%016X', i)";
    const char *eighth = kind == XO_DIALECT_MYSQL ? "div" : "/";
    const char *id0 = kind == XO_DIALECT_MYSQL ? "concat('7F0000014E0942A4', " : "'7F0000014E0942A4' || ", *id1 = kind == XO_DIALECT_MYSQL ? ", '#" BENCH_GROUP "')" : " || '#" BENCH_GROUP "'";
    for (int64_t at = from; at < from + n; at += FILL_CHUNK) {
        int64_t end = at + FILL_CHUNK < from + n ? at + FILL_CHUNK : from + n;
        xo_buf sql = {0};
        xo_buf_printf(&sql, "INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, %s, broker_name, store_time, log_offset, digest) ", s->d->quoted_offset);
        xo_buf_printf(&sql, "SELECT '" BENCH_GROUP "', %s%s%s, 'orders', %" PRId64 " + %s * 864 %s 100, %s %% 64, %s %s 64, 'broker-a', %" PRId64 " + %s, %s * 300, 'd41d8cd98f00b204e9800998ecf8427e' FROM ", id0,
                      hex, id1, first, i, eighth, i, i, eighth, first, i, i);
        if (kind == XO_DIALECT_PG)
            xo_buf_printf(&sql, "generate_series(%" PRId64 "::bigint, %" PRId64 "::bigint) AS i", at, end - 1);
        else if (kind == XO_DIALECT_MYSQL)
            xo_buf_printf(&sql, "seq_%" PRId64 "_to_%" PRId64, at, end - 1);
        else
            xo_buf_printf(&sql, "(WITH RECURSIVE n(i) AS (SELECT %" PRId64 " UNION ALL SELECT i + 1 FROM n WHERE i < %" PRId64 ") SELECT i FROM n)", at, end - 1);
        if (xo_buf_status(&sql) != XONCE_OK)
            bench_die("fill");
        bench_query(s, sql.p);
        xo_buf_free(&sql);
    }
    /* of the size that filling left the planner without */
    if (kind == XO_DIALECT_PG)
        bench_query(s, "VACUUM (ANALYZE) transaction_record");
}

/* ---- processor time ---- */

/* Of one process, those of its children that have ended included; *parent: whose child it is. */
static double cpu_of(long pid, long *parent)
{
    char path[64], text[1024], *p;
    unsigned long long user = 0, kernel = 0, ended_user = 0, ended_kernel = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    *parent = 0;
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    p = strrchr(text, ')');
    if (!p || sscanf(p + 1, " %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", parent, &user, &kernel, &ended_user, &ended_kernel) != 5)
        return 0;
    return (double)(user + kernel + ended_user + ended_kernel) / (double)sysconf(_SC_CLK_TCK);
}

double bench_own_cpu(void)
{
    long parent;
    return cpu_of(getpid(), &parent);
}

double bench_cpu_of(long server)
{
    double all = 0;
    long parent;
    DIR *d = server ? opendir("/proc") : NULL;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        long pid = strtol(e->d_name, NULL, 10);
        double its = pid > 0 ? cpu_of(pid, &parent) : 0;
        if (pid == server || (pid > 0 && parent == server))
            all += its;
    }
    if (d)
        closedir(d);
    return all;
}

/* ---- figures ---- */

static void processor(char *out, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (value) {
            snprintf(out, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

/* What each commit waits for: microseconds that a small synced write takes here. */
static double synced_write_us(void)
{
    enum { WRITES = 100 };
    const char *dir = getenv("TMPDIR");
    char path[300], page[4096] = {0};
    snprintf(path, sizeof path, "%s/xonce-bench-XXXXXX", dir ? dir : "/tmp");
    int fd = mkstemp(path), done = 0;
    int64_t began = xo_mono_us();
    while (fd >= 0 && done < WRITES && pwrite(fd, page, sizeof page, (off_t)done * (off_t)sizeof page) == (ssize_t)sizeof page && fdatasync(fd) == 0)
        done++;
    double us = done ? (double)(xo_mono_us() - began) / done : 0;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return us;
}

static int on_version(const xonce_row *r, void *arg)
{
    snprintf(arg, 80, "%.*s", (int)strcspn(xonce_row_text(r, 0), " "), xonce_row_text(r, 0));
    return 1;
}

static void add_text(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, ",\"%s\":", name);
    xo_buf_json(b, value, strlen(value));
}

static void add_version(xo_buf *b, const char *uri)
{
    xonce_store *s = bench_open(uri, NULL);
    char version[80] = "";
    const char *sql = s->d->kind == XO_DIALECT_SQLITE ? "SELECT sqlite_version()" : s->d->kind == XO_DIALECT_PG ? "SELECT current_setting('server_version')" : "SELECT version()";
    if (xo_store_query(s, sql, NULL, 0, on_version, version, NULL) != XONCE_OK)
        bench_die(uri);
    add_text(b, strstr(version, "MariaDB") ? "mariadb" : s->d->name, version);
    xonce_store_close(s);
}

static void machine(FILE *json, const char *const *uris, size_t n)
{
    char cpu[160], now[40];
    struct utsname kernel;
    const char *commit = getenv("BENCH_COMMIT");
    processor(cpu, sizeof cpu);
    xo_format_time(xo_now_ms(), now, sizeof now);
    if (uname(&kernel) != 0)
        snprintf(kernel.release, sizeof kernel.release, "unknown");
    xo_buf b = {0};
    xo_buf_printf(&b, "{\"bench\":\"machine\",\"fsync_us\":%.0f,\"cores\":%ld", synced_write_us(), sysconf(_SC_NPROCESSORS_ONLN));
    add_text(&b, "cpu", cpu);
    add_text(&b, "kernel", kernel.release);
    add_text(&b, "date", now);
    for (size_t i = 0; i < n; i++)
        add_version(&b, uris[i]);
    add_text(&b, "commit", commit ? commit : "");
    xo_buf_str(&b, "}\n");
    if (xo_buf_status(&b) != XONCE_OK)
        bench_die("machine");
    fputs(b.p, json);
    xo_buf_free(&b);
}

FILE *bench_json(const char *path, const char *const *uris, size_t n)
{
    if (!path)
        return NULL;
    FILE *json = fopen(path, "a");
    if (!json || fseek(json, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    if (ftell(json) == 0)
        machine(json, uris, n);
    return json;
}
