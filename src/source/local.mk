libxonce_core_la_SOURCES += src/source/custom.c src/source/runs.c src/source/runs.h src/source/source.c src/source/source.h
libxonce_core_la_SOURCES += src/source/http/http.h src/source/http/source.c src/source/http/loop.c src/source/http/polls.c src/source/http/acks.c
libxonce_core_la_SOURCES += src/source/rocketmq/rocketmq.h src/source/rocketmq/filter.h src/source/rocketmq/source.c src/source/rocketmq/service.c \
	src/source/rocketmq/routes.c src/source/rocketmq/members.c src/source/rocketmq/locks.c src/source/rocketmq/filter.c src/source/rocketmq/origin.c \
	src/source/rocketmq/sendback.c src/source/rocketmq/requests.c src/source/rocketmq/traces.c
libxonce_core_la_SOURCES += src/source/rocketmq/track.h src/source/rocketmq/track.c src/source/rocketmq/data.h src/source/rocketmq/pull.c src/source/rocketmq/answer.c \
	src/source/rocketmq/unpack.c src/source/rocketmq/place.h src/source/rocketmq/place.c src/source/rocketmq/start.c src/source/rocketmq/novel.c src/source/rocketmq/offset.c \
	src/source/rocketmq/commit.c src/source/rocketmq/watermark.c src/source/rocketmq/lag.c
