/* A database through a proxy that takes its time: tests/lib/proxy as a child of this program. */
#ifndef BENCH_THROUGH_H
#define BENCH_THROUGH_H
#include <stddef.h>
#include <sys/types.h>
typedef struct {
    pid_t pid;
    int orders;    /* its stdin: it ends when that is closed */
    char uri[512]; /* the database's, through it */
} bench_proxy;
/* Half of rtt_us each way. 0, or -1 when it did not start (told on stderr). */
int bench_proxy_start(bench_proxy *p, const char *program, const char *uri, int rtt_us);
void bench_proxy_end(bench_proxy *p);
#endif
