# of the program, and of the endpoint's own tests
ENDPOINT_SOURCES = src/endpoint/answer.c src/endpoint/api.c src/endpoint/api_consume.c src/endpoint/auth.c src/endpoint/connections.c \
  src/endpoint/deliver.c src/endpoint/endpoint.c src/endpoint/endpoint.h src/endpoint/engine.c src/endpoint/engine.h src/endpoint/faults.c src/endpoint/faults.h \
  src/endpoint/group.c src/endpoint/half.c src/endpoint/keep.c src/endpoint/list.h src/endpoint/load.c src/endpoint/map.c src/endpoint/map.h \
  src/endpoint/request.h src/endpoint/send.c src/endpoint/storage.c src/endpoint/storage.h src/endpoint/storage_db.h src/endpoint/timers.c \
  src/endpoint/timers.h src/endpoint/topic.c src/endpoint/url.c src/endpoint/writer.c
xonce_SOURCES += $(ENDPOINT_SOURCES)
