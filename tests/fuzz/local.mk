# tests/fuzz: see tests/local.mk for the variables. The fuzzers themselves need clang: `make fuzz` (FUZZ_SECONDS each) says how it is done.

check_PROGRAMS += tests/fuzz/replay
TESTS += tests/fuzz/replay
SANITIZER_TESTS += tests/fuzz/replay
fuzz_sources = tests/fuzz/targets.c tests/fuzz/targets.h src/cli/jsonpath.c src/cli/sqltemplate.c
tests_fuzz_replay_SOURCES = tests/fuzz/replay.c $(fuzz_sources)
tests_fuzz_replay_LDADD = $(CORE_LIBS)
EXTRA_DIST += tests/fuzz/fuzz.c tests/fuzz/nothing.c tests/fuzz/corpus

FUZZ_SECONDS = 60
FUZZ_TARGETS = xml properties receipt sign config uri sql template json text
# Of the library only what decodes is built again, with coverage. New inputs go to fuzz-corpus/ in the build folder.
.PHONY: fuzz
fuzz:
	$(AM_V_GEN)$(MKDIR_P) fuzz-corpus && cd $(srcdir) && clang -std=c11 -D_GNU_SOURCE -g -O1 -pthread -fsanitize=fuzzer,address,undefined \
	  -Iinclude -Isrc -I. $(BASE_CFLAGS) -o $(abs_builddir)/fuzz-corpus/fuzz tests/fuzz/fuzz.c tests/fuzz/targets.c src/cli/jsonpath.c \
	  src/cli/sqltemplate.c tests/fuzz/nothing.c src/base/*.c src/message/*.c src/proto/*.c src/store/sqltext.c src/store/value.c $(BASE_LIBS) -lm
	@for t in $(FUZZ_TARGETS); do \
	  $(MKDIR_P) fuzz-corpus/$$t; echo "== $$t"; \
	  XONCE_FUZZ_TARGET=$$t fuzz-corpus/fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -print_final_stats=0 -verbosity=0 \
	    fuzz-corpus/$$t $(srcdir)/tests/fuzz/corpus/$$t || exit 1; \
	done
