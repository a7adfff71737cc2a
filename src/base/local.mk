libxonce_core_la_SOURCES += \
	src/base/buf.c \
	src/base/buf.h \
	src/base/clock.c \
	src/base/clock.h \
	src/base/config.c \
	src/base/config.h \
	src/base/config_table.c \
	src/base/credentials.c \
	src/base/credentials.h \
	src/base/error.c \
	src/base/error.h \
	src/base/failpoint.c \
	src/base/failpoint.h \
	src/base/log.c \
	src/base/log.h \
	src/base/mem.c \
	src/base/mem.h \
	src/base/text.c \
	src/base/text.h \
	src/base/uri.c
