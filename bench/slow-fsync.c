/* Loaded before the C library (LD_PRELOAD): each sync to disk takes $SLOW_FSYNC_US microseconds longer, as on a network disk. For the servers of bench/end-to-end.sh. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_as_told(void)
{
    const char *text = getenv("SLOW_FSYNC_US");
    long us = text ? strtol(text, NULL, 10) : 0;
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (us > 0 && nanosleep(&t, &t) != 0)
        ;
}

int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    wait_as_told();
    return real(fd);
}

int fdatasync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    wait_as_told();
    return real(fd);
}
