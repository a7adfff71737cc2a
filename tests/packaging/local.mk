# tests/packaging: see tests/local.mk for the variables

# the published interface against what is written down of it
TESTS += tests/packaging/abi.sh
EXTRA_DIST += tests/packaging/abi.sh

if WITH_PROGRAM
TESTS += tests/packaging/unit.sh
if RUNS_HERE
TESTS += tests/packaging/completions.sh
endif
endif
EXTRA_DIST += tests/packaging/unit.sh tests/packaging/completions.sh tests/packaging/complete.zsh

# make install, use what is installed, make uninstall
INTEROP_TESTS += tests/packaging/install.sh
EXTRA_DIST += tests/packaging/install.sh
