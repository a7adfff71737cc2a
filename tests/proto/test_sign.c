/* Signature: the worked vectors of the protocol notes, headers, dates, Authorization, credentials. */
#include "base/mem.h"
#include "proto/properties.h"
#include "proto/sign.h"
#include "proto/xml.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATE "Tue, 24 Nov 2026 08:00:00 GMT"
#define SECRET "exampleSecret0123456789abcdef"

static void expect(const char *method, const char *target, const xo_header *h, size_t n, const char *string,
                   const char *signature)
{
    char *got, mac[29];
    ck_assert_int_eq(xo_string_to_sign(&got, method, target, h, n), XONCE_OK);
    ck_assert_str_eq(got, string);
    ck_assert_int_eq(xo_sign(mac, SECRET, got), XONCE_OK);
    ck_assert_str_eq(mac, signature);
    free(got);
}

START_TEST(worked)
{
    const xo_header v1[] = {{"date", DATE},
                            {"content-md5", "MGY1N2VjZDE3ZTYwNTU3YTgzNzk0MjhlODdhODRkMDU="},
                            {"Content-Type", "text/xml;charset=utf-8"},
                            {"X-Mq-Version", "2015-06-06"}};
    expect("POST", "/topics/demo_topic/messages?ns=MQ_INST_1_demo", v1, 4,
           "POST\nMGY1N2VjZDE3ZTYwNTU3YTgzNzk0MjhlODdhODRkMDU=\ntext/xml;charset=utf-8\n" DATE
           "\nx-mq-version:2015-06-06\n/topics/demo_topic/messages?ns=MQ_INST_1_demo",
           "G0d3BtLS7IV3+Qt0bbBBMYFoB2c=");
    const xo_header v2[] = {
        {"x-mq-version", "2015-06-06"}, {"Content-Type", "text/xml; charset=utf-8"}, {"Date", DATE}};
    expect("POST", "/topics/demo_topic/messages", v2, 3,
           "POST\n\ntext/xml; charset=utf-8\n" DATE "\nx-mq-version:2015-06-06\n/topics/demo_topic/messages",
           "B6yeeN4ebeXGM/T/vxZh4TofHus=");
    const xo_header v3[] = {
        {"Content-Type", "  text/xml;charset=utf-8\t"}, {"Date", " " DATE " "}, {"x-mq-version", " 2015-06-06"}};
    const char *t3 = "/topics/demo_topic/"
                     "messages?ns=MQ_INST_1_demo&consumer=GID_demo&numOfMessages=16&waitseconds=30&tag=TagA%7C%7CTagB";
    char *s3 = xo_printf("GET\n\ntext/xml;charset=utf-8\n" DATE "\nx-mq-version:2015-06-06\n%s", t3);
    expect("GET", t3, v3, 3, s3, "0rzC9S2yEACylEyb9GiGRZj74+Q=");
    free(s3);
    const xo_header v4[] = {{"Date", DATE}, {"x-mq-version", "2015-06-06"}};
    const char *t4 = "/topics/demo_topic/messages?consumer=GID_demo&numOfMessages=1";
    expect("GET", t4, v4, 2,
           "GET\n\n\n" DATE "\nx-mq-version:2015-06-06\n/topics/demo_topic/messages?consumer=GID_demo&numOfMessages=1",
           "tZ8cgaYyoeRZAJnCw5pkKXLx37g=");
    const xo_header v5[] = {{"Date", DATE}, {"Content-Type", "text/xml;charset=utf-8"}, {"x-mq-version", "2015-06-06"}};
    expect("DELETE", "/topics/demo_topic/messages?consumer=GID_demo&ns=MQ_INST_1_demo&trans=commit", v5, 3,
           "DELETE\n\ntext/xml;charset=utf-8\n" DATE
           "\nx-mq-version:2015-06-06\n/topics/demo_topic/messages?consumer=GID_demo&ns=MQ_INST_1_demo&trans=commit",
           "6C7gi/PsXu10680glN2M2bbgulw=");
    const xo_header v6[] = {{"x-mq-version", "2015-06-06"},
                            {"Date", DATE},
                            {"X-Mq-Abc", "1"},
                            {"content-type", "text/xml;charset=utf-8"},
                            {"x-other", "no"}};
    expect("GET", t4, v6, 5,
           "GET\n\ntext/xml;charset=utf-8\n" DATE
           "\nx-mq-abc:1\nx-mq-version:2015-06-06\n/topics/demo_topic/messages?consumer=GID_demo&numOfMessages=1",
           "nw+KsvPqTiXKbBYGyBeyR3iKQb8=");
}
END_TEST

