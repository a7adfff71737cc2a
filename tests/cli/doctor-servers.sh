#!/usr/bin/env bash
# xonce doctor and check on PostgreSQL and MariaDB servers.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
unset XONCE_STORE
cd "$T" || exit 1
x=$XONCE
faketime=$(ls -d /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 2>/dev/null | head -n 1)
# each thing once: both the engine and what all engines have in common look at it
once() { is "$(grep -c "$1" out)" 1 "$2"; }
for engine in postgres mysql; do
    begin_server $engine || continue
    store=$STORE
    if [ $engine = postgres ]; then
        unsafe='ALTER TABLE transaction_record SET UNLOGGED' mended='ALTER TABLE transaction_record SET LOGGED' word=UNLOGGED
    else
        unsafe='SET GLOBAL innodb_flush_log_at_trx_commit = 2' mended='SET GLOBAL innodb_flush_log_at_trx_commit = 1' word=innodb_flush_log_at_trx_commit
    fi
    exits 3 "$engine: no tables" "$x" doctor --store "$store"
    for table in transaction_record xonce_rejected xonce_watermark; do once "table $table is" "$engine: $table is missed once"; done
    "$x" init --store "$store" >/dev/null || bail "init failed"
    exits 0 "$engine: in order" "$x" doctor --store "$store" --group GID_d
    like "$(cat out)" 'ok: (PostgreSQL|MariaDB) [0-9.]+.*as user .*ok: the server takes [0-9]+ connections' "$engine: version, user and connections are told"
    unlike "$(cat out)" 'xonce:xonce' "$engine: the password is not"
    exits 0 "$engine: more workers than connections" "$x" doctor --store "$store" --set workers=900
    like "$(cat out)" 'unwise: the server takes [0-9]+ connections, a consumer may open 902' "$engine: is told"
    printf '%s\n' 'store.connections = 3' '[store shop]' "uri = $store" 'store.connections = 800' >store.conf
    exits 0 "$engine: a [store] with more connections of its own" "$x" doctor --config store.conf
    like "$(cat out)" 'unwise: the server takes [0-9]+ connections, a consumer may open 800' "$engine: its own settings count"
    # what docs/databases.md says that the user of a consumer needs
    awk -v kind="\`\`\`sql $engine" '$0 == kind { on = 1; next } /^```/ { on = 0 } on' "$TOP_SRCDIR/docs/databases.md" >grant.sql
    db "$(cat grant.sql)"
    exits 0 "$engine: a user with the rights that the manual names" "$x" doctor --store "${store/xonce:xonce@/app:choose%20one@}" --group GID_d
    like "$(cat out)" 'as user app.*ok: tables, keys, rights' "$engine: lacks none"
    db "$unsafe"
    exits 3 "$engine: a setting that loses commits" "$x" doctor --store "$store"
    like "$(cat out)" "UNSAFE: .*$word.*> (ALTER|SET)" "$engine: is told, with the statement that mends it"
    db "$mended"
    if [ -z "$faketime" ]; then
        skip "there is no libfaketimeMT.so.1 here (Debian package libfaketime)" "$engine: a clock ten minutes off"
    else
        env "LD_PRELOAD=$faketime" FAKETIME=-10m FAKETIME_DONT_FAKE_MONOTONIC=1 "$x" check --store "$store" >out 2>err
        once "clock.*this machine's" "$engine: a clock ten minutes off is told once"
    fi
    servers_stop $engine
    exits 3 "$engine: the server is down" "$x" doctor --store "$store"
    "$x" check --store "$store" >out 2>err
    is "$(grep -o "xonce:\*\*\*@" err | wc -l)" 1 "$engine: the address stands once in the error"
    servers_end
done
done_testing
