#!/usr/bin/env bash
# Every command of README.md and docs/quickstart.md, those for PostgreSQL included.
exec "$BASH" "${TOP_SRCDIR:?}/tests/docs/commands.sh" postgres
