# bench: ratios measured in one run; `make bench` prints them and writes bench.json
EXTRA_PROGRAMS += bench/bench
bench_bench_SOURCES = bench/bench.c
bench_bench_LDADD = libxonce_core.la

bench: bench/bench
	$(AM_V_at)$(BASH_PROGRAM) $(srcdir)/tests/lib/with-servers.sh $(abs_builddir)/bench/bench --json bench.json
CLEANFILES += bench.json
