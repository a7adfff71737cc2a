/* This process in figures: what Prometheus expects of every process it watches. */
#include "status/inside.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t read_some(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    if (f) {
        fclose(f);
    }
    out[n] = 0;
    return n;
}

static int64_t count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = 0;
    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        closedir(d);
    }
    return n > 3 ? n - 3 : -1; /* without ".", ".." and the folder itself */
}

/* /proc/self/stat behind the name: state is field 3, utime 14, threads 20, starttime 22, vsize 23, rss 24. */
static void read_stat(xo_process *p)
{
    char text[1024], boot[4096];
    long hz = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    const char *from = read_some("/proc/self/stat", text, sizeof(text)) ? strrchr(text, ')') : NULL;
    unsigned long long start, size;
    long threads, rss;
    if (!from || hz <= 0 || sscanf(from + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu %llu %ld", &threads, &start, &size, &rss) != 4) {
        return;
    }
    p->threads = threads;
    p->virtual_size = (int64_t)size;
    p->resident = (int64_t)rss * page;
    unsigned long long at;
    FILE *f = fopen("/proc/stat", "re");
    while (f && fgets(boot, sizeof(boot), f)) {
        if (sscanf(boot, "btime %llu", &at) == 1) {
            p->started_seconds = (double)at + (double)start / (double)hz;
            break;
        }
    }
    if (f) {
        fclose(f);
    }
}

void xo_process_look(xo_process *out)
{
    struct rusage used;
    struct rlimit files;
    *out = (xo_process){.cpu_seconds = -1, .started_seconds = -1, .resident = -1, .virtual_size = -1, .open_fds = count_fds(), .max_fds = -1, .threads = -1};
    if (getrusage(RUSAGE_SELF, &used) == 0) {
        out->cpu_seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
        out->max_fds = (int64_t)files.rlim_cur;
    }
    read_stat(out);
}
