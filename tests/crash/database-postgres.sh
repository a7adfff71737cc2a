#!/usr/bin/env bash
# database.sh on postgres.
exec "$BASH" "$(dirname "$0")/database.sh" postgres
