# The manual pages. xonce.conf(5) and the sample file come from the table of configuration keys; `make manual` rewrites them, and a test compares them.
dist_man_MANS += docs/man/xonce.1 docs/man/xonce-consume.1 docs/man/xonce-serve.1 docs/man/xonce-send.1 docs/man/xonce-bench.1 docs/man/xonce-explain.1 docs/man/xonce-convert.1 docs/man/xonce-doctor.1 docs/man/xonce.conf.5 docs/man/libxonce.3
dist_doc_DATA = docs/xonce.conf
EXTRA_DIST += docs/installing.md docs/sources.md docs/dedup-middleware.md docs/testing.md docs/design.md docs/quickstart.md docs/concepts.md docs/databases.md docs/guarantees.md docs/pruning.md docs/operations.md docs/troubleshooting.md docs/performance.md docs/performance docs/http-protocol.md docs/partitions.md docs/rocketmq.md docs/migrating-from-java.md docs/migrating-from-java.zh-CN.md README.zh-CN.md docs/fill.sh tests/rules/manual.sh
EXTRA_DIST += docs/status-page.png docs/monitoring/README.md docs/monitoring/alerts.yml docs/monitoring/grafana-dashboard.json
TESTS += tests/rules/manual.sh

check_PROGRAMS += docs/confpage
docs_confpage_SOURCES = docs/confpage.c
docs_confpage_LDADD = libxonce_core.la

.PHONY: manual
manual: docs/confpage xonce$(EXEEXT)
	docs/confpage >$(srcdir)/docs/man/xonce.conf.5
	docs/confpage sample >$(srcdir)/docs/xonce.conf
	for page in xonce xonce-consume xonce-send xonce-serve xonce-bench xonce-explain xonce-convert xonce-doctor; do \
	  $(BASH_PROGRAM) $(srcdir)/docs/fill.sh ./xonce $(srcdir)/docs/man/$$page.1 >page.tmp && cp page.tmp $(srcdir)/docs/man/$$page.1 || exit 1; done; rm -f page.tmp
