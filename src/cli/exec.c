/* Running a program for a message: fork and exec without a shell, the body through a pipe that cannot block us, a deadline. */
#include "cli/exec.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/output.h"
#include "message/trace.h"
#include "store/tx.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

extern char **environ;

enum { EXIT_REJECT = 65, KILL_AFTER_MS = 5000, LINE_MAX_BYTES = 400 };

/* ---- finding ---- */

static int is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *find_in_path(const char *program)
{
    const char *p = getenv("PATH");
    for (p = p ? p : "/usr/local/bin:/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        char *path = xo_printf("%.*s/%s", n ? (int)n : 1, n ? p : ".", program);
        if (path && is_program(path)) {
            return path;
        }
        free(path);
        p += n + (p[n] == ':');
    }
    return NULL;
}

xonce_status xo_exec_find(xo_exec_program *out, const char *program, int64_t timeout_ms)
{
    out->timeout_ms = timeout_ms;
    out->path = !strchr(program, '/') ? find_in_path(program) : is_program(program) ? xo_strdup(program) : NULL;
    return out->path ? XONCE_OK : xo_fail(XONCE_E_INVALID, "\"%.200s\" is no program that can be run", program);
}

void xo_exec_free(xo_exec_program *e)
{
    free(e->path);
    e->path = NULL;
}

/* ---- environment ---- */

typedef struct {
    char **items;
    size_t n, cap;
    int failed;
} env_list;

static void env_take(env_list *l, char *text)
{
    char **items = text ? xo_grow(l->items, &l->cap, l->n + 2, sizeof(*items)) : NULL;
    if (!items) {
        free(text);
        l->failed = 1;
        return;
    }
    l->items = items;
    items[l->n++] = text;
    items[l->n] = NULL;
}

static void env_property(const char *name, const char *value, void *arg)
{
    env_list *l = arg;
    char *text = xo_printf("XONCE_PROPERTY_%s=%s", name, value);
    if (!text) {
        l->failed = 1;
        return;
    }
    char *p = text + strlen("XONCE_PROPERTY_"), *end = p + strlen(name);
    for (; p < end; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))) {
            *p = '_';
        }
    }
    /* of two names that became one the first stays */
    for (size_t i = 0; i < l->n; i++) {
        if (strncmp(l->items[i], text, (size_t)(end + 1 - text)) == 0) {
            free(text);
            return;
        }
    }
    env_take(l, text);
}

