# tests/docs: see tests/local.mk for the variables. Every command of README.md and docs/quickstart.md.
if WITH_PROGRAM
if WITH_SQLITE
TESTS += tests/docs/commands.sh
INTEROP_TESTS += tests/docs/commands-postgres.sh
endif
endif
EXTRA_DIST += tests/docs/commands.sh tests/docs/commands-postgres.sh tests/docs/blocks.sh tests/docs/newcomer.sh
TESTS += tests/docs/chinese.sh
EXTRA_DIST += tests/docs/chinese.sh
