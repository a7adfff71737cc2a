# libxonce-test: the endpoint for tests of users' handlers. Inside it has the rooms that the endpoint needs, hidden; the rest it takes from libxonce.
if WITH_PROGRAM
lib_LTLIBRARIES += libxonce-test.la
xonceinclude_HEADERS += include/xonce/test.h
pkgconfig_DATA += xonce-test.pc
endif
EXTRA_DIST += include/xonce/test.h
libxonce_test_la_SOURCES = src/testing/testing.c src/testing/testing.h src/testing/watch.c
libxonce_test_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
# libxonce by an option that libtool hands on unread: it would link again at `make install`, which then could go to no other prefix
libxonce_test_la_LIBADD = libxonce_endpoint.la libxonce_low.la
libxonce_test_la_DEPENDENCIES = libxonce_endpoint.la libxonce_low.la libxonce.la
libxonce_test_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined -export-symbols-regex '^xonce_test_' \
	-Wl,--push-state,--no-as-needed,-L.libs,-lxonce,--pop-state
