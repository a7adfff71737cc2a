libxonce_core_la_SOURCES += src/remoting/command.h src/remoting/wirejson.h src/remoting/record.h src/remoting/remoting.h src/remoting/cluster.h
libxonce_core_la_SOURCES += src/remoting/wire.h src/remoting/command.c src/remoting/answer.c src/remoting/acl.c src/remoting/wirejson.c src/remoting/record.c src/remoting/codec.c
libxonce_core_la_SOURCES += src/remoting/sending.h src/remoting/sending.c src/remoting/trace.h src/remoting/trace.c
libxonce_core_la_SOURCES += src/remoting/io.h src/remoting/remoting.c src/remoting/loop.c src/remoting/connection.c src/remoting/dispatch.c src/remoting/header.c src/remoting/waits.c \
	src/remoting/resolve.c src/remoting/tls.c
libxonce_core_la_SOURCES += src/remoting/cluster_int.h src/remoting/cluster.c src/remoting/servers.c src/remoting/route.c src/remoting/ids.c
