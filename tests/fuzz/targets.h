/* One function per decoder of text that comes from outside. Each takes any bytes, and traps when the decoder breaks a promise. */
#ifndef FUZZ_TARGETS_H
#define FUZZ_TARGETS_H
#include <stddef.h>
#include <stdint.h>
typedef void (*fuzz_fn)(const uint8_t *p, size_t n);
typedef struct {
    const char *name; /* of the corpus folder */
    fuzz_fn fn;
} fuzz_target;
extern const fuzz_target fuzz_targets[];
extern const size_t fuzz_count;
#endif
