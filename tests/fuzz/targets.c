/* The table of fuzz targets, shared by the fuzzers and by the replay of their corpus, and what the targets share. */
#include "tests/fuzz/targets.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_broken(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, what);
    abort();
}

static char *copy(const uint8_t *p, size_t n, size_t room)
{
    char *s = malloc(room ? room : 1);
    PROMISE(s);
    if (n) {
        memcpy(s, p, n);
    }
    return s;
}

char *fuzz_text(const uint8_t *p, size_t n)
{
    char *s = copy(p, n, n + 1);
    s[n] = 0;
    return s;
}

char *fuzz_bytes(const uint8_t *p, size_t n)
{
    return copy(p, n, n);
}

int fuzz_file(const uint8_t *p, size_t n, char path[64])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, p, n) != (ssize_t)n) {
        close(fd);
        fd = -1;
    }
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

const fuzz_target fuzz_targets[] = {
    {"xml", fuzz_xml},         {"properties", fuzz_properties},
    {"receipt", fuzz_receipt}, {"sign", fuzz_sign},
    {"sql", fuzz_sql},         {"template", fuzz_template},
    {"json", fuzz_json},       {"line", fuzz_line},
    {"config", fuzz_config},   {"setting", fuzz_setting},
    {"uri", fuzz_uri},         {"identity", fuzz_identity},
    {"text", fuzz_plain},      {"credentials", fuzz_credentials},
    {"frame", fuzz_frame},     {"record", fuzz_record},
    {"codec", fuzz_codec},     {"wirejson", fuzz_wirejson},
    {"convert", fuzz_convert},
#ifdef FUZZ_PROGRAM
    {"url", fuzz_url},
#endif
};
const size_t fuzz_count = sizeof(fuzz_targets) / sizeof(fuzz_targets[0]);
