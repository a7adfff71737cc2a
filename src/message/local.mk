libxonce_low_la_SOURCES += \
	src/message/identity.c \
	src/message/message.c \
	src/message/message.h \
	src/message/pack.c \
	src/message/position.c \
	src/message/position.h \
	src/message/trace.c \
	src/message/trace.h
