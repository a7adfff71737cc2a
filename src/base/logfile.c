/* A log file: whole lines are appended, and at a certain size FILE becomes FILE.1, FILE.1 becomes FILE.2 and so on. Several processes may write to the same one. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct xo_log_file {
    char *path;       /* NULL: standard error */
    int fd;           /* -1: it could not be opened again */
    int64_t size;     /* of the file, as far as we know; -1: not a file that has one */
    int64_t most;
    int files;
    int64_t looked;   /* monotonic: when we saw last that the file still is where it was */
    int64_t not_before; /* monotonic: turning over failed, tried again then */
    int torn;         /* the last line was written in part */
};

enum { LOOK_MS = 1000, AGAIN_MS = 60000, MODE = 0640 };

/* Not blocking: a pipe that nobody reads must not hold up those who log. */
static int open_log(const char *path)
{
    int fd;
    do {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static void take(xo_log_file *f, int fd)
{
    struct stat st;
    if (f->fd >= 0) {
        (void)close(f->fd);
    }
    f->fd = fd;
    f->size = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
    f->looked = xo_mono_ms();
}

xonce_status xo_log_file_open(xo_log_file **out, const char *path, int64_t size, int files)
{
    xo_log_file *f = xo_calloc(1, sizeof(*f));
    *out = NULL;
    if (!f) {
        return xo_nomem();
    }
    *f = (xo_log_file){.path = xo_strdup(path), .fd = -1, .size = -1, .most = size, .files = files};
    if (path && !f->path) {
        free(f);
        return xo_nomem();
    }
    int fd = path ? open_log(path) : STDERR_FILENO;
    if (fd < 0) {
        int why = errno;
        xo_log_file_close(f);
        return xo_fail(XONCE_E_INVALID, "the log file %.300s cannot be opened: %s", path, why == ENXIO ? "nobody reads this pipe" : strerror(why));
    }
    if (path) {
        take(f, fd);
    } else {
        f->fd = fd;
    }
    *out = f;
    return XONCE_OK;
}

void xo_log_file_close(xo_log_file *f)
{
    if (f) {
        if (f->path && f->fd >= 0) {
            (void)close(f->fd);
        }
        free(f->path);
        free(f);
    }
}

/* Is the path still the file that is open? Another process, or logrotate, may have moved it. */
static int is_there(const xo_log_file *f)
{
    struct stat ours, now;
    return f->fd >= 0 && fstat(f->fd, &ours) == 0 && stat(f->path, &now) == 0 && ours.st_dev == now.st_dev && ours.st_ino == now.st_ino;
}

/* "FILE.n", or FILE itself. Caller frees. */
static char *nth(const xo_log_file *f, int n)
{
    return n ? xo_printf("%s.%d", f->path, n) : xo_strdup(f->path);
}

/* The first number that no file has; the last one that there may be when all are there. */
static int free_number(const xo_log_file *f)
{
    for (int n = 1; n < f->files - 1; n++) {
        char *name = nth(f, n);
        int there = name && access(name, F_OK) == 0;
        free(name);
        if (!there) {
            return n;
        }
    }
    return f->files - 1;
}

/* FILE becomes FILE.1, and those before move up by one, the last one over the oldest. -1: they cannot be moved. */
static int move_up(const xo_log_file *f)
{
    int rc = 0;
    if (f->files <= 1) {
        return unlink(f->path);
    }
    for (int n = free_number(f); n > 0 && rc == 0; n--) {
        char *from = nth(f, n - 1), *to = nth(f, n);
        rc = from && to ? rename(from, to) : -1;
        free(from);
        free(to);
    }
    return rc;
}

/* The lock is on the file that is to be moved: whoever gets it second finds that it was moved. */
static void turn_over(xo_log_file *f)
{
    int failed = 0;
    if (flock(f->fd, LOCK_EX | LOCK_NB) != 0) { /* another process is at it */
        failed = errno != EWOULDBLOCK;
    } else if (is_there(f)) {
        failed = move_up(f) != 0;
    }
    if (failed) {
        f->not_before = xo_mono_ms() + AGAIN_MS; /* rather too large than lost */
        return;
    }
    int fd = open_log(f->path);
    if (fd >= 0) {
        take(f, fd);
    } else {
        (void)flock(f->fd, LOCK_UN);
        f->not_before = xo_mono_ms() + AGAIN_MS;
    }
}

static int write_all(xo_log_file *f, const char *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(f->fd, p + done, n - done);
        if (k < 0 && errno == EINTR) {
            continue;
        }
        if (k <= 0) {
            f->torn |= done > 0;
            return -1;
        }
        done += (size_t)k;
    }
    return 0;
}

static void look(xo_log_file *f)
{
    int64_t now = xo_mono_ms();
    if (!f->path || (f->fd >= 0 && f->size < 0) || now - f->looked < LOOK_MS) {
        return;
    }
    f->looked = now;
    struct stat st;
    if (!is_there(f)) {
        int fd = open_log(f->path);
        if (fd >= 0) {
            take(f, fd);
        }
    } else if (fstat(f->fd, &st) == 0) {
        f->size = st.st_size; /* others write too */
    }
}

int xo_log_file_write(xo_log_file *f, const char *line, size_t n)
{
    look(f);
    if (f->size > 0 && f->size + (int64_t)n > f->most && xo_mono_ms() >= f->not_before) {
        turn_over(f);
    }
    if (f->fd < 0 || (f->torn && write_all(f, "\n", 1) != 0)) {
        return -1;
    }
    f->torn = 0;
    if (write_all(f, line, n) != 0) {
        return -1;
    }
    f->size += f->size >= 0 ? (int64_t)n : 0;
    return 0;
}

/* ---- as a configuration says ---- */

typedef struct {
    xo_log_file *file;
    xo_log_format format;
    int64_t lost;     /* lines that could not be written */
} target;

static int write_one(target *t, const xo_log_line *line)
{
    xo_buf b = {0};
    xo_log_render(&b, t->format, line);
    int rc = !b.failed && b.len ? xo_log_file_write(t->file, b.p, b.len) : -1;
    xo_buf_free(&b);
    return rc;
}

static void write_line(const xo_log_line *line, void *arg)
{
    target *t = arg;
    if (t->lost) {
        const xo_log_field f = {"lines", NULL, t->lost};
        const xo_log_line gap = {.time = line->time, .level = XO_ERROR, .area = "log", .text = "log lines could not be written", .fields = &f, .n = 1};
        if (write_one(t, &gap) == 0) {
            t->lost = 0;
        }
    }
    if (t->lost || write_one(t, line) != 0) {
        t->lost++;
    }
}

static void end_target(void *arg)
{
    target *t = arg;
    xo_log_file_close(t->file);
    free(t);
}

xonce_status xonce_log_open(const xonce_config *cfg)
{
    target *t = xo_calloc(1, sizeof(*t));
    if (!t) {
        return xo_nomem();
    }
    t->format = (xo_log_format)xo_config_int(cfg, "log.format");
    xonce_status st = xo_log_file_open(&t->file, xo_config_text(cfg, "log.file"), xo_config_int(cfg, "log.size"), (int)xo_config_int(cfg, "log.files"));
    if (st != XONCE_OK) {
        free(t);
        return st;
    }
    xo_log_to(write_line, end_target, t, (int)xo_config_int(cfg, "log.level"));
    return XONCE_OK;
}
