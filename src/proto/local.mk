libxonce_low_la_SOURCES += src/proto/httpclient.h src/proto/httpclient.c src/proto/properties.h src/proto/properties.c src/proto/receipt.h src/proto/receipt.c \
	src/proto/sign.h src/proto/sign.c src/proto/xml.h src/proto/xml.c src/proto/xml_read.h src/proto/xml_plain.c src/proto/xml_read.c src/proto/xml_sax.c src/proto/xml_sax.h src/proto/xml_serve.c src/proto/xml_write.c
