# How it gets on with the world around it.
INTEROP_TESTS += tests/interop/install.sh
EXTRA_DIST += tests/interop/install.sh
INTEROP_TESTS += tests/interop/http-clients.sh
EXTRA_DIST += tests/interop/http-clients.sh tests/interop/clients/clients.js tests/interop/clients/clients.py tests/interop/clients/clients.go \
	tests/interop/clients/Clients.java