START_TEST(first_request_body)
{
    /* the body of the first worked vector is what the client writes */
    xonce_message *m;
    xo_buf b = {0};
    ck_assert_int_eq(xonce_message_new(&m, "demo_topic", NULL, "hello", 5), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "KEYS", "k1"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "TAGS", "TagA"), XONCE_OK);
    ck_assert_int_eq(xonce_message_set_property(m, "a", "1"), XONCE_OK);
    ck_assert_int_eq(xo_xml_write_message(&b, m), XONCE_OK);
    ck_assert_str_eq(
        b.p, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message "
             "xmlns=\"http://mq.aliyuncs.com/doc/v1/\"><MessageBody>hello</MessageBody><MessageTag>TagA</MessageTag>"
             "<Properties>KEYS:k1|a:1|</Properties></Message>");
    ck_assert_uint_eq(b.len, 194);
    xo_buf_free(&b);
    xonce_message_free(m);
}
END_TEST

START_TEST(authorization)
{
    char id[32];
    const char *signature;
    ck_assert_int_eq(xo_parse_authorization("MQ LTAI:abc=", id, sizeof id, &signature), XONCE_OK);
    ck_assert_str_eq(id, "LTAI");
    ck_assert_str_eq(signature, "abc=");
    static const char *const bad[] = {"",
                                      "MQ",
                                      "MQ ",
                                      "MQ :x",
                                      "MQ a:",
                                      "MQ a",
                                      "mq a:b",
                                      "MQa:b",
                                      "Basic a:b",
                                      "MQ a b:c",
                                      "MQ a:b c",
                                      "MQ a:b\x01",
                                      "MQ a\xc3\xa4:b",
                                      "MQ 0123456789012345678901234567890123456789:b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(xo_parse_authorization(bad[i], id, sizeof id, &signature) == XONCE_E_INVALID, "%s", bad[i]);
        ck_assert_ptr_null(signature);
        ck_assert_str_eq(id, "");
    }
}
END_TEST

START_TEST(dates)
{
    char s[30];
    int64_t ms;
    xo_http_date(s, 1795507200000);
    ck_assert_str_eq(s, DATE);
    ck_assert_int_eq(xo_parse_http_date(DATE, &ms), XONCE_OK);
    ck_assert_int_eq(ms, 1795507200000);
    xo_http_date(s, 1795507200999);
    ck_assert_str_eq(s, DATE);
    for (int64_t t = 0; t < INT64_C(253402300800000); t += INT64_C(86400000) * 97 + 12345000) {
        xo_http_date(s, t);
        ck_assert_int_eq(xo_parse_http_date(s, &ms), XONCE_OK);
        ck_assert_int_eq(ms, t / 1000 * 1000);
    }
    ck_assert_int_eq(xo_parse_http_date("Thu, 29 Feb 2024 23:59:60 GMT", &ms), XONCE_OK);
    static const char *const bad[] = {"",
                                      "Tue, 24 Nov 2026 08:00:00",
                                      "Tue, 24 Nov 2026 08:00:00 UTC",
                                      "Tue, 24 Nov 2026 24:00:00 GMT",
                                      "Tue, 31 Nov 2026 08:00:00 GMT",
                                      "Xue, 24 Nov 2026 08:00:00 GMT",
                                      "Tue, 24 Nix 2026 08:00:00 GMT",
                                      "Tue, 24 Nov 2026 08:60:00 GMT",
                                      "Tue, 24 Nov 2026 08:00:61 GMT",
                                      "Tue, -4 Nov 2026 08:00:00 GMT",
                                      "Tue, 00 Nov 2026 08:00:00 GMT",
                                      "Thu, 29 Feb 2023 08:00:00 GMT",
                                      "Tue, 24 Nov 2026 08:00:00 GMTx",
                                      "Tuesday, 24-Nov-26 08:00:00 GMT",
                                      "2026-11-24T08:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(xo_parse_http_date(bad[i], &ms) == XONCE_E_INVALID, "%s", bad[i]);
        ck_assert_int_eq(ms, -1);
    }
}
END_TEST

