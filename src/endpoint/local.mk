# of the program, of libxonce-test, and of the endpoint's own tests
ENDPOINT_SOURCES = src/endpoint/answer.c src/endpoint/api.c src/endpoint/api_consume.c src/endpoint/auth.c src/endpoint/connections.c \
  src/endpoint/deliver.c src/endpoint/endpoint.c src/endpoint/endpoint.h src/endpoint/engine.c src/endpoint/engine.h src/endpoint/faults.c src/endpoint/faults.h \
  src/endpoint/group.c src/endpoint/half.c src/endpoint/inside.c src/endpoint/inside.h src/endpoint/keep.c src/endpoint/list.h src/endpoint/load.c src/endpoint/look.c src/endpoint/look.h src/endpoint/map.c src/endpoint/map.h \
  src/endpoint/page.c src/endpoint/view.c \
  src/endpoint/request.h src/endpoint/send.c src/endpoint/storage.c src/endpoint/storage.h src/endpoint/storage_db.h src/endpoint/timers.c \
  src/endpoint/timers.h src/endpoint/topic.c src/endpoint/url.c src/endpoint/writer.c
# the page for browsers
ENDPOINT_BUILT = src/endpoint/page_html.c
EXTRA_DIST += src/endpoint/page.html
CLEANFILES += src/endpoint/page_html.c
src/endpoint/page_html.c: src/endpoint/page.html src/base/page.css src/base/page.js src/base/page.sh
	$(AM_V_GEN)$(MKDIR_P) src/endpoint && $(SHELL) $(top_srcdir)/src/base/page.sh xo_serve_page $(top_srcdir)/src/endpoint/page.html > $@.tmp && mv $@.tmp $@
if WITH_PROGRAM
noinst_LTLIBRARIES += libxonce_endpoint.la
endif
libxonce_endpoint_la_SOURCES = $(ENDPOINT_SOURCES)
nodist_libxonce_endpoint_la_SOURCES = $(ENDPOINT_BUILT)
libxonce_endpoint_la_CPPFLAGS = $(AM_CPPFLAGS) $(MICROHTTPD_CFLAGS)
libxonce_endpoint_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
libxonce_endpoint_la_LIBADD = $(MICROHTTPD_LIBS) $(SQLITE_LIBS)
