/* Run by systemd: what the journal and the manager are told beyond the lines themselves. */
#include "cli/service.h"
#include "base/log.h"
#include "cli/output.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un manager = {.sun_family = AF_UNIX};
static size_t manager_len; /* of the path; 0: there is nobody to tell */

/* JOURNAL_STREAM is inherited by whatever is started, also with another stderr: it counts when it names this one. */
static int is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat s;
    char mine[64];
    if (!stream || fstat(fd, &s) != 0) {
        return 0;
    }
    int n = snprintf(mine, sizeof(mine), "%" PRIuMAX ":%" PRIuMAX, (uintmax_t)s.st_dev, (uintmax_t)s.st_ino);
    return n > 0 && (size_t)n < sizeof(mine) && strcmp(mine, stream) == 0;
}

const char *xo_service_level(int level)
{
    static const char *const levels[] = {"<3>", "<4>", "<6>", "<7>"}; /* of syslog(3) */
    return level >= XO_ERROR && level <= XO_DEBUG && is_journal(STDERR_FILENO) ? levels[level] : "";
}

void xo_service_begin(void)
{
    const char *to = getenv("NOTIFY_SOCKET");
    size_t n = to ? strlen(to) : 0;
    if (n > 1 && n < sizeof(manager.sun_path) && (to[0] == '/' || to[0] == '@')) {
        memcpy(manager.sun_path, to, n);
        manager.sun_path[0] = to[0] == '@' ? '\0' : '/'; /* '@': a name of the kernel's, not of a file */
        manager_len = n;
    }
    (void)unsetenv("NOTIFY_SOCKET");
}

void xo_service_ready(void)
{
    static const char ready[] = "READY=1";
    if (!manager_len) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + manager_len);
    if (fd < 0 || sendto(fd, ready, sizeof(ready) - 1, MSG_NOSIGNAL, (struct sockaddr *)&manager, size) < 0) {
        xo_out_error("the service manager cannot be told that the start is done (NOTIFY_SOCKET): %s; it may end this process", strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}
