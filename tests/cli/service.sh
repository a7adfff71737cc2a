#!/usr/bin/env bash
# What the systemd unit counts on: the manager hears that the start is done, once it is, and the journal how serious a line is.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=cli-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=cli-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
cd "$T" || exit 1
# the journal is the file that `exits` makes of stderr; nobody listens at the manager's address, which is told when the program wants to say that it is ready
: >err
export JOURNAL_STREAM=$(stat -c %d:%i err) NOTIFY_SOCKET=$T/nobody
ready='<3>xonce: the service manager cannot be told that the start is done'
store=sqlite:$T/shop.db

start_serve serve --data "$T/queues" || bail "serve did not start"
printf '1\n500\n' | "$XONCE" send --to "$SERVE_URL" --topic orders >/dev/null 2>&1
consume() { timeout 60 "$XONCE" consume --from "$SERVE_URL" --topic orders --store "$store" --exit-when-idle 1s "$@"; }

exits 1 "a consumer that cannot start" consume --group GID_none --sql 'INSERT INTO orders VALUES (:body)'
like "$(cat err)" '^<3>xonce: ' "says why as an error"
unlike "$(cat err)" 'service manager' "and not that it is ready"

exits 2 "a fault in the settings" consume --group GID_none --set batch.max=many --sql 'SELECT 1'
like "$(cat err)" '^<3>xonce consume: .*many' "is an error too"

"$XONCE" init --store "$store" >/dev/null 2>&1
sqlite shop.db 'CREATE TABLE orders (n INTEGER CHECK (n < 100))'
exits 0 "a consumer that can" consume --group GID_sql --sql 'INSERT INTO orders VALUES (:body)'
is "$(grep -cF "$ready" err)" 1 "says once that it is ready"
like "$(cat err)" '<4>consumer: rejected.*CHECK constraint failed' "a warning is one, without a time and a level of its own"
printf '%s\n' '#!/bin/sh' 'echo "${NOTIFY_SOCKET-none}" >>told' >run
chmod +x run
exits 0 "a consumer with a program" consume --group GID_exec --exec ./run
is "$(sort -u told)" none "which does not speak for the service"

unset JOURNAL_STREAM NOTIFY_SOCKET
exits 0 "without systemd" consume --group GID_plain --sql 'INSERT INTO orders VALUES (:body)'
like "$(cat err)" '^20[^ ]*Z warning consumer: rejected' "lines have time and level, and nothing else is said"
unlike "$(cat err)" '<[0-9]>|service manager' "of systemd"
done_testing
