#!/usr/bin/env bash
# database.sh on mysql.
exec "$BASH" "$(dirname "$0")/database.sh" mysql
