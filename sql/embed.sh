#!/bin/sh
# Prints a C file that holds the schema files DIR/<engine>/NNN-name.sql as text: embed.sh DIR
set -eu
export LC_ALL=C
[ $# -eq 1 ] && [ -d "$1" ] || { echo "usage: embed.sh DIR" >&2; exit 2; }
dir=$1
cat <<'HEAD'
/* Made by sql/embed.sh from sql/<engine>/NNN-name.sql. Change those, not this. */
#include "store/schema_files.h"
const xo_schema_file xo_schema_files[] = {
HEAD
for engine in postgresql mysql sqlite postgresql-partitioned mysql-partitioned; do
    found=0
    for file in "$dir/$engine"/[0-9][0-9][0-9]-*.sql; do
        [ -f "$file" ] || continue
        found=1
        name=${file##*/}
        printf '    {"%s", "%s",\n' "$engine" "$name"
        # '?' is escaped so that no trigraph can come about
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/^/     "/' -e 's/$/\\n"/' "$file"
        printf '    },\n'
    done
    [ "$found" -eq 1 ] || { echo "embed.sh: no schema files in $dir/$engine" >&2; exit 1; }
done
cat <<'TAIL'
    {0, 0, 0}
};
TAIL
