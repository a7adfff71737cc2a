libxonce_low_la_SOURCES += \
	src/base/buf.c \
	src/base/buf.h \
	src/base/clock.c \
	src/base/clock.h \
	src/base/config.c \
	src/base/config.h \
	src/base/config_file.c \
	src/base/config_table.c \
	src/base/credentials.c \
	src/base/credentials.h \
	src/base/error.c \
	src/base/error.h \
	src/base/failpoint.c \
	src/base/failpoint.h \
	src/base/histogram.c \
	src/base/histogram.h \
	src/base/listen.c \
	src/base/listen.h \
	src/base/log.c \
	src/base/log.h \
	src/base/logfile.c \
	src/base/logtext.c \
	src/base/mem.c \
	src/base/mem.h \
	src/base/page.c \
	src/base/page.h \
	src/base/series.h \
	src/base/text.c \
	src/base/text.h \
	src/base/uri.c
EXTRA_DIST += src/base/page.sh src/base/page.css src/base/page.js
