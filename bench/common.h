/* What the measuring programs share: databases of their own, tables full of old records, numbers, processor time. All of it ends the program when it fails. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H
#include "store/store.h"
#include <stdio.h>

enum { BENCH_CONNECTIONS = 20, BENCH_OLD_MS = 10 * 86400 * 1000 /* old records are older than this */ };
#define BENCH_GROUP "GID_bench"
void bench_die(const char *what) __attribute__((noreturn)); /* with the library's last error */
/* settings: pairs, ended by NULL; NULL: none. */
xonce_store *bench_open(const char *uri, const char *const *settings);
void bench_query(xonce_store *s, const char *sql);
int64_t bench_number(xonce_store *s, const char *sql);
/* Drops our tables of this database, and bench_*, and makes ours anew. */
void bench_tables(xonce_store *s);
/* n old records, from number `from` on, in the order of their arrival, of 64 queues, a second and more between each 100. */
void bench_fill(xonce_store *s, int64_t from, int64_t n);
/* Processor seconds of this program; with a server's process id: of that process and its children. */
double bench_own_cpu(void);
double bench_cpu_of(long server);
/* A file of figures, opened to be added to; an empty one gets a line about the machine, and the databases' versions. NULL: no path, none is wanted. */
FILE *bench_json(const char *path, const char *const *uris, size_t n);
#endif