static int is_ours(const char *text)
{
    static const char *const names[] = {"XONCE_ID=", "XONCE_TOPIC=", "XONCE_TAG=", "XONCE_KEY=", "XONCE_ATTEMPT=", "XONCE_PROPERTY_", "TRACEPARENT=", "TRACESTATE="};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(text, names[i], strlen(names[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

char **xo_exec_environment(const xonce_message *m, char *const *inherited)
{
    env_list l = {0};
    env_take(&l, xo_printf("XONCE_ID=%s", xonce_message_id(m)));
    env_take(&l, xo_printf("XONCE_TOPIC=%s", xonce_message_topic(m)));
    env_take(&l, xo_printf("XONCE_TAG=%s", xonce_message_tag(m)));
    env_take(&l, xo_printf("XONCE_KEY=%s", xonce_message_key(m)));
    env_take(&l, xo_printf("XONCE_ATTEMPT=%d", xonce_message_attempt(m)));
    /* the trace goes on in the program; without one it must not join that of our own start */
    if (xonce_message_traceparent(m)) {
        env_take(&l, xo_printf("TRACEPARENT=%s", xonce_message_traceparent(m)));
    }
    if (xo_message_tracestate(m)) {
        env_take(&l, xo_printf("TRACESTATE=%s", xo_message_tracestate(m)));
    }
    xonce_message_each_property(m, env_property, &l);
    for (; *inherited; inherited++) {
        if (!is_ours(*inherited)) {
            env_take(&l, xo_strdup(*inherited));
        }
    }
    if (l.failed) {
        xo_exec_environment_free(l.items);
        return NULL;
    }
    return l.items;
}

void xo_exec_environment_free(char **env)
{
    for (char **p = env; p && *p; p++) {
        free(*p);
    }
    free(env);
}

/* ---- the child ---- */

typedef struct {
    int in[2], err[2], failed[2]; /* body; stderr; the errno of an exec that failed */
} pipes;

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static void close_pipes(pipes *p)
{
    for (int i = 0; i < 2; i++) {
        close_fd(&p->in[i]);
        close_fd(&p->err[i]);
        close_fd(&p->failed[i]);
    }
}

static int open_pipes(pipes *p)
{
    *p = (pipes){{-1, -1}, {-1, -1}, {-1, -1}};
    if (pipe2(p->in, O_CLOEXEC) != 0 || pipe2(p->err, O_CLOEXEC) != 0 || pipe2(p->failed, O_CLOEXEC) != 0 ||
        fcntl(p->in[1], F_SETFL, O_NONBLOCK) != 0 || fcntl(p->err[0], F_SETFL, O_NONBLOCK) != 0) {
        close_pipes(p);
        return -1;
    }
    return 0;
}

/* Between fork and exec: async-signal-safe calls only, for other threads may have held any lock. */
static _Noreturn void become(const char *path, char *const *env, pipes *p, pid_t parent)
{
    char *const args[] = {(char *)(uintptr_t)path, NULL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)setpgid(0, 0);
#ifdef __linux__
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) { /* it died before the line above */
        _exit(127);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    if (dup2(p->in[0], STDIN_FILENO) >= 0 && dup2(p->err[1], STDERR_FILENO) >= 0) {
#ifdef SYS_close_range
        /* connections of client libraries that forgot close-on-exec */
        if (p->failed[1] != 3 && dup3(p->failed[1], 3, O_CLOEXEC) == 3) {
            p->failed[1] = 3;
        }
        if (p->failed[1] == 3) {
            (void)syscall(SYS_close_range, 4u, ~0u, 0u);
        }
#endif
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execve(path, args, env);
    }
    int why = errno;
    ssize_t ignored = write(p->failed[1], &why, sizeof(why));
    (void)ignored;
    _exit(127);
}

/* ---- the parent ---- */

typedef struct {
    pid_t pid;
    int pidfd;
    pipes io;
    const char *body;
    size_t left;
    char line[LINE_MAX_BYTES + 1], last[LINE_MAX_BYTES + 1]; /* stderr: the line that grows, the last whole one that is not blank */
    size_t nline;
    int64_t deadline;
    int signals, status; /* signals: 0 none, 1 TERM, 2 KILL sent */
} child;

static void end_line(child *c)
{
    c->line[c->nline] = 0;
    if (c->line[strspn(c->line, " \t\r")]) {
        memcpy(c->last, c->line, c->nline + 1);
        char *clean = xo_out_clean(c->line, c->nline);
        if (clean) {
            xo_out_line(clean);
        }
        free(clean);
    }
    c->nline = 0;
}

static void read_stderr(child *c)
{
    char chunk[2048];
    ssize_t n;
    while (c->io.err[0] >= 0 && (n = read(c->io.err[0], chunk, sizeof(chunk))) != 0) {
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno != EAGAIN) {
                close_fd(&c->io.err[0]);
            }
            return;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n') {
                end_line(c);
            } else if (c->nline < LINE_MAX_BYTES) {
                c->line[c->nline++] = chunk[i] ? chunk[i] : ' ';
            }
        }
    }
    close_fd(&c->io.err[0]);
}

static void write_stdin(child *c)
{
    while (c->io.in[1] >= 0) {
        ssize_t n = c->left ? write(c->io.in[1], c->body, c->left) : 0;
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 || (size_t)n == c->left) { /* all of it, or nobody reads it: EPIPE */
            close_fd(&c->io.in[1]);
            return;
        }
        c->body += n;
        c->left -= (size_t)n;
    }
}

static void keep_time(child *c)
{
    if (c->signals < 2 && xo_mono_ms() >= c->deadline) {
        (void)kill(-c->pid, c->signals == 0 ? SIGTERM : SIGKILL);
        c->signals++;
        c->deadline = c->signals == 2 ? INT64_MAX : xo_mono_ms() + KILL_AFTER_MS;
    }
}

static int wait_span(const child *c)
{
    int64_t left = c->deadline == INT64_MAX ? 1000 : c->deadline - xo_mono_ms();
    int64_t most = c->pidfd >= 0 ? 1000 : 10; /* without a pidfd its end is found by asking */
    return (int)(left < 0 ? 0 : left < most ? left : most);
}

