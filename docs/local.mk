# The manual pages. xonce.conf(5) and the sample file come from the table of configuration keys; `make manual` rewrites them, and a test compares them.
dist_man_MANS += docs/man/xonce.1 docs/man/xonce-bench.1 docs/man/xonce-check.1 docs/man/xonce-consume.1 docs/man/xonce-convert.1 docs/man/xonce-doctor.1 docs/man/xonce-explain.1 docs/man/xonce-init.1 docs/man/xonce-prune.1 docs/man/xonce-rejected.1 docs/man/xonce-replay.1 docs/man/xonce-rewind.1 docs/man/xonce-seen.1 docs/man/xonce-send.1 docs/man/xonce-serve.1 docs/man/xonce-stats.1 docs/man/xonce-topic.1 docs/man/xonce-upgrade.1 docs/man/xonce.conf.5 docs/man/libxonce.3
dist_doc_DATA = docs/xonce.conf
EXTRA_DIST += docs/installing.md docs/sources.md docs/dedup-middleware.md docs/testing.md docs/design.md docs/quickstart.md docs/concepts.md docs/databases.md docs/guarantees.md docs/pruning.md docs/operations.md docs/troubleshooting.md docs/performance.md docs/performance docs/http-protocol.md docs/partitions.md docs/rocketmq.md docs/migrating-from-java.md docs/migrating-from-java.zh-CN.md README.zh-CN.md docs/fill.sh tests/rules/manual.sh
EXTRA_DIST += docs/status-page.png docs/monitoring/README.md docs/monitoring/alerts.yml docs/monitoring/grafana-dashboard.json
TESTS += tests/rules/manual.sh

# Those of the library come from the headers: a page for each group of functions, and for each name one that sends there.
EXTRA_DIST += docs/manpages.awk tests/rules/manpages.sh
TESTS += tests/rules/manpages.sh
noinst_DATA = docs/man3.made
CLEANFILES += docs/man3.made
docs/man3.made: docs/manpages.awk $(xonceinclude_HEADERS)
	$(AM_V_GEN)rm -rf docs/man3 && $(MKDIR_P) docs/man3 && made=`pwd`/docs/man3 && (cd $(srcdir) && LC_ALL=C $(AWK) -v dir="$$made" -f docs/manpages.awk $(xonceinclude_HEADERS)) && touch $@
clean-local:
	rm -rf docs/man3
install-data-local: docs/man3.made
	$(MKDIR_P) "$(DESTDIR)$(man3dir)" && $(INSTALL_DATA) docs/man3/*.3 "$(DESTDIR)$(man3dir)"
uninstall-local: docs/man3.made
	for page in docs/man3/*.3; do rm -f "$(DESTDIR)$(man3dir)/$${page##*/}"; done

check_PROGRAMS += docs/confpage
docs_confpage_SOURCES = docs/confpage.c
docs_confpage_LDADD = libxonce_core.la

.PHONY: manual
manual: docs/confpage xonce$(EXEEXT)
	docs/confpage >$(srcdir)/docs/man/xonce.conf.5
	docs/confpage sample >$(srcdir)/docs/xonce.conf
	for page in $(srcdir)/docs/man/xonce*.1; do \
	  $(BASH_PROGRAM) $(srcdir)/docs/fill.sh ./xonce $$page >page.tmp && cp page.tmp $$page || exit 1; done; rm -f page.tmp
