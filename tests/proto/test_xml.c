/* The XML documents: the forms that clients and endpoints really use, and everything hostile. */
#include "base/clock.h"
#include "base/mem.h"
#include "proto/properties.h"
#include "proto/xml.h"
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static xonce_status read_send(xo_xml_send *s, const char *doc)
{
    return xo_xml_read_send(s, doc, strlen(doc));
}

static int says(const char *word)
{
    return strstr(xonce_error_last()->text, word) != NULL;
}

/* ---- the endpoint's side ---- */

START_TEST(send_forms)
{
    static const struct {
        const char *doc, *body, *tag, *properties;
    } t[] = {
        {"<Message><MessageBody>hello "
         "mq!</MessageBody><MessageTag>TagA</MessageTag><Properties>a:1|b:two|</Properties></Message>",
         "hello mq!", "TagA", "a:1|b:two|"},
        {"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message "
         "xmlns=\"http://mq.aliyuncs.com/doc/v1/\"><MessageBody><![CDATA[hello <&> "
         "mq!]]></MessageBody><MessageTag><![CDATA[TagA]]></MessageTag>"
         "<Properties><![CDATA[KEYS:k]]></Properties></Message>",
         "hello <&> mq!", "TagA", "KEYS:k"},
        {"<?xml version=\"1.0\" encoding=\"utf-8\"?><Message xmlns=\"http://mq.aliyuncs.com/doc/v1/\"><MessageBody>a "
         "&amp; b</MessageBody><Properties>a:1|</Properties><MessageTag>T</MessageTag></Message>",
         "a & b", "T", "a:1|"},
        {"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?><Message "
         "xmlns=\"http://mq.aliyuncs.com/doc/v1\"><MessageBody>&#128512;&#13;&#x41;</MessageBody></Message>",
         "😀\rA", NULL, NULL},
        {"\xef\xbb\xbf \n<Message>\n <MessageBody>x</MessageBody>\n <MessageTag/>\n "
         "<Properties></Properties>\n</Message>\n",
         "x", NULL, NULL},
        {"<m:Message xmlns:m='u'><m:MessageBody>p1 <![CDATA[<&>]]> p3<!-- no --> p4<?pi "
         "no?>!</m:MessageBody></m:Message>",
         "p1 <&> p3 p4!", NULL, NULL},
        {"<Message a='1'><Other><MessageBody>inner</MessageBody></Other><MessageBody>  "
         "outer\t</MessageBody><X/></Message>",
         "  outer\t", NULL, NULL},
        {"<Message><MessageBody>a\r\nb\rc&#xD;&#xA;d</MessageBody></Message>", "a\nb\nc\r\nd", NULL, NULL},
        {"<Message><MessageBody>\n</MessageBody></Message>", "\n", NULL, NULL},
        {"<Message><MessageBody>&#34;&#39;&lt;&gt;&quot;&apos;a]]&gt;b</MessageBody></Message>", "\"'<>\"'a]]>b", NULL,
         NULL},
        {"<Message><MessageBody><![CDATA[a]]]]><![CDATA[>b]]></MessageBody></Message>", "a]]>b", NULL, NULL},
        {"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Message><MessageBody>ä</MessageBody></Message>", "ä", NULL,
         NULL}, /* what HTTP's charset says wins */
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        xo_xml_send s;
        ck_assert_msg(read_send(&s, t[i].doc) == XONCE_OK, "case %zu: %s", i, xonce_error_last()->text);
        ck_assert_msg(!strcmp(s.body, t[i].body), "case %zu: %s", i, s.body);
        ck_assert_uint_eq(s.body_len, strlen(t[i].body));
        ck_assert_pstr_eq(s.tag, t[i].tag);
        ck_assert_pstr_eq(s.properties, t[i].properties);
        xo_xml_send_free(&s);
    }
}
END_TEST