/* Feeds, listens and waits until the child has ended. What it left behind may keep stderr open: nobody waits for that. */
static void attend(child *c)
{
    for (;;) {
        struct pollfd fds[3] = {{c->io.in[1], POLLOUT, 0}, {c->io.err[0], POLLIN, 0}, {c->pidfd, POLLIN, 0}};
        (void)poll(fds, 3, wait_span(c));
        write_stdin(c);
        read_stderr(c);
        pid_t pid = waitpid(c->pid, &c->status, WNOHANG);
        if (pid == c->pid || (pid < 0 && errno != EINTR)) {
            break;
        }
        keep_time(c);
    }
    read_stderr(c);
    if (c->nline) {
        end_line(c);
    }
}

static int open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0u);
#else
    (void)pid;
    return -1;
#endif
}

static xonce_verdict judge(const child *c, xonce_tx *tx, const xo_exec_program *e)
{
    if (c->signals) {
        char limit[32];
        xo_format_duration(e->timeout_ms, limit, sizeof(limit));
        xonce_fail(tx, "%s was stopped after %s", e->path, limit);
        return XONCE_RETRY;
    }
    if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0) {
        return XONCE_DONE;
    }
    if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == EXIT_REJECT) {
        xonce_fail(tx, "%s", c->last[0] ? c->last : "exit 65");
        return XONCE_REJECT;
    }
    const char *how = WIFSIGNALED(c->status) ? "signal" : "exit";
    int code = WIFSIGNALED(c->status) ? WTERMSIG(c->status) : WEXITSTATUS(c->status);
    xonce_fail(tx, "%s %d%s%s", how, code, c->last[0] ? ": " : "", c->last);
    return XONCE_RETRY;
}

/* A program that is gone or that the system cannot run is no message's fault: it stops the consumer, as a missing table does, instead of using up attempts. */
static int is_broken(int why)
{
    return why == ENOENT || why == EACCES || why == ENOEXEC || why == ENOTDIR || why == ELOOP || why == EPERM || why == ELIBBAD;
}

static xonce_verdict cannot_run(xonce_tx *tx, const xo_exec_program *e, int why)
{
    if (is_broken(why)) {
        (void)xo_fail_sql(XONCE_E_INVALID, XO_SQL_SETUP, why, NULL, "%s cannot be run: %s", e->path, strerror(why));
        tx->failed = 1;
        tx->failed_item = tx->item;
        xo_error_save(&tx->error);
    }
    xonce_fail(tx, "%s cannot be run: %s", e->path, strerror(why));
    return XONCE_RETRY;
}

/* The errno of an exec that failed; 0 when the program runs. The pipe closes with the exec. */
static int exec_error(pipes *io)
{
    int why = 0;
    ssize_t n;
    do {
        n = read(io->failed[0], &why, sizeof(why));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(why) ? why : 0;
}

xonce_verdict xo_exec_handler(xonce_tx *tx, const xonce_message *m, void *arg)
{
    const xo_exec_program *e = arg;
    child c = {.pidfd = -1, .deadline = e->timeout_ms > 0 ? xo_mono_ms() + e->timeout_ms : INT64_MAX};
    char **env = xo_exec_environment(m, environ);
    if (!env || open_pipes(&c.io) != 0) {
        xo_exec_environment_free(env);
        return cannot_run(tx, e, env ? errno : ENOMEM);
    }
    c.body = xonce_message_body(m, &c.left);
    pid_t parent = getpid();
    c.pid = fork();
    if (c.pid == 0) {
        become(e->path, env, &c.io, parent);
    }
    int why = c.pid < 0 ? errno : 0;
    xo_exec_environment_free(env);
    close_fd(&c.io.in[0]);
    close_fd(&c.io.err[1]);
    close_fd(&c.io.failed[1]);
    if (why == 0) {
        why = exec_error(&c.io);
        if (why) {
            (void)waitpid(c.pid, &c.status, 0);
        }
    }
    if (why == 0) {
        c.pidfd = open_pidfd(c.pid);
        attend(&c);
        close_fd(&c.pidfd);
    }
    close_pipes(&c.io);
    return why ? cannot_run(tx, e, why) : judge(&c, tx, e);
}
