#!/usr/bin/env bash
# Consumers killed, on sqlite.
exec "$BASH" "$(dirname "$0")/kill.sh" sqlite
