# How it gets on with the world around it.
INTEROP_TESTS += tests/interop/install.sh
EXTRA_DIST += tests/interop/install.sh
INTEROP_TESTS += tests/interop/http-clients.sh
EXTRA_DIST += tests/interop/http-clients.sh tests/interop/clients/clients.js tests/interop/clients/clients.py tests/interop/clients/clients.go \
	tests/interop/clients/Clients.java

# on a private RocketMQ (Java, javac, Maven; else skipped), with Java clients beside
ROCKETMQ_TESTS = tests/interop/rocketmq-offset.sh tests/interop/rocketmq-kills.sh tests/interop/rocketmq-java.sh tests/interop/rocketmq-history.sh tests/interop/rocketmq-retry.sh \
	tests/interop/rocketmq-causes.sh tests/interop/rocketmq-transactions.sh tests/interop/rocketmq-ranges.sh tests/interop/rocketmq-tenants.sh tests/interop/rocketmq-prune.sh \
	tests/interop/rocketmq-paused.sh
INTEROP_TESTS += $(ROCKETMQ_TESTS)
ROCKETMQ_LONG_TESTS = tests/interop/rocketmq-trace.sh tests/interop/rocketmq-acl.sh tests/interop/rocketmq-4.sh
LONG_TESTS += $(ROCKETMQ_LONG_TESTS)
check_PROGRAMS += tests/interop/transactions
tests_interop_transactions_SOURCES = tests/interop/transactions.c
tests_interop_transactions_LDADD = libxonce.la
EXTRA_DIST += $(ROCKETMQ_TESTS) $(ROCKETMQ_LONG_TESTS) tests/interop/rmqlib.sh tests/lib/rocketmq/rocketmq.sh tests/lib/rocketmq/pom.xml tests/lib/rocketmq/LoopbackReplication.java \
	tests/interop/java/Rig.java tests/interop/java/Send.java tests/interop/java/Push.java tests/interop/java/Ons.java tests/interop/java/Again.java

# make check-kafka: examples/10-kafka.c on a real Kafka (Java, Maven and kcat)
EXTRA_DIST += tests/interop/kafka.sh tests/lib/kafka/pom.xml
.PHONY: check-kafka
kafka_example =
if WITH_KAFKA
kafka_example += examples/10-kafka$(EXEEXT)
endif
check-kafka: all $(kafka_example)
	$(AM_V_at)TOP_SRCDIR=$(abs_top_srcdir) TOP_BUILDDIR=$(abs_top_builddir) $(BASH_PROGRAM) $(srcdir)/tests/interop/kafka.sh
include tests/soak/local.mk
