#!/usr/bin/env bash
# network.sh on postgres.
exec "$BASH" "$(dirname "$0")/network.sh" postgres
