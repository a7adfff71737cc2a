#!/usr/bin/env bash
# Consumers killed, on postgres.
exec "$BASH" "$(dirname "$0")/kill.sh" postgres
