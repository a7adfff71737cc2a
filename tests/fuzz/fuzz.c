/* A libFuzzer program for one target, named by the build (-DFUZZ_TARGET='"xml"') or else by XONCE_FUZZ_TARGET:
   clang -g -O1 -fsanitize=fuzzer,address,undefined ... tests/fuzz/fuzz.c tests/fuzz/targets.c; ./fuzz tests/fuzz/corpus/xml */
#include "tests/fuzz/targets.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static fuzz_fn fn;
    if (!fn) {
#ifdef FUZZ_TARGET
        const char *name = FUZZ_TARGET;
#else
        const char *name = getenv("XONCE_FUZZ_TARGET");
#endif
        for (size_t i = 0; name && i < fuzz_count; i++) {
            if (strcmp(fuzz_targets[i].name, name) == 0) {
                fn = fuzz_targets[i].fn;
            }
        }
        if (!fn) {
            fprintf(stderr, "XONCE_FUZZ_TARGET names no target\n");
            exit(2);
        }
    }
    fn(p, n);
    return 0;
}
