# bench: ratios measured in one run; `make bench` prints them and writes bench.json
EXTRA_PROGRAMS += bench/bench
bench_bench_SOURCES = bench/bench.c
bench_bench_LDADD = libxonce_core.la

bench: bench/bench
	$(AM_V_at)$(BASH_PROGRAM) $(srcdir)/tests/lib/with-servers.sh $(abs_builddir)/bench/bench --json bench.json
CLEANFILES += bench.json

# the same beside Java clients on a private RocketMQ (Java and Maven)
EXTRA_PROGRAMS += bench/rocketmq
bench_rocketmq_SOURCES = bench/rocketmq.c
bench_rocketmq_LDADD = libxonce_core.la
EXTRA_DIST += bench/rocketmq.sh
.PHONY: bench-rocketmq
bench-rocketmq: all bench/rocketmq
	$(AM_V_at)TOP_SRCDIR=$(abs_top_srcdir) TOP_BUILDDIR=$(abs_top_builddir) XONCE=$(abs_top_builddir)/xonce $(BASH_PROGRAM) $(srcdir)/bench/rocketmq.sh

# what pruning costs, and what a large table does; writes bench-prune.json, one line a measurement
EXTRA_PROGRAMS += bench/prune
bench_prune_SOURCES = bench/prune.c
bench_prune_LDADD = libxonce_core.la
EXTRA_DIST += bench/prune.sh
CLEANFILES += bench-prune.json
.PHONY: bench-prune
bench-prune: bench/prune
	$(AM_V_at)rm -f bench-prune.json; BENCH_PROGRAM=$(abs_builddir)/bench/prune BENCH_OUT=$(abs_builddir) $(BASH_PROGRAM) $(srcdir)/tests/lib/with-servers.sh $(BASH_PROGRAM) $(srcdir)/bench/prune.sh
