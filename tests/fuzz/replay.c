/* Runs each file of tests/fuzz/corpus/TARGET/ through its target, whole and cut short at every length: a test without a fuzzer. TAP. */
#include "tests/fuzz/targets.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIGGEST = 1 << 20, CUT_BELOW = 4096 };

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p = malloc(BIGGEST);
    if (!f || !p) {
        free(p);
        if (f) {
            fclose(f);
        }
        return NULL;
    }
    *n = fread(p, 1, BIGGEST, f);
    fclose(f);
    return p;
}

/* The number of files, -1 when there is something wrong with the folder. */
static int replay(const fuzz_target *t, const char *corpus)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", corpus, t->name);
    DIR *d = opendir(path);
    int files = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n;
        if (e->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s/%s", corpus, t->name, e->d_name);
        uint8_t *p = read_file(path, &n);
        if (!p) {
            closedir(d);
            return -1;
        }
        t->fn(p, n);
        for (size_t cut = 0; cut < n && n < CUT_BELOW; cut++) {
            t->fn(p, cut);
        }
        free(p);
        files++;
    }
    if (d) {
        closedir(d);
    }
    return d && files ? files : -1;
}

int main(void)
{
    const char *top = getenv("TOP_SRCDIR");
    char corpus[512];
    int failed = 0;
    snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus", top ? top : ".");
    printf("1..%zu\n", fuzz_count);
    for (size_t i = 0; i < fuzz_count; i++) {
        int files = replay(&fuzz_targets[i], corpus);
        printf("%sok %zu - %s: %d files\n", files > 0 ? "" : "not ", i + 1, fuzz_targets[i].name, files);
        fflush(stdout);
        failed += files <= 0;
    }
    return failed != 0;
}
