#!/usr/bin/env bash
# network.sh on mysql.
exec "$BASH" "$(dirname "$0")/network.sh" mysql
