# what exactly once costs, per engine; `make bench` prints tables and writes bench.json, one line a measurement
EXTRA_PROGRAMS += bench/bench
bench_measure = src/cli/measure.c src/cli/measure_advice.c src/cli/measure_tables.c bench/common.c bench/common.h
bench_bench_SOURCES = bench/bench.c bench/blocking.c bench/blocking.h bench/through.c bench/through.h $(bench_measure)
bench_bench_LDADD = libxonce_core.la $(POSTGRESQL_LIBS) $(MYSQL_LIBS) $(SQLITE_LIBS)
EXTRA_DIST += bench/bench.sh
CLEANFILES += bench.json
bench: bench/bench tests/lib/proxy
	$(AM_V_at)rm -f bench.json; CC='$(CC)' BENCH_PROGRAM=$(abs_builddir)/bench/bench BENCH_PROXY=$(abs_builddir)/tests/lib/proxy BENCH_OUT=$(abs_builddir) $(BASH_PROGRAM) $(srcdir)/bench/bench.sh

# how workers and batches size themselves, for loads and handlers; appends to bench-consumer.json
EXTRA_PROGRAMS += bench/consumer
bench_consumer_SOURCES = bench/consumer.c bench/common.c bench/common.h
bench_consumer_LDADD = libxonce_core.la
CLEANFILES += bench-consumer.json
.PHONY: bench-consumer
bench-consumer: bench/consumer
	$(AM_V_at)$(BASH_PROGRAM) $(srcdir)/tests/lib/with-servers.sh $(abs_builddir)/bench/consumer --json bench-consumer.json

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
bench_prune_SOURCES = bench/prune.c $(bench_measure)
bench_prune_LDADD = libxonce_core.la
EXTRA_DIST += bench/prune.sh
CLEANFILES += bench-prune.json
.PHONY: bench-prune
bench-prune: bench/prune
	$(AM_V_at)rm -f bench-prune.json; BENCH_PROGRAM=$(abs_builddir)/bench/prune BENCH_OUT=$(abs_builddir) $(BASH_PROGRAM) $(srcdir)/tests/lib/with-servers.sh $(BASH_PROGRAM) $(srcdir)/bench/prune.sh

# end to end beside Java clients: throughput and latency (Java and Maven), and over HTTP; JSON lines and tables
EXTRA_PROGRAMS += bench/end-to-end bench/load bench/direct
bench_end_to_end_SOURCES = bench/end-to-end.c bench/stamp.h
bench_load_SOURCES = bench/load.c bench/stamp.h
bench_direct_SOURCES = bench/direct.c
bench_end_to_end_LDADD = libxonce_core.la
bench_load_LDADD = libxonce_core.la
bench_direct_LDADD = libxonce_core.la
EXTRA_DIST += bench/end-to-end.sh bench/end-to-end-lib.sh bench/latency.sh bench/http.sh bench/slow-fsync.c
CLEANFILES += bench-end-to-end.json bench-latency.json bench-http.json
.PHONY: bench-end-to-end bench-latency bench-http
bench-end-to-end bench-latency bench-http: all bench/end-to-end bench/load bench/direct bench/rocketmq
	$(AM_V_at)TOP_SRCDIR=$(abs_top_srcdir) TOP_BUILDDIR=$(abs_top_builddir) XONCE=$(abs_top_builddir)/xonce $(BASH_PROGRAM) $(srcdir)/bench/$(@:bench-%=%).sh

# drawings and tables of docs/performance.md, of the measurements that lie beside the drawings
check_PROGRAMS += bench/plot
bench_plot_SOURCES = bench/plot.c bench/plot.h bench/plot_bars.c bench/plot_svg.c bench/plot_tables.c
bench_plot_LDADD = $(BASE_LIBS) -lm
.PHONY: plots
plots: bench/plot
	$(AM_V_at)bench/plot $(srcdir)/docs/performance/*.json --out $(srcdir)/docs/performance
