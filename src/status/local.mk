libxonce_core_la_SOURCES += src/status/clients.c src/status/facts.c src/status/health.c src/status/inside.h src/status/json.c src/status/probe.c src/status/process.c src/status/prometheus.c src/status/sample.c \
	src/status/server.c src/status/shot.c src/status/status.h
nodist_libxonce_core_la_SOURCES += src/status/page_html.c
CLEANFILES += src/status/page_html.c
EXTRA_DIST += src/status/page.html
src/status/page_html.c: src/status/page.html src/base/page.css src/base/page.js src/base/page.sh
	$(AM_V_GEN)$(MKDIR_P) src/status && $(SHELL) $(top_srcdir)/src/base/page.sh xo_status_page $(top_srcdir)/src/status/page.html > $@.tmp && mv $@.tmp $@
