#!/usr/bin/env bash
# Bad databases: mysql.
exec "$BASH" "$(dirname "$0")/bad-store.sh" mysql
