# How it gets on with the world around it.
INTEROP_TESTS += tests/interop/install.sh
EXTRA_DIST += tests/interop/install.sh
