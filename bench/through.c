/* Starts the tests' proxy before a database, and ends it. */
#include "bench/through.h"
#include "base/text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The URI with the proxy's port. Private servers listen on numbers, so the text "host:port" is there to be replaced. */
static int redirect(char *out, size_t size, const char *uri, const char *target, int port)
{
    const char *at = strstr(uri, target);
    int n = at ? snprintf(out, size, "%.*s127.0.0.1:%d%s", (int)(at - uri), uri, port, at + strlen(target)) : -1;
    return n > 0 && (size_t)n < size ? 0 : -1;
}

static int target_of(const char *uri, char *target, size_t size)
{
    xo_uri u;
    if (xo_uri_parse(&u, uri) != XONCE_OK)
        return -1;
    int n = u.port ? snprintf(target, size, "%s:%d", u.host, u.port) : -1;
    xo_uri_free(&u);
    return n > 0 && (size_t)n < size ? 0 : -1;
}

static int answer(int fd, char *line, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && read(fd, line + n, 1) == 1 && line[n] != '\n')
        n++;
    line[n] = 0;
    return n ? 0 : -1;
}

int bench_proxy_start(bench_proxy *p, const char *program, const char *uri, int rtt_us)
{
    char target[300] = "", line[80];
    int in[2], out[2], port = 0;
    memset(p, 0, sizeof *p);
    if (target_of(uri, target, sizeof target) != 0 || pipe(in) != 0 || pipe(out) != 0) {
        fprintf(stderr, "bench: no proxy before a database without host:port in its URI\n");
        return -1;
    }
    p->pid = fork();
    if (p->pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execl(program, program, target, (char *)NULL);
        perror(program);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    p->orders = in[1];
    int fine = p->pid > 0 && answer(out[0], line, sizeof line) == 0 && sscanf(line, "listening on 127.0.0.1:%d", &port) == 1;
    if (fine) {
        int n = snprintf(line, sizeof line, "delay %.3f\n", rtt_us / 2000.0);
        fine = write(p->orders, line, (size_t)n) == n && answer(out[0], line, sizeof line) == 0 && strcmp(line, "ok") == 0;
    }
    close(out[0]);
    if (fine && redirect(p->uri, sizeof p->uri, uri, target, port) == 0)
        return 0;
    fprintf(stderr, "bench: the proxy %s did not start\n", program);
    bench_proxy_end(p);
    return -1;
}

void bench_proxy_end(bench_proxy *p)
{
    if (p->pid > 0) {
        close(p->orders);
        (void)kill(p->pid, SIGTERM);
        (void)waitpid(p->pid, NULL, 0);
    }
    memset(p, 0, sizeof *p);
}
