libxonce_core_la_SOURCES += src/producer/producer.h src/producer/producer.c src/producer/work.h src/producer/work.c \
	src/producer/http.h src/producer/http.c src/producer/http_transaction.c \
	src/producer/rocketmq.h src/producer/rocketmq.c src/producer/rocketmq_message.c src/producer/rocketmq_queues.c src/producer/rocketmq_send.c \
	src/producer/rocketmq_half.c