static void clear_environment(void)
{
    unsetenv("ALIBABA_CLOUD_ACCESS_KEY_ID");
    unsetenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
    unsetenv("ALIBABA_CLOUD_SECURITY_TOKEN");
}

START_TEST(credentials_environment)
{
    xo_credentials c;
    clear_environment();
    ck_assert_int_eq(xo_credentials_load(&c, NULL), XONCE_E_AUTH);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"));
    setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "ID", 1);
    ck_assert_int_eq(xo_credentials_load(&c, NULL), XONCE_E_AUTH);
    setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s3cret", 1);
    ck_assert_int_eq(xo_credentials_load(&c, NULL), XONCE_OK);
    ck_assert_str_eq(c.access_key_id, "ID");
    ck_assert_str_eq(c.access_key_secret, "s3cret");
    ck_assert_ptr_null(c.security_token);
    xo_credentials_free(&c);
    setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "tok", 1);
    ck_assert_int_eq(xo_credentials_load(&c, NULL), XONCE_OK);
    ck_assert_str_eq(c.security_token, "tok");
    xo_credentials_free(&c);
    setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s3cret\n", 1);
    ck_assert_int_eq(xo_credentials_load(&c, NULL), XONCE_E_AUTH);
    ck_assert_ptr_null(strstr(xonce_error_last()->text, "s3cret"));
    clear_environment();
}
END_TEST

START_TEST(credentials_file)
{
    char path[] = "/tmp/xonce-credentials-XXXXXX";
    int fd = mkstemp(path);
    const char *text = "# a comment\n\nexport ALIBABA_CLOUD_ACCESS_KEY_ID=\"FILEID\"\r\n credentials.access-key-secret "
                       "= file=secret \nsecurity-token=t";
    ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
    xonce_config *cfg;
    xo_credentials c;
    clear_environment();
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "credentials.file", path), XONCE_OK);
    ck_assert_int_eq(xo_credentials_load(&c, cfg), XONCE_OK);
    ck_assert_str_eq(c.access_key_id, "FILEID");
    ck_assert_str_eq(c.access_key_secret, "file=secret");
    ck_assert_str_eq(c.security_token, "t");
    xo_credentials_free(&c);
    ck_assert_int_eq(xonce_config_set(cfg, "credentials.access-key-id", "CFG"), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "credentials.access-key-secret", "x"), XONCE_OK);
    ck_assert_int_eq(xo_credentials_load(&c, cfg), XONCE_OK);
    ck_assert_str_eq(c.access_key_id, "CFG");
    xo_credentials_free(&c);
    xonce_config_free(cfg);
    FILE *f = fopen(path, "w");
    fputs("access-key-id=A\nnonsense\n", f);
    fclose(f);
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "credentials.file", path), XONCE_OK);
    ck_assert_int_eq(xo_credentials_load(&c, cfg), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "line 2"));
    unlink(path);
    ck_assert_int_eq(xo_credentials_load(&c, cfg), XONCE_E_AUTH);
    xonce_config_free(cfg);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sign");
    TCase *c = tcase_create("sign");
    tcase_add_test(c, worked);
    tcase_add_test(c, first_request_body);
    tcase_add_test(c, authorization);
    tcase_add_test(c, dates);
    tcase_add_test(c, credentials_environment);
    tcase_add_test(c, credentials_file);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
