#!/usr/bin/env bash
# Runs a command with private database servers: with-servers.sh [--only postgres|mysql] COMMAND...
#
# The command finds them in XONCE_TEST_POSTGRES_URI and XONCE_TEST_MYSQL_URI (a private MariaDB). An XONCE_TEST_MYSQL_URI that was set before is kept as
# XONCE_TEST_MYSQL2_URI, one more server to test. XONCE_SERVERS_DIR lets the command kill and restart them: tests/lib/servers.sh kill postgres.
# A server that is not installed is skipped visibly; with XONCE_REQUIRE_SERVERS=1 that is a failure.
set -u
. "$(dirname "$0")/servers.sh"
engines="postgres mysql"
if [ "${1:-}" = --only ]; then
    engines=${2:?}
    shift 2
fi
[ $# -gt 0 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }

XONCE_SERVERS_DIR=$(servers_new_dir) || exit 1
export XONCE_SERVERS_DIR
trap servers_end EXIT
# should this process be SIGKILLed, somebody must still end the servers
setsid "$BASH" -c '. "$1"; while servers_runs "$2"; do read -rt 1 <> <(:) || :; done; servers_end' watch "$(cd "$(dirname "$0")" && pwd)/servers.sh" $$ \
    </dev/null >/dev/null 2>&1 &
disown
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ -z "${XONCE_TEST_MYSQL_URI:-}" ] || export XONCE_TEST_MYSQL2_URI=$XONCE_TEST_MYSQL_URI
unset XONCE_TEST_MYSQL_URI XONCE_TEST_POSTGRES_URI
for engine in $engines; do
    servers_start "$engine"
    case $? in
        0) ;;
        3) [ -z "${XONCE_REQUIRE_SERVERS:-}" ] || exit 1 ;;
        *) exit 1 ;;
    esac
done
uri=$(servers_uri postgres) && export XONCE_TEST_POSTGRES_URI=$uri
uri=$(servers_uri mysql) && export XONCE_TEST_MYSQL_URI=$uri

# in the background, so that a signal ends it and the servers at once
"$@" <&0 &
child=$!
trap 'kill -TERM $child 2>/dev/null; wait $child; exit 143' TERM HUP
trap 'kill -INT $child 2>/dev/null; wait $child; exit 130' INT
wait $child
