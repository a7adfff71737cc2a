# tests/fuzz: see tests/local.mk for the variables. The replay of the corpus is a test; the fuzzers need clang: make fuzz [FUZZ_SECONDS=60] [FUZZ_TARGETS="xml sql"].
# They are built with coverage, address and undefined, in fuzz-corpus/ of the build folder, where new inputs stay; what breaks a promise is kept as
# fuzz-corpus/TARGET-crash-..., and `XONCE_FUZZ_TARGET=TARGET fuzz-corpus/fuzz FILE` runs it again. What is worth keeping goes to corpus/TARGET/ by hand, small.

check_PROGRAMS += tests/fuzz/replay
TESTS += tests/fuzz/replay
SANITIZER_TESTS += tests/fuzz/replay
# the targets, and the parts of the program that they reach
fuzz_convert = src/cli/convert_beans.c src/cli/convert_model.c src/cli/convert_placeholder.c src/cli/convert_read.c src/cli/convert_settings.c src/cli/convert_skeleton.c \
	src/cli/convert_store.c src/cli/convert_write.c src/cli/convert_xml.c
fuzz_sources = tests/fuzz/targets.c tests/fuzz/target_base.c tests/fuzz/target_json.c tests/fuzz/target_proto.c tests/fuzz/target_remoting.c \
	tests/fuzz/target_sql.c tests/fuzz/target_convert.c src/cli/jsonpath.c src/cli/line.c src/cli/sqltemplate.c $(fuzz_convert)
fuzz_cppflags =
FUZZ_TARGETS = xml properties receipt sign credentials sql template json line config setting uri identity text frame record codec wirejson convert
if WITH_PROGRAM
fuzz_sources += tests/fuzz/target_url.c src/endpoint/url.c
fuzz_cppflags += $(MICROHTTPD_CFLAGS) -DFUZZ_PROGRAM=1
FUZZ_TARGETS += url
endif
tests_fuzz_replay_SOURCES = tests/fuzz/replay.c tests/fuzz/targets.h $(fuzz_sources)
tests_fuzz_replay_CPPFLAGS = $(AM_CPPFLAGS) $(fuzz_cppflags)
tests_fuzz_replay_LDADD = $(CORE_LIBS)
EXTRA_DIST += tests/fuzz/fuzz.c tests/fuzz/nothing.c tests/fuzz/target_url.c tests/fuzz/sql.dict tests/fuzz/xml.dict tests/fuzz/convert.dict tests/fuzz/corpus

FUZZ_SECONDS = 60
FUZZ_CC = clang
# of the library what decodes, and stand-ins for the rest
fuzz_wire = src/remoting/acl.c src/remoting/answer.c src/remoting/codec.c src/remoting/command.c src/remoting/header.c src/remoting/record.c src/remoting/wirejson.c
fuzz_library = src/base/*.c src/message/*.c src/proto/*.c $(fuzz_wire) src/store/sqltext.c src/store/value.c tests/fuzz/nothing.c
.PHONY: fuzz
fuzz:
	@command -v $(FUZZ_CC) >/dev/null || { echo "make fuzz needs clang (Debian package clang)" >&2; exit 1; }
	$(AM_V_GEN)$(MKDIR_P) fuzz-corpus && cd $(srcdir) && $(FUZZ_CC) -std=c11 $(DEFS) -D_GNU_SOURCE -g -O1 -pthread \
	  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -Iinclude -Isrc -I. $(BASE_CFLAGS) $(SQLITE_CFLAGS) \
	  $(fuzz_cppflags) -o $(abs_builddir)/fuzz-corpus/fuzz tests/fuzz/fuzz.c $(fuzz_sources) $(fuzz_library) \
	  $(BASE_LIBS) $(SQLITE_LIBS) -lm
	@for t in $(FUZZ_TARGETS); do \
	  $(MKDIR_P) fuzz-corpus/$$t; \
	  dict=; case $$t in sql | template) dict=-dict=$(srcdir)/tests/fuzz/sql.dict ;; convert) dict=-dict=$(srcdir)/tests/fuzz/convert.dict ;; xml) dict=-dict=$(srcdir)/tests/fuzz/xml.dict ;; esac; \
	  XONCE_FUZZ_TARGET=$$t fuzz-corpus/fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=20 -print_final_stats=1 $$dict \
	    -artifact_prefix=fuzz-corpus/$$t- fuzz-corpus/$$t $(srcdir)/tests/fuzz/corpus/$$t >fuzz-corpus/$$t.log 2>&1 || \
	    { tail -n 40 fuzz-corpus/$$t.log; echo "$$t: FAILED, see fuzz-corpus/$$t.log"; exit 1; }; \
	  echo "$$t: $$(sed -n 's/^stat::number_of_executed_units: *//p' fuzz-corpus/$$t.log) inputs, nothing found"; \
	done
