#!/usr/bin/env bash
# commands.sh [sqlite|postgres]: runs every command that README.md and docs/quickstart.md show, in the order in which they stand there, and compares what they say it prints.
#
# In these pages a block ```sh is run, ```sh postgres with a PostgreSQL server too, ```sh build is what made the program that runs here; ```c NAME is a file of that name,
# and each line of a ```text block must be in the output of the block before it.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset XONCE_STORE ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN
engine=${1:-sqlite}

# what a reader who followed the page has by now: the program and the library, found by PATH and pkg-config
mkdir "$T/bin" "$T/pc"
ln -s "$XONCE" "$T/bin/xonce"
library=$TOP_BUILDDIR/.libs
[ -e "$library/libxonce.so" ] || skip_all "this build has no shared library"
sed "s|^prefix=.*|prefix=$TOP_SRCDIR|; s|^exec_prefix=.*|exec_prefix=$TOP_SRCDIR|; s|^libdir=.*|libdir=$library|; s|^includedir=.*|includedir=$TOP_SRCDIR/include|" \
    "$TOP_BUILDDIR/xonce.pc" >"$T/pc/xonce.pc"
export PATH=$T/bin:$PATH PKG_CONFIG_PATH=$T/pc LD_LIBRARY_PATH=$library
if [ "$engine" = postgres ]; then
    [ -z "$(servers_missing postgres)" ] || skip_all "it needs the Debian package $(servers_missing postgres)"
    XONCE_SERVERS_DIR=$(servers_new_dir) || bail "no folder for servers"
    export XONCE_SERVERS_DIR
    at_end servers_end
    servers_start postgres || bail "PostgreSQL does not start"
    port=$(servers_uri postgres)
    port=${port##*:}
    export PGHOST=127.0.0.1 PGPORT=${port%/*} PGUSER=xonce PGPASSWORD=xonce PATH=$PATH:$(servers_postgres_bin)
fi

# split PAGE FOLDER: its blocks as files 01, 02..., and 01.kind with what stands behind their fences
split() {
    awk -v dir="$2" '
        /^```/ && !inside { inside = 1; n++; file = sprintf("%s/%02d", dir, n); print substr($0, 4) >(file ".kind"); printf "" >file; next }
        /^```/ { inside = 0; close(file); next }
        inside { print >file }
        END { exit inside }' "$1"
}
# page FILE: runs its blocks in one shell, each with its output in N.out; N.ok is there when all its commands have ended well
page() {
    local name dir block kind last='' n=0 port
    name=$(basename "$1")
    dir=$T/$name
    port=$(servers_free_port)
    mkdir -p "$dir/work"
    check "$name: its blocks" split "$1" "$dir"
    sed -i "s/127\.0\.0\.1:8080/127.0.0.1:$port/g" "$dir"/[0-9][0-9]
    {
        echo "set -e; cd '$dir/work'; trap 'kill \$(jobs -p) 2>/dev/null || :' EXIT"
        for block in "$dir"/[0-9][0-9]; do
            kind=$(cat "$block.kind")
            case $kind in
                'c '*) echo "cp '$block' './${kind#c }'" ;;
                sh | "sh $engine")
                    printf 'exec >"%s.out" 2>&1\n' "$block"
                    cat "$block"
                    grep -q 'xonce serve' "$block" && echo "for i in \$(seq 400); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; read -rt 0.05 <> <(:) || :; done"
                    printf ': >"%s.ok"\n' "$block"
                    ;;
            esac
        done
    } >"$dir/all"
    timeout 200 "$BASH" "$dir/all" </dev/null >"$dir/end" 2>&1
    for block in "$dir"/[0-9][0-9]; do
        kind=$(cat "$block.kind")
        case $kind in
            sh | "sh $engine")
                n=$((n + 1))
                last=$block
                if [ -e "$block.ok" ]; then ok "$name: $(head -n 1 "$block")"; else not_ok "$name: $(head -n 1 "$block")" "$(cat "$block"; echo; tail -n 20 "$block.out")"; fi
                ;;
            text)
                [ -z "$last" ] || while IFS= read -r line; do
                    if grep -qF -- "$line" "$last.out" 2>/dev/null; then ok "$name: it prints $line"; else not_ok "$name: it prints $line" "$(tail -n 20 "$last.out" 2>&1)"; fi
                done <"$block"
                ;;
            'sh build')
                last=
                is "$(grep -vxE '(\./bootstrap( (demo|check))?|git clone .*|cd xonce|make -C build install( && ldconfig)?)( +#.*)?' "$block")" "" "$name: $(head -n 1 "$block"): these make the program that runs here"
                ;;
            'sh postgres') last= ;;
            c | 'c '*) ;;
            *) not_ok "$name: a block of a kind that nobody tests: $kind" ;;
        esac
    done
    check "$name: commands were found" [ $n -gt 0 ]
}
for word in demo check; do check "./bootstrap $word" grep -qE "^  $word +" <("$BASH" "$TOP_SRCDIR/bootstrap" --help); done
page "$TOP_SRCDIR/README.md"
page "$TOP_SRCDIR/docs/quickstart.md"
# links to files of ours
for file in "$TOP_SRCDIR"/*.md "$TOP_SRCDIR"/docs/*.md; do
    grep -oE '\]\([^) ]+\)' "$file" | sed 's/^](//; s/)$//; s/#.*//' | grep -vE '^([a-z]+:|$)' | while IFS= read -r link; do
        [ -e "$(dirname "$file")/$link" ] || printf '%s: %s\n' "$(basename "$file")" "$link"
    done
done >"$T/broken"
is "$(cat "$T/broken")" "" "every link in the documents leads to a file"
done_testing
