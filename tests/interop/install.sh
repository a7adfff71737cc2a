# What `make install` leaves is enough to build and run a program: headers, library, xonce.pc, the program, the manual and the schema.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
[ -e "$TOP_BUILDDIR/.libs/libxonce.so" ] || skip_all "this build has no shared library"
prefix=$T/inst
unset MAKEFLAGS MFLAGS MAKELEVEL
check "make install" "${MAKE:-make}" -C "$TOP_BUILDDIR" install prefix="$prefix"
is "$(find "$prefix/include" -type f -printf '%P ')" "$(cd "$prefix/include" && printf '%s ' $(find . -path './xonce/*.h' -printf '%P '))" "only xonce/*.h is installed as headers"
for file in bin/xonce lib/libxonce.so lib/libxonce.a lib/pkgconfig/xonce.pc share/man/man1/xonce.1 share/man/man5/xonce.conf.5 share/man/man3/libxonce.3 share/man/man3/xonce_once.3; do
    check "there is $file" test -e "$prefix/$file"
done
is "$(find "$prefix" -name '*.sql' | wc -l)" "$(find "$TOP_SRCDIR/sql" -name '*.sql' | wc -l)" "every schema file is there"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
sed -i "s|^prefix=.*|prefix=$prefix|" "$prefix/lib/pkgconfig/xonce.pc"
read -ra flags <<<"$(pkg-config --cflags --libs xonce)"
cd "$T" || exit 1
if [ -n "${HAVE_SQLITE:-}" ]; then
    check "an example builds with pkg-config" ${CC:-cc} -o quickstart "$TOP_SRCDIR/examples/01-quickstart.c" "${flags[@]}"
    is "$(LD_LIBRARY_PATH=$prefix/lib ./quickstart | head -n 1)" "P-1: applied" "and runs"
    read -ra needed <<<"$(pkg-config --libs $(pkg-config --print-requires-private xonce))"
    check "an example links the static library" ${CC:-cc} -o static "$TOP_SRCDIR/examples/01-quickstart.c" "-I$prefix/include" "$prefix/lib/libxonce.a" \
        "${needed[@]}" -lm -pthread
    is "$(./static | head -n 1)" "P-1: a duplicate, skipped" "and runs"
fi
if pkg-config --exists check; then
    sed -i "s|^prefix=.*|prefix=$prefix|" "$prefix/lib/pkgconfig/xonce-test.pc"
    read -ra flags <<<"$(pkg-config --cflags --libs xonce-test check)"
    check "a test of a handler builds with pkg-config" ${CC:-cc} -o handler-test "$TOP_SRCDIR/examples/13-test-check.c" "${flags[@]}"
    check "and passes" env LD_LIBRARY_PATH="$prefix/lib" ./handler-test
fi
is "$("$prefix/bin/xonce" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+')" "$(pkg-config --modversion xonce)" "the program has the version of xonce.pc"
check "make uninstall" "${MAKE:-make}" -C "$TOP_BUILDDIR" uninstall prefix="$prefix"
is "$(find "$prefix" -type f)" "" "and nothing is left"
done_testing