START_TEST(send_schema)
{
    static const struct {
        const char *doc, *element;
    } t[] = {
        {"<Messages><MessageBody>x</MessageBody></Messages>", "Messages"},
        {"<Message/>", "MessageBody"},
        {"<Message><MessageBody/></Message>", "MessageBody"},
        {"<Message><MessageBody></MessageBody></Message>", "MessageBody"},
        {"<Message><MessageTag>t</MessageTag></Message>", "MessageBody"},
        {"<Message><MessageBody>a</MessageBody><MessageBody>b</MessageBody></Message>", "MessageBody"},
        {"<Message><MessageBody>a<b/></MessageBody></Message>", "MessageBody"},
        {"<Message><MessageBody>a</MessageBody><Properties><p>a:1</p></Properties></Message>", "Properties"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        xo_xml_send s;
        ck_assert_msg(read_send(&s, t[i].doc) == XONCE_E_PROTOCOL, "case %zu", i);
        ck_assert_str_eq(xonce_error_last()->text, t[i].element);
        ck_assert_ptr_null(s.body);
    }
}
END_TEST

START_TEST(malformed)
{
    static const char *const t[] = {
        "",
        " ",
        "x",
        "<",
        "<Message",
        "<Message>",
        "<Message><MessageBody>x</Message>",
        "<Message><MessageBody>x</MessageBody></Message><Message/>",
        "<Message><MessageBody>x</MessageBody></Message>rest",
        "<Message><MessageBody>a & b</MessageBody></Message>",
        "<Message><MessageBody>&nbsp;</MessageBody></Message>",
        "<Message><MessageBody>\x01</MessageBody></Message>",
        "<Message><MessageBody>&#1;</MessageBody></Message>",
        "<Message><MessageBody>&#xFFFE;</MessageBody></Message>",
        "<Message><MessageBody>&#xD800;</MessageBody></Message>",
        "<Message><MessageBody>&#0;</MessageBody></Message>",
        "<Message><MessageBody>&#x110000;</MessageBody></Message>",
        "<Message><MessageBody>\xff</MessageBody></Message>",
        "<Message><MessageBody>\xc3</MessageBody></Message>",
        "<Message><MessageBody>\xed\xa0\x80</MessageBody></Message>",
        "<Message><MessageBody><![CDATA[a]]>b]]></MessageBody></Message>",
        "<Message><MessageBody><![CDATA[a</MessageBody></Message>",
        "<Message><MessageBody>a]]>b</MessageBody></Message>",
        "<Message><MessageBody><!-- x</MessageBody></Message>",
        "<Message><MessageBody a=1>x</MessageBody></Message>",
        "<Message><MessageBody a='1' a='2'>x</MessageBody></Message>",
        "<Message><MessageBody>x</MessageBody></Message",
        "{\"json\":1}",
        "<?xml version=\"1.0\"?>",
        "HTTP/1.1 200 OK",
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        xo_xml_send s;
        ck_assert_msg(read_send(&s, t[i]) == XONCE_E_INVALID, "case %zu: %s", i, t[i]);
        ck_assert(xonce_error_last()->text[0]);
    }
    xo_xml_send s;
    ck_assert_int_eq(xo_xml_read_send(&s, "<Message><MessageBody>a\0b</MessageBody></Message>", 47), XONCE_E_INVALID);
    ck_assert(says("offset 23"));
    /* UTF-16 */
    ck_assert_int_eq(xo_xml_read_send(&s, "\xff\xfe<\0M\0/\0>\0", 10), XONCE_E_INVALID);
    ck_assert_int_eq(xo_xml_read_send(&s, "<\0M\0/\0>\0", 8), XONCE_E_INVALID);
}
END_TEST

START_TEST(bombs)
{
    static const char *const t[] = {
        "<!DOCTYPE Message [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c "
        "\"&b;&b;&b;&b;&b;&b;\">]><Message><MessageBody>&c;</MessageBody></Message>",
        "<?xml version='1.0'?><!DOCTYPE x SYSTEM "
        "\"file:///etc/passwd\"><Message><MessageBody>x</MessageBody></Message>",
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Message><MessageBody>&e;</MessageBody></Message>",
        "<!DOCTYPE x PUBLIC \"p\" \"http://127.0.0.1:1/x.dtd\"><Message><MessageBody>x</MessageBody></Message>",
        "<!DOCTYPE x [<!ENTITY % p SYSTEM \"http://127.0.0.1:1/\"> %p;]><Message/>",
        "<!-- c --><!DOCTYPE Message><Message><MessageBody>x</MessageBody></Message>",
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        xo_xml_send s;
        ck_assert_msg(read_send(&s, t[i]) == XONCE_E_INVALID, "case %zu", i);
        ck_assert_msg(says("document type"), "case %zu: %s", i, xonce_error_last()->text);
    }
}
END_TEST

/* open, then n times what, then close */
static char *repeat(const char *open, const char *what, size_t n, const char *close, size_t *len)
{
    size_t no = strlen(open), nw = strlen(what), nc = strlen(close);
    char *s = malloc(no + nw * n + nc + 1), *p = s;
    ck_assert_ptr_nonnull(s);
    memcpy(p, open, no);
    p += no;
    for (size_t i = 0; i < n; i++, p += nw)
        memcpy(p, what, nw);
    memcpy(p, close, nc + 1);
    *len = no + nw * n + nc;
    return s;
}

START_TEST(huge)
{
    xo_xml_send s;
    size_t n;
    clock_t begun = clock();
    /* 20 MB of text, of references, of CDATA sections: more than libxml2 takes by default */
    char *d = repeat("<Message><MessageBody>", "0123456789", 2000000, "</MessageBody></Message>", &n);
    ck_assert_msg(xo_xml_read_send(&s, d, n) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_uint_eq(s.body_len, 20000000);
    xo_xml_send_free(&s);
    free(d);
    d = repeat("<Message><MessageBody>", "&amp;", 4000000, "</MessageBody></Message>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_OK);
    ck_assert_uint_eq(s.body_len, 4000000);
    xo_xml_send_free(&s);
    free(d);
    d = repeat("<Message><MessageBody>", "<![CDATA[x]]>", 1000000, "</MessageBody></Message>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_OK);
    ck_assert_uint_eq(s.body_len, 1000000);
    xo_xml_send_free(&s);
    free(d);
    d = repeat("<Message><MessageBody><![CDATA[", "y", 20000000, "]]></MessageBody></Message>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_OK);
    ck_assert_uint_eq(s.body_len, 20000000);
    xo_xml_send_free(&s);
    free(d);
    /* deep, wide, and a tag with very many attributes */
    d = repeat("<Message>", "<a>", 1000, "", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_E_INVALID);
    ck_assert(says("deep"));
    free(d);
    d = repeat("<Message><MessageBody>x</MessageBody>", "<a/>", 50000, "</Message>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_OK);
    xo_xml_send_free(&s);
    free(d);
    d = repeat("<Message><MessageBody>x</MessageBody>", "<a/>", 1000000, "</Message>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_E_INVALID);
    ck_assert(says("bytes of tags"));
    free(d);
    d = repeat("<Message ", "a='' ", 1000000, "/>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_E_INVALID);
    ck_assert(says("tag is longer"));
    free(d);
    d = repeat("<Message x='>' ", "a='' ", 1000000, "/>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_E_INVALID);
    ck_assert(says("tag is longer"));
    free(d);
    /* the same tag behind what looks like the end of a comment and the start of a CDATA section, but is neither */
    d = repeat("<Message><!--><![CDATA[ --><b ", "a='' ", 1000000, "/>]]></Message>", &n);
    ck_assert_int_eq(xo_xml_read_send(&s, d, n), XONCE_E_INVALID);
    ck_assert(says("tag is longer"));
    free(d);
    ck_assert_int_lt((clock() - begun) / CLOCKS_PER_SEC, 60); /* of the processor's time: nothing is quadratic */
}
END_TEST

START_TEST(handles)
{
    char **list;
    size_t n;
    const char *d = "<ReceiptHandles xmlns='x'>\n<ReceiptHandle>a-b</ReceiptHandle> "
                    "<ReceiptHandle><![CDATA[c&d]]></ReceiptHandle><Else/><ReceiptHandle/></ReceiptHandles>";
    ck_assert_int_eq(xo_xml_read_handles(&list, &n, d, strlen(d)), XONCE_OK);
    ck_assert_uint_eq(n, 3);
    ck_assert_str_eq(list[0], "a-b");
    ck_assert_str_eq(list[1], "c&d");
    ck_assert_str_eq(list[2], "");
    xo_xml_handles_free(list, n);
    ck_assert_int_eq(xo_xml_read_handles(&list, &n, "<ReceiptHandles/>", 17), XONCE_OK);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(xo_xml_read_handles(&list, &n, "<Message/>", 10), XONCE_E_PROTOCOL);
    ck_assert_str_eq(xonce_error_last()->text, "Message");
    d = "<ReceiptHandles><ReceiptHandle>a</ReceiptHandle><ReceiptHandle>b</ReceiptHandles>";
    ck_assert_int_eq(xo_xml_read_handles(&list, &n, d, strlen(d)), XONCE_E_INVALID);
    ck_assert_ptr_null(list);
    const char *out[] = {"x<y", "z"};
    xo_buf b = {0};
    ck_assert_int_eq(xo_xml_write_handles(&b, out, 2), XONCE_OK);
    ck_assert_int_eq(xo_xml_read_handles(&list, &n, b.p, b.len), XONCE_OK);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(list[0], "x<y");
    xo_xml_handles_free(list, n);
    xo_buf_free(&b);
}
END_TEST

/* ---- the client's side ---- */

START_TEST(write_and_read_back)
{
    static const char *const bodies[] = {
        "a]]>b", "<&>\"'", "line\nline\r\nline\r", " \t ", "😀 中文 \xf4\x8f\xbf\xbf", "&amp;", "<![CDATA[x]]>", "x"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        xonce_message *m;
        xo_buf b = {0};
        xo_xml_send s;
        ck_assert_int_eq(xonce_message_new(&m, "t", NULL, bodies[i], strlen(bodies[i])), XONCE_OK);
        xonce_message_set_property(m, "TAGS", "标签 a&b*~\r");
        xonce_message_set_property(m, "k", "v\r\nw");
        ck_assert_int_eq(xo_xml_write_message(&b, m), XONCE_OK);
        ck_assert_msg(xo_xml_read_send(&s, b.p, b.len) == XONCE_OK, "%s", xonce_error_last()->text);
        ck_assert_str_eq(s.body, bodies[i]);
        ck_assert_str_eq(s.tag, "标签 a&b*~\r");
        ck_assert_str_eq(s.properties, "k:v\r\nw|");
        xo_xml_send_free(&s);
        xo_buf_free(&b);
        xonce_message_free(m);
    }
}
END_TEST

START_TEST(refused_before_sending)
{
    xonce_message *m;
    xo_buf b = {0};
    ck_assert_int_eq(xonce_message_new(&m, "t", NULL, "ab\x01", 3), XONCE_OK);
    ck_assert_int_eq(xo_xml_write_message(&b, m), XONCE_E_INVALID);
    ck_assert(says("0x01") && says("offset 2"));
    ck_assert_uint_eq(b.len, 0);
    xonce_message_free(m);
    xo_buf_free(&b);
}
END_TEST

#define MSG(id, body, rest)                                                                                            \
    "<Message><MessageId>" id "</MessageId><MessageBody>" body "</MessageBody><ReceiptHandle>" id                      \
    "-MQ==</ReceiptHandle><PublishTime>1571742900759</PublishTime>"                                                    \
    "<FirstConsumeTime>1571742902463</FirstConsumeTime><NextConsumeTime>1571742922463</"                               \
    "NextConsumeTime><ConsumedTimes>3</ConsumedTimes>" rest "</Message>"

START_TEST(messages)
{
    xonce_message *list;
    size_t n;
    const char *d =
        "<?xml version=\"1.0\" ?>\n<Messages xmlns=\"http://mq.aliyuncs.com/doc/v1\">\n"
        "<Message>\n  <MessageId>1E057D5E6EAD42A579937046FE170001</MessageId>\n  "
        "<MessageBodyMD5>0CC175B9C0F1B6A831C399E269772661</MessageBodyMD5>\n  <MessageBody>a</MessageBody>\n"
        "  "
        "<ReceiptHandle>1E057D5E6EAD42A579937046FE170001-MTIgMTU3MTc0MjkwMjQ2MyAyMDAwMCAwIDAgYnJva2VyLWEgMyA0Mg==</"
        "ReceiptHandle>\n  <PublishTime>1571742900759</PublishTime>\n"
        "  <FirstConsumeTime>1571742902463</FirstConsumeTime>\n  <NextConsumeTime> 1571742922463 </NextConsumeTime>\n  "
        "<ConsumedTimes>1</ConsumedTimes>\n  <MessageTag>Tag</MessageTag>\n"
        "  <Properties>KEYS:MessageKey|__BORNHOST:30.5.125.94|</Properties>\n</Message>\n" MSG(
            "ID2", "p1 <![CDATA[<&>]]>&#13;", "<New>x</New><MessageTag/>") "</Messages>";
    int64_t before = xo_mono_ms();
    ck_assert_msg(xo_xml_read_messages(&list, &n, "orders", d, strlen(d), 1571742902000) == XONCE_OK, "%s",
                  xonce_error_last()->text);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(xonce_message_id(list), "1E057D5E6EAD42A579937046FE170001");
    ck_assert_str_eq(xonce_message_topic(list), "orders");
    ck_assert_str_eq(xonce_message_tag(list), "Tag");
    ck_assert_str_eq(xonce_message_key(list), "MessageKey");
    ck_assert_str_eq(list->broker, "broker-a");
    ck_assert_int_eq(list->queue, 3);
    ck_assert_int_eq(list->offset, 42);
    ck_assert_str_eq(list->body_md5, "0CC175B9C0F1B6A831C399E269772661");
    ck_assert_int_eq(list->attempt, 1);
    ck_assert_int_eq(list->store_time, 1571742900759);
    /* 20463 ms after the start of the server's second, so 19464 to 20463 from now */
    ck_assert_int_ge(list->expires_mono - before, 19464);
    ck_assert_int_le(list->expires_mono - before, 20463 + 1000);
    xonce_message *second = list->next;
    ck_assert_str_eq(xonce_message_body(second, NULL), "p1 <&>\r");
    ck_assert_int_eq(second->attempt, 3);
    ck_assert_int_eq(second->queue, -1);
    ck_assert_str_eq(second->broker, "");
    ck_assert_str_eq(second->body_md5, "");
    ck_assert_str_eq(xonce_message_tag(second), "");
    ck_assert_ptr_null(second->next);
    xonce_message_free(list);
    xonce_message_free(second);
    ck_assert_int_eq(xo_xml_read_messages(&list, &n, "t", "<Messages/>", 11, -1), XONCE_OK);
    ck_assert_uint_eq(n, 0);
    ck_assert_ptr_null(list);
}
END_TEST

START_TEST(damaged_messages)
{
    static const struct {
        const char *doc, *word;
    } t[] = {
        {"<Messages>" MSG("A", "x", "") "<Message/></Messages>", "MessageId"},
        {"<Messages>" MSG("A", "x", "<MessageBodyMD5>0CC175B9C0F1B6A831C399E269772661</MessageBodyMD5>") "</Messages>",
         "MessageBodyMD5"},
        {"<Messages>" MSG("A", "x", "<MessageBody>y</MessageBody>") "</Messages>", "MessageBody"},
        {"<Messages>" MSG("", "x", "") "</Messages>", "MessageId"},
        {"<Messages><Message><MessageId>A</MessageId><MessageBody>x</MessageBody><ReceiptHandle>h</"
         "ReceiptHandle><NextConsumeTime>soon</NextConsumeTime><ConsumedTimes>1</ConsumedTimes></Message></Messages>",
         "NextConsumeTime"},
        {"<Messages><Message><MessageId>A</MessageId><MessageBody>x</MessageBody><ReceiptHandle>h</"
         "ReceiptHandle><NextConsumeTime>9</NextConsumeTime></Message></Messages>",
         "ConsumedTimes"},
        {"<Messages>" MSG("A", "x", ""), "well-formed"},
        {"<html><body>hello</body></html>", "html"},
        {"not XML", "0x6e"},
        {"", "empty"},
        {"<!DOCTYPE Messages><Messages/>", "document type"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        xonce_message *list;
        size_t n;
        ck_assert_msg(xo_xml_read_messages(&list, &n, "t", t[i].doc, strlen(t[i].doc), -1) == XONCE_E_PROTOCOL,
                      "case %zu", i);
        ck_assert_msg(says(t[i].word), "case %zu: %s", i, xonce_error_last()->text);
        ck_assert_int_eq(xonce_error_last()->again, 1);
        ck_assert_ptr_null(list);
        ck_assert_uint_eq(n, 0);
    }
}
END_TEST

START_TEST(answers)
{
    xo_xml_sent s;
    const char *d = "<?xml version=\"1.0\" ?>\n<Message xmlns=\"http://mq.aliyuncs.com/doc/v1\">\n  "
                    "<MessageId>1E057D566EAD42A579935B5CD8740001</MessageId>\n"
                    "  "
                    "<MessageBodyMD5>5D41402ABC4B2A76B9719D911017C592</MessageBodyMD5>\n<ReceiptHandle>H</"
                    "ReceiptHandle></Message>\n";
    ck_assert_int_eq(xo_xml_read_sent(&s, d, strlen(d)), XONCE_OK);
    ck_assert_str_eq(s.id, "1E057D566EAD42A579935B5CD8740001");
    ck_assert_str_eq(s.handle, "H");
    xo_xml_sent_free(&s);
    ck_assert_int_eq(xo_xml_read_sent(&s, "<Message><MessageId>1</MessageId></Message>", 43), XONCE_OK);
    ck_assert_str_eq(s.body_md5, "");
    ck_assert_ptr_null(s.handle);
    xo_xml_sent_free(&s);
    ck_assert_int_eq(xo_xml_read_sent(&s, "<Message/>", 10), XONCE_E_PROTOCOL);
    xo_xml_error e;
    d = "<?xml version=\"1.0\" ?><Error "
        "xmlns=\"http://mq.aliyuncs.com/doc/v1\"><Code>TopicNotExist</Code><Message>m</Message><RequestId>5D</"
        "RequestId></Error>";
    ck_assert_int_eq(xo_xml_read_error(&e, d, strlen(d)), XONCE_OK);
    ck_assert_str_eq(e.code, "TopicNotExist");
    ck_assert_str_eq(e.request_id, "5D");
    ck_assert_str_eq(e.host_id, "");
    xo_xml_error_free(&e);
    ck_assert_int_eq(xo_xml_read_error(&e, "<Errors/>", 9), XONCE_E_PROTOCOL);
    xo_xml_ack_error *list;
    size_t n;
    d = "<Errors><Error><ErrorCode>ReceiptHandleError</ErrorCode><ErrorMessage>m</ErrorMessage><ReceiptHandle>a</"
        "ReceiptHandle></Error>"
        "<Error><ErrorCode>MessageNotExist</ErrorCode><ReceiptHandle>b</ReceiptHandle></Error></Errors>";
    ck_assert_int_eq(xo_xml_read_ack_errors(&list, &n, d, strlen(d)), XONCE_OK);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(list[1].handle, "b");
    ck_assert_str_eq(list[1].message, "");
    xo_xml_ack_errors_free(list, n);
    ck_assert_int_eq(xo_xml_read_ack_errors(&list, &n, "<Errors/>", 9), XONCE_E_PROTOCOL);
}
END_TEST

static void *read_often(void *arg)
{
    for (int i = 0; i < 500; i++) {
        xo_xml_send s;
        if (read_send(&s, "<Message><MessageBody>x</MessageBody></Message>") != XONCE_OK)
            return arg;
        xo_xml_send_free(&s);
        if (read_send(&s, "<Message><MessageBody>x</Message>") != XONCE_E_INVALID || !says("line 1"))
            return arg;
    }
    return NULL;
}

START_TEST(threads)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, read_often, t), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("xml");
    TCase *c = tcase_create("xml");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, threads);
    tcase_add_test(c, send_forms);
    tcase_add_test(c, send_schema);
    tcase_add_test(c, malformed);
    tcase_add_test(c, bombs);
    tcase_add_test(c, huge);
    tcase_add_test(c, handles);
    tcase_add_test(c, write_and_read_back);
    tcase_add_test(c, refused_before_sending);
    tcase_add_test(c, messages);
    tcase_add_test(c, damaged_messages);
    tcase_add_test(c, answers);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
