# make install puts everything where it is found again: by pkg-config, CMake and a C++ compiler; make uninstall leaves nothing.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
root=$T/root
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
run_make() { make -s -C "$TOP_BUILDDIR" "$@" DESTDIR="$root"; }
prefix=$(sed -n 's/^prefix *= *//p' "$TOP_BUILDDIR/Makefile")
[ "$prefix" != /usr ] || skip_all "built for /usr, where what is installed elsewhere is not found: see make check-packages"
check "make install" run_make install
at=$root$prefix
(cd "$root" && find . ! -type d | sort) >"$T/installed"
library=$(find "$root" -name libxonce.so)
if [ -z "$library" ]; then
    skip "this build has no shared library" "use of what was installed"
    check "make uninstall" run_make uninstall
    done_testing
fi
libdir=$(dirname "$library")
for file in include/xonce/xonce.h share/man/man3/libxonce.3 share/man/man3/xonce_store.3 share/man/man3/xonce_once.3 share/xonce/sql/sqlite/001-record.sql; do check "$file is there" test -s "$at/$file"; done
is "$(cat "$at"/share/man/man3/*.3 | sed -n 's/^\.so //p' | sort -u | while read -r page; do [ -s "$at/share/man/$page" ] || echo "$page"; done)" "" "manual pages that send elsewhere send to one that is installed"
if [ -x "$XONCE" ]; then
    "$XONCE" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | grep -vx xonce | while read -r command; do [ -s "$at/share/man/man1/xonce-$command.1" ] || echo "$command"; done >"$T/without"
    is "$(cat "$T/without")" "" "every command has its manual page"
    for file in bin/xonce lib/systemd/system/xonce@.service share/man/man1/xonce.1 share/man/man5/xonce.conf.5 share/bash-completion/completions/xonce \
        share/zsh/site-functions/_xonce share/fish/vendor_completions.d/xonce.fish; do check "$file is there" test -s "$at/$file"; done
    is "$("$at/bin/xonce" --version)" "$("$XONCE" --version)" "the installed program runs"
fi

# An example, from what is installed alone
cd "$T" || exit 1
cp "$TOP_SRCDIR/examples/01-quickstart.c" . || exit 1
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
# PKG_CONFIG_SYSROOT_DIR would move the folders of other libraries too
flags() { pkg-config "$@" | sed "s| -\([IL]\)$prefix| -\1$at|g; s|^-\([IL]\)$prefix|-\1$at|"; }
if [ -n "${HAVE_SQLITE:-}" ]; then
    runs() { rm -f quickstart.db; [ "$("$1" | grep -c ': applied') $("$1" | grep -c ': applied')" = "3 0" ]; }
    # the flags are words
    # shellcheck disable=SC2046
    check "an example is compiled by pkg-config" ${CC:-cc} -std=c99 -o c-example 01-quickstart.c $(flags --cflags --libs xonce)
    check "and runs" runs ./c-example
    # shellcheck disable=SC2046
    check "the static library is enough" ${CC:-cc} -o static-example 01-quickstart.c $(flags --cflags xonce) "$libdir/libxonce.a" \
        $(pkg-config --libs $(pkg-config --print-requires-private xonce)) -pthread -lm
    check "and runs without the shared one" env -u LD_LIBRARY_PATH bash -c 'rm -f quickstart.db; ./static-example | grep -q ": applied"'
else
    runs() { "$1"; }
    printf '#include <xonce/xonce.h>\nint main(void) { return !xonce_version(); }\n' >01-quickstart.c
fi
cat >use.cc <<'CC'
#include <xonce/xonce.h>
#include <cstdio>
static xonce_verdict note(xonce_tx *tx, const xonce_message *m, void *) {
    return xonce_exec(tx, "CREATE TABLE IF NOT EXISTS t (id TEXT)") == XONCE_OK &&
           xonce_exec(tx, "INSERT INTO t VALUES ($1)", {xonce_text(xonce_message_id(m))}) == XONCE_OK ? XONCE_DONE : XONCE_RETRY;
}
int main() {
    xonce_store *store;
    if (xonce_store_open(&store, "sqlite:cc.db", "GID_cc", nullptr) != XONCE_OK || xonce_store_upgrade(store) != XONCE_OK) return 1;
    for (int i = 0; i < 2; i++) {
        xonce_message *m;
        xonce_outcome what;
        if (xonce_message_new(&m, "t", "ID-1", "x", 1) != XONCE_OK || xonce_once(store, m, note, nullptr, &what) != XONCE_OK) return 1;
        std::puts(what == XONCE_FRESH ? "fresh" : "duplicate");
        xonce_message_free(m);
    }
    xonce_store_close(store);
}
CC
if [ -n "${HAVE_SQLITE:-}" ]; then
    # shellcheck disable=SC2046
    check "a C++ program is compiled" ${CXX:-c++} -std=c++11 -Wall -Wextra -Werror -o cc-example use.cc $(flags --cflags --libs xonce)
    is "$(./cc-example 2>&1 | tr '\n' ' ')" "fresh duplicate " "and runs"
fi

if command -v cmake >/dev/null; then
    mkdir cmake
    cp 01-quickstart.c cmake/
    cat >cmake/CMakeLists.txt <<'CM'
cmake_minimum_required(VERSION 3.13)
project(use C)
find_package(xonce ${WANTED} REQUIRED)
add_executable(quickstart 01-quickstart.c)
target_link_libraries(quickstart PRIVATE xonce::xonce)
CM
    version=$("$TOP_BUILDDIR/config.status" --version | sed -n '1s/^xonce config.status //p')
    configured() { rm -rf made; cmake -S cmake -B made -DCMAKE_PREFIX_PATH="$at" -DWANTED="$1"; }
    check "CMake finds this version" configured "$version"
    check "and builds with it" cmake --build made
    check "and what it built runs" runs made/quickstart
    check "CMake finds this series" configured "${version%.*}"
    if [ -e "$at/include/xonce/test.h" ]; then
        sed 's/find_package(.*/find_package(xonce ${WANTED} REQUIRED COMPONENTS test)/; s/xonce::xonce/xonce::test/' cmake/CMakeLists.txt >lists && mv lists cmake/CMakeLists.txt
        printf '#include <xonce/test.h>\nint main(void) { xonce_test *t; int bad = xonce_test_start(&t, NULL) != XONCE_OK || !xonce_test_uri(t); xonce_test_stop(t); return bad; }\n' >cmake/01-quickstart.c
        check "CMake finds libxonce-test" configured "$version"
        check "and builds with it" cmake --build made
        check "and what it built runs" made/quickstart
    fi
    sed -i 's/COMPONENTS test/COMPONENTS nonsense/' cmake/CMakeLists.txt
    [ ! -e "$at/include/xonce/test.h" ] || exits 1 "CMake refuses a component that there is not" configured "$version"
    sed -i 's/COMPONENTS nonsense//' cmake/CMakeLists.txt
    exits 1 "CMake refuses a later series" configured 99.1
    mv "$at/include/xonce" "$at/include/elsewhere"
    exits 1 "CMake says when the headers are gone" configured "$version"
    mv "$at/include/elsewhere" "$at/include/xonce"
else
    skip "cmake is missing (package cmake)" "CMake"
fi

check "make uninstall" run_make uninstall
is "$(find "$root" ! -type d)" "" "no file is left ($(wc -l <"$T/installed") were installed)"
is "$(find "$root" -type d -name '*xonce*')" "" "nor a folder of its own"
done_testing
