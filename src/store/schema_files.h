/* The schema files of sql/, compiled in by sql/embed.sh. */
#ifndef XO_SCHEMA_FILES_H
#define XO_SCHEMA_FILES_H
typedef struct {
    const char *engine; /* "postgresql", "mysql", "sqlite" = xo_dialect.name; NULL ends the array */
    const char *name;   /* "001-record.sql": in this order within an engine */
    const char *text;
} xo_schema_file;
extern const xo_schema_file xo_schema_files[];
#endif
