#!/usr/bin/env bash
# Bad databases: sqlite.
exec "$BASH" "$(dirname "$0")/bad-store.sh" sqlite
