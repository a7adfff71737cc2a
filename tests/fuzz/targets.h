/* The fuzz targets: one function per decoder of text that comes from outside. Each takes any bytes, and aborts when the decoder breaks a promise. */
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

#define PROMISE(x) ((x) ? (void)0 : fuzz_broken(#x, __FILE__, __LINE__))
void fuzz_broken(const char *what, const char *file, int line) __attribute__((noreturn));
char *fuzz_text(const uint8_t *p, size_t n);              /* a copy of exactly n bytes and a NUL: reading behind it is found */
char *fuzz_bytes(const uint8_t *p, size_t n);             /* the same without a NUL */
int fuzz_file(const uint8_t *p, size_t n, char path[64]); /* a file in memory; close() what is returned; -1: there is none */

/* target_proto.c */
void fuzz_xml(const uint8_t *p, size_t n);
void fuzz_properties(const uint8_t *p, size_t n);
void fuzz_receipt(const uint8_t *p, size_t n);
void fuzz_sign(const uint8_t *p, size_t n);
void fuzz_credentials(const uint8_t *p, size_t n);
/* target_base.c */
void fuzz_config(const uint8_t *p, size_t n);
void fuzz_setting(const uint8_t *p, size_t n);
void fuzz_uri(const uint8_t *p, size_t n);
void fuzz_plain(const uint8_t *p, size_t n);
void fuzz_identity(const uint8_t *p, size_t n);
/* target_sql.c */
void fuzz_sql(const uint8_t *p, size_t n);
void fuzz_template(const uint8_t *p, size_t n);
/* target_json.c */
void fuzz_json(const uint8_t *p, size_t n);
void fuzz_line(const uint8_t *p, size_t n);
/* target_remoting.c */
void fuzz_frame(const uint8_t *p, size_t n);
void fuzz_record(const uint8_t *p, size_t n);
void fuzz_codec(const uint8_t *p, size_t n);
void fuzz_wirejson(const uint8_t *p, size_t n);
/* target_convert.c */
void fuzz_convert(const uint8_t *p, size_t n);
/* target_url.c; built with the program alone, whose endpoint reads URLs */
void fuzz_url(const uint8_t *p, size_t n);
#endif
