libxonce_core_la_SOURCES += src/source/custom.c src/source/runs.c src/source/runs.h src/source/source.c src/source/source.h
libxonce_core_la_SOURCES += src/source/http/http.h src/source/http/source.c src/source/http/loop.c src/source/http/polls.c src/source/http/acks.c
