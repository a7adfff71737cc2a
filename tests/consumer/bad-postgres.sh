#!/usr/bin/env bash
# Bad databases: postgres.
exec "$BASH" "$(dirname "$0")/bad-store.sh" postgres
