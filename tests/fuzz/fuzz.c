/* The fuzzer: libFuzzer on the target that XONCE_FUZZ_TARGET names. Only `make fuzz` builds it. */
#include "tests/fuzz/targets.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static fuzz_fn find(const char *name)
{
    for (size_t i = 0; name && i < fuzz_count; i++) {
        if (strcmp(fuzz_targets[i].name, name) == 0) {
            return fuzz_targets[i].fn;
        }
    }
    fprintf(stderr, "XONCE_FUZZ_TARGET names no target. There are:");
    for (size_t i = 0; i < fuzz_count; i++) {
        fprintf(stderr, " %s", fuzz_targets[i].name);
    }
    fprintf(stderr, "\n");
    exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static fuzz_fn fn;
    if (!fn) {
        fn = find(getenv("XONCE_FUZZ_TARGET"));
    }
    fn(p, n);
    return 0;
}
