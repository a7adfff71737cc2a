#!/usr/bin/env bash
# Consumers killed, on mysql.
exec "$BASH" "$(dirname "$0")/kill.sh" mysql
