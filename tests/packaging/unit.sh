# The systemd unit: right for systemd, and it gives the consumer little to do harm with.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
command -v systemd-analyze >/dev/null || skip_all "systemd-analyze is missing (package systemd)"
unit=$T/xonce@shop.service
sed "s|^ExecStart=[^ ]*/xonce |ExecStart=$XONCE |" "$TOP_BUILDDIR/packaging/xonce@.service" >"$unit" || exit 1
like "$(grep ^ExecStart= "$unit")" "^ExecStart=$XONCE consume --config /" "it starts the program with the file of its instance"
unlike "$(cat "$TOP_BUILDDIR/packaging/xonce@.service")" '@(bindir|sysconfdir)@' "every path is filled in"

# verify says what it does not know and goes on, so its words count as its status does
out=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze --man=no verify "$unit" 2>&1)
is "$?: $out" "0: " "systemd-analyze verify"
sed 's/^ProtectSystem=/ProtectSystems=/' "$unit" >"$T/wrong@shop.service"
like "$(SYSTEMD_LOG_LEVEL=warning systemd-analyze --man=no verify "$T/wrong@shop.service" 2>&1)" 'ProtectSystems' "and it would find a word that is wrong"

if systemd-analyze security --help 2>&1 | grep -q -- --offline; then
    security() { systemd-analyze security --no-pager --offline=true --threshold="$1" "$2"; }
    check "systemd-analyze security: at most 1.5 of 10" security 15 "$unit"
    sed '/^NoNewPrivileges=yes/,/^SystemCallErrorNumber=/d' "$unit" >"$T/open@shop.service"
    exits 1 "and without its restrictions it would be more" security 15 "$T/open@shop.service"
else
    skip "this systemd-analyze cannot look at a file" "systemd-analyze security"
fi
done_testing
