/* Runs each file of tests/fuzz/corpus/TARGET/ through its target, whole and cut short at every length: a test without a fuzzer. TAP. */
#include "tests/fuzz/targets.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIGGEST = 1 << 20, CUT_BELOW = 1024 };

/* 1 when it was run. */
static int replay_file(const fuzz_target *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p = f ? malloc(BIGGEST) : NULL;
    if (p) {
        size_t n = fread(p, 1, BIGGEST, f);
        for (size_t cut = 0; cut < n && cut < CUT_BELOW; cut++) {
            t->fn(p, cut);
        }
        t->fn(p, n);
        free(p);
    }
    if (f) {
        fclose(f);
    }
    return p != NULL;
}

/* The number of files; 0 when something is wrong with one of them or with the folder. */
static int replay(const fuzz_target *t, const char *corpus)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", corpus, t->name);
    DIR *d = opendir(path);
    int files = 0, good = 1;
    for (struct dirent *e; d && good && (e = readdir(d));) {
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s/%s", corpus, t->name, e->d_name);
            printf("# %s\n", path); /* the last one told is the one that ends the test */
            fflush(stdout);
            good = replay_file(t, path);
            files++;
        }
    }
    if (d) {
        closedir(d);
    }
    return good ? files : 0;
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
        printf("%sok %zu - %s: %d files\n", files ? "" : "not ", i + 1, fuzz_targets[i].name, files);
        fflush(stdout);
        failed += !files;
    }
    return failed != 0;
}
