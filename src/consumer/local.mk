libxonce_core_la_SOURCES += src/consumer/batch.c src/consumer/consumer.c src/consumer/consumer.h src/consumer/crowd.c src/consumer/dispatch.c src/consumer/lane.c \
	src/consumer/maintain.c src/consumer/metrics.c src/consumer/metrics.h src/consumer/parts.h src/consumer/places.c src/consumer/reload.c src/consumer/size.c src/consumer/tell.c src/consumer/version.c src/consumer/worker.c
