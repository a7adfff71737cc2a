# The manual says what the code does: keys, options and commands. What it says of the library: manpages.sh.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
man=$TOP_SRCDIR/docs/man

# same NAME MADE FILE
same() {
    if diff -u "$3" "$2" >"$T/diff"; then ok "$1"; else not_ok "$1" "run: make manual
$(head -n 40 "$T/diff")"; fi
}
"$TOP_BUILDDIR/docs/confpage" >"$T/conf.5"
"$TOP_BUILDDIR/docs/confpage" sample >"$T/conf"
same "xonce.conf(5) has the keys of the table" "$T/conf.5" "$man/xonce.conf.5"
same "docs/xonce.conf has the defaults of the table" "$T/conf" "$TOP_SRCDIR/docs/xonce.conf"

if [ -x "$XONCE" ]; then
    for page in "$man"/xonce*.1; do
        bash "$TOP_SRCDIR/docs/fill.sh" "$XONCE" "$page" >"$T/page"
        same "$(basename "$page") has the options of --help" "$T/page" "$page"
    done
    "$XONCE" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' >"$T/commands"
    for command in $(grep -vx xonce "$T/commands"); do
        page=$man/xonce-$command.1
        check "xonce-$command(1) is there, with an example" grep -qE "^\.SH EXAMPLES?\$" "$page"
        check "with the options of its help" grep -qxF ".\\\" options of $command" "$page"
        check "xonce(1) names it" grep -qE "^\.BR xonce\\\\-$command \(1\)\$" "$man/xonce.1"
        check "README has the command $command" grep -qE "\`(xonce )?$command\`" "$TOP_SRCDIR/README.md"
        like "$("$XONCE" "$command" --help)" 'example:' "xonce $command --help has an example"
    done
else
    skip "this build has no program" "options and commands"
fi

if command -v man >/dev/null 2>&1 && command -v groff >/dev/null 2>&1; then
    for page in "$man"/*.[135]; do
        is "$(LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)" "" "$(basename "$page") is sound troff"
    done
else
    skip "man and groff are not installed" "troff"
fi
done_testing
