#!/bin/sh
# Prints a C file that holds an HTML page as the text NAME: page.sh NAME PAGE.html
# A line "/* page.css */" or "/* page.js */" in it stands for the file of that name beside this script: what all pages share.
set -eu
export LC_ALL=C
[ $# -eq 2 ] && [ -f "$2" ] || { echo "usage: page.sh NAME PAGE.html" >&2; exit 2; }
here=$(dirname "$0")
cat <<HEAD
/* Made by src/base/page.sh from ${2##*/}, page.css and page.js. Change those, not this. */
extern const char $1[];
const char $1[] =
HEAD
# '?' is escaped so that no trigraph can come about
awk -v dir="$here" '
    function copy(file, line, status) {
        while ((status = (getline line <file)) > 0) print line
        if (status < 0) { print "page.sh: cannot read " file >"/dev/stderr"; exit 1 }
        close(file)
    }
    $0 == "/* page.css */" { copy(dir "/page.css"); next }
    $0 == "/* page.js */" { copy(dir "/page.js"); next }
    { print }' "$2" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/^/    "/' -e 's/$/\\n"/'
echo ';'
