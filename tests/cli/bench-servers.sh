#!/usr/bin/env bash
# xonce bench on private PostgreSQL and MariaDB servers.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
for engine in postgres mysql; do
    if [ -n "$(servers_missing $engine)" ]; then
        skip "$engine needs the Debian package $(servers_missing $engine)" "$engine"
    else
        printf '#!/usr/bin/env bash\nexec "%s" "%s" %s\n' "$BASH" "$TOP_SRCDIR/tests/cli/bench.sh" $engine >"$T/$engine.sh"
        other "$engine" "$T/$engine.sh"
    fi
done
done_testing
