libxonce_core_la_SOURCES += src/producer/producer.h src/producer/producer.c src/producer/http.c src/producer/transaction.c
