# an in-process name server and brokers, for the tests of the source and the producer
check_LTLIBRARIES += tests/remoting/libbroker.la
tests_remoting_libbroker_la_SOURCES = tests/remoting/broker.c tests/remoting/broker.h tests/remoting/broker_inside.h tests/remoting/broker_log.c \
	tests/remoting/broker_groups.c tests/remoting/broker_requests.c tests/remoting/broker_data.c tests/remoting/broker_read.c
broker_tests = tests/remoting/test_broker
check_PROGRAMS += $(broker_tests)
TESTS += $(broker_tests)
SANITIZER_TESTS += $(broker_tests)
THREAD_TESTS += $(broker_tests)
tests_remoting_test_broker_SOURCES = tests/remoting/test_broker.c
tests_remoting_test_broker_LDADD = tests/remoting/libbroker.la $(CORE_LIBS)

# the wire: commands, stored messages, codecs, JSON, and all of it on recorded frames
wire_tests = tests/remoting/test_command tests/remoting/test_record tests/remoting/test_record_codec tests/remoting/test_wirejson tests/remoting/test_vectors
check_PROGRAMS += $(wire_tests)
TESTS += $(wire_tests)
SANITIZER_TESTS += $(wire_tests)
EXTRA_DIST += tests/remoting/remoting-vectors.json
tests_remoting_test_command_SOURCES = tests/remoting/test_command.c
tests_remoting_test_command_LDADD = $(CORE_LIBS)
tests_remoting_test_record_SOURCES = tests/remoting/test_record.c
tests_remoting_test_record_LDADD = $(CORE_LIBS)
tests_remoting_test_record_codec_SOURCES = tests/remoting/test_record_codec.c
tests_remoting_test_record_codec_LDADD = $(CORE_LIBS)
tests_remoting_test_wirejson_SOURCES = tests/remoting/test_wirejson.c
tests_remoting_test_wirejson_LDADD = $(CORE_LIBS)
tests_remoting_test_vectors_SOURCES = tests/remoting/test_vectors.c
tests_remoting_test_vectors_LDADD = $(CORE_LIBS)

# connections, TLS, name servers and routes, against a server that misbehaves on order
net_tests = tests/remoting/test_net tests/remoting/test_net_hang tests/remoting/test_remoting_tls tests/remoting/test_cluster
check_PROGRAMS += $(net_tests)
TESTS += $(net_tests)
SANITIZER_TESTS += $(net_tests)
THREAD_TESTS += $(net_tests)
tests_remoting_test_net_SOURCES = tests/remoting/test_net.c tests/remoting/netrig.c tests/remoting/netrig.h tests/remoting/peer.c tests/remoting/peer.h
tests_remoting_test_net_LDADD = $(CORE_LIBS)
tests_remoting_test_net_hang_SOURCES = tests/remoting/test_net_hang.c tests/remoting/netrig.c tests/remoting/netrig.h tests/remoting/peer.c tests/remoting/peer.h
tests_remoting_test_net_hang_LDADD = $(CORE_LIBS) -ldl
tests_remoting_test_remoting_tls_SOURCES = tests/remoting/test_remoting_tls.c tests/remoting/peer.c tests/remoting/peer.h
tests_remoting_test_remoting_tls_LDADD = $(CORE_LIBS)
tests_remoting_test_cluster_SOURCES = tests/remoting/test_cluster.c tests/remoting/peer.c tests/remoting/peer.h
tests_remoting_test_cluster_LDADD = $(CORE_LIBS)

# the producer against the in-process cluster
sender_tests = tests/remoting/test_rocketmq_producer tests/remoting/test_rocketmq_half
check_PROGRAMS += $(sender_tests)
TESTS += $(sender_tests)
SANITIZER_TESTS += $(sender_tests)
THREAD_TESTS += $(sender_tests)
sender_sources = tests/remoting/sender.c tests/remoting/sender.h
tests_remoting_test_rocketmq_producer_SOURCES = tests/remoting/test_rocketmq_producer.c $(sender_sources)
tests_remoting_test_rocketmq_producer_LDADD = tests/remoting/libbroker.la $(CORE_LIBS)
tests_remoting_test_rocketmq_half_SOURCES = tests/remoting/test_rocketmq_half.c $(sender_sources)
tests_remoting_test_rocketmq_half_LDADD = tests/remoting/libbroker.la $(CORE_LIBS)
