# tests/proto: see tests/local.mk for the variables
proto_tests = tests/proto/test_sign tests/proto/test_receipt tests/proto/test_properties tests/proto/test_xml tests/proto/test_xml_plain \
	tests/proto/test_http_source tests/proto/test_producer
check_PROGRAMS += $(proto_tests)
TESTS += $(proto_tests)
SANITIZER_TESTS += $(proto_tests)
THREAD_TESTS += tests/proto/test_xml tests/proto/test_http_source tests/proto/test_producer
EXTRA_DIST += tests/proto/http-vectors.json
if WITH_PROGRAM
# reads the vectors with jansson, which the program has
proto_tests += tests/proto/test_vectors
tests_proto_test_vectors_SOURCES = tests/proto/test_vectors.c
tests_proto_test_vectors_CPPFLAGS = $(AM_CPPFLAGS) $(PROGRAM_CFLAGS)
tests_proto_test_vectors_LDADD = $(CORE_LIBS) $(PROGRAM_LIBS)
endif
tests_proto_test_sign_SOURCES = tests/proto/test_sign.c
tests_proto_test_sign_LDADD = $(CORE_LIBS)
tests_proto_test_receipt_SOURCES = tests/proto/test_receipt.c
tests_proto_test_receipt_LDADD = $(CORE_LIBS)
tests_proto_test_properties_SOURCES = tests/proto/test_properties.c
tests_proto_test_properties_LDADD = $(CORE_LIBS)
tests_proto_test_xml_SOURCES = tests/proto/test_xml.c
tests_proto_test_xml_LDADD = $(CORE_LIBS)
tests_proto_test_xml_plain_SOURCES = tests/proto/test_xml_plain.c tests/proto/plain.h
tests_proto_test_xml_plain_LDADD = $(CORE_LIBS)
tests_proto_test_http_source_SOURCES = tests/proto/test_http_source.c tests/proto/fake.c tests/proto/fake.h
tests_proto_test_http_source_LDADD = $(CORE_LIBS)
tests_proto_test_producer_SOURCES = tests/proto/test_producer.c tests/proto/fake.c tests/proto/fake.h
tests_proto_test_producer_LDADD = $(CORE_LIBS)

if WITH_PROGRAM
# the endpoint, in the test's own process
endpoint_tests = tests/proto/test_endpoint_parts tests/proto/test_endpoint tests/proto/test_endpoint_http tests/proto/test_endpoint_faults tests/proto/test_endpoint_page
check_PROGRAMS += $(endpoint_tests)
TESTS += $(endpoint_tests)
SANITIZER_TESTS += $(endpoint_tests)
THREAD_TESTS += $(endpoint_tests)
endpoint_cppflags = $(AM_CPPFLAGS) $(MICROHTTPD_CFLAGS)
endpoint_ldadd = tests/proto/libendpoint.la $(CORE_LIBS) $(MICROHTTPD_LIBS)
check_LTLIBRARIES += tests/proto/libendpoint.la
tests_proto_libendpoint_la_SOURCES = tests/proto/wire.c tests/proto/wire.h tests/proto/endpoint_rig.c tests/proto/endpoint_rig.h
tests_proto_libendpoint_la_LIBADD = libxonce_endpoint.la
tests_proto_libendpoint_la_CPPFLAGS = $(endpoint_cppflags)
tests_proto_test_endpoint_parts_SOURCES = tests/proto/test_endpoint_parts.c
tests_proto_test_endpoint_parts_CPPFLAGS = $(endpoint_cppflags)
tests_proto_test_endpoint_parts_LDADD = $(endpoint_ldadd)
tests_proto_test_endpoint_SOURCES = tests/proto/test_endpoint.c
tests_proto_test_endpoint_CPPFLAGS = $(endpoint_cppflags)
tests_proto_test_endpoint_LDADD = $(endpoint_ldadd)
tests_proto_test_endpoint_http_SOURCES = tests/proto/test_endpoint_http.c
tests_proto_test_endpoint_http_CPPFLAGS = $(endpoint_cppflags)
tests_proto_test_endpoint_http_LDADD = $(endpoint_ldadd)
tests_proto_test_endpoint_page_SOURCES = tests/proto/test_endpoint_page.c
tests_proto_test_endpoint_page_CPPFLAGS = $(endpoint_cppflags)
tests_proto_test_endpoint_page_LDADD = $(endpoint_ldadd)
tests_proto_test_endpoint_faults_SOURCES = tests/proto/test_endpoint_faults.c
tests_proto_test_endpoint_faults_CPPFLAGS = $(endpoint_cppflags)
tests_proto_test_endpoint_faults_LDADD = $(endpoint_ldadd)
endif
