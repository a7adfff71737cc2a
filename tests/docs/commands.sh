#!/usr/bin/env bash
# commands.sh [sqlite|postgres]: runs every command that README.md and docs/quickstart.md show, in the order in which they stand there, and compares what they say it prints.
#
# blocks.sh says what is run. `sh build` is what made the program that runs here: tests/docs/newcomer.sh runs it in a fresh Debian.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
. "$TOP_SRCDIR/tests/docs/blocks.sh"
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

# what may stand in a block that is not run here; nothing else hides there
build='(\./bootstrap( (demo|check))?|sudo make -C build install && sudo ldconfig|sudo apt-get install --no-install-recommends [a-z0-9-]+|sudo -u postgres createuser --createdb \$USER)( +#.*)?'
page() {
    local name dir block
    name=$(basename "$1")
    dir=$T/$name
    mkdir -p "$dir/work"
    check "$name: its blocks" blocks_split "$1" "$dir"
    blocks_run "$dir" "$dir/work" "$(servers_free_port)" 200 sh "sh $engine"
    blocks_judge "$name" "$dir" sh "sh $engine"
    check "$name: commands were found" [ $BLOCKS -gt 0 ]
    for block in $(grep -lxE 'sh (build|packages)' "$dir"/[0-9][0-9].kind); do
        block=${block%.kind}
        is "$(grep -vxE "$build" "$block")" "" "$name: $(head -n 1 "$block"): these make the program that runs here"
    done
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
