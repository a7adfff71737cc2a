/* base: errors, memory, buffers, clocks, text, URIs, failpoints. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(error_is_kept_and_prefixed)
{
    xo_error saved;
    ck_assert_int_eq(xo_fail_sql(XONCE_E_CONFLICT, XO_SQL_AGAIN, 1213, "40001", "deadlock on %s", "t"), XONCE_E_CONFLICT);
    ck_assert_int_eq(xonce_error_last()->again, 1);
    ck_assert_str_eq(xonce_error_last()->sqlstate, "40001");
    ck_assert_int_eq(xo_error_class(), XO_SQL_AGAIN);
    xo_error_save(&saved);
    xo_fail(XONCE_E_INVALID, "other");
    ck_assert_int_eq(xo_error_class(), XO_SQL_NONE);
    ck_assert_int_eq(xonce_error_last()->again, 0);
    ck_assert_int_eq(xo_error_restore(&saved), XONCE_E_CONFLICT);
    ck_assert_int_eq(xo_error_context("message %d", 7), XONCE_E_CONFLICT);
    ck_assert_str_eq(xonce_error_last()->text, "message 7: deadlock on t");
    ck_assert_int_eq(xonce_error_last()->native, 1213);
    xo_fail(XONCE_E_SQL, "again: %s", xonce_error_last()->text);
    ck_assert_str_eq(xonce_error_last()->text, "again: message 7: deadlock on t");
}
END_TEST

START_TEST(error_is_cut_on_a_character)
{
    char text[600];
    for (size_t i = 0; i + 1 < sizeof(text); i += 2) {
        memcpy(text + i, "\xc3\xa9", 2);
    }
    text[sizeof(text) - 1] = 0;
    for (int pad = 0; pad < 2; pad++) {
        xo_fail(XONCE_E_INVALID, "%s%s", pad ? "x" : "", text);
        size_t n = strlen(xonce_error_last()->text);
        ck_assert_uint_le(n, 511);
        ck_assert_uint_ge(n, 509);
        ck_assert(xo_utf8_valid(xonce_error_last()->text, n, NULL));
    }
    xo_error_context("%s", "long");
    ck_assert(xo_utf8_valid(xonce_error_last()->text, strlen(xonce_error_last()->text), NULL));
}
END_TEST

START_TEST(status_names_differ)
{
    for (int a = XONCE_OK; a <= XONCE_E_NOT_FOUND; a++) {
        for (int b = a + 1; b <= XONCE_E_NOT_FOUND; b++) {
            ck_assert_str_ne(xonce_status_name((xonce_status)a), xonce_status_name((xonce_status)b));
        }
    }
    ck_assert_str_eq(xonce_status_name(XONCE_E_CONFLICT), "conflict");
    ck_assert_str_eq(xonce_version(), XONCE_VERSION);
}
END_TEST

START_TEST(allocation_is_checked)
{
    size_t cap = 0;
    ck_assert_ptr_null(xo_calloc(SIZE_MAX / 2, 4));
    int *p = xo_grow(NULL, &cap, 3, sizeof(int));
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_ge(cap, 3);
    size_t before = cap;
    ck_assert_ptr_null(xo_grow(p, &cap, SIZE_MAX / 2, sizeof(int)));
    ck_assert_uint_eq(cap, before);
    free(p);
    ck_assert_ptr_null(xo_strdup(NULL));
    ck_assert_ptr_null(xo_memdup0("x", SIZE_MAX));
}
END_TEST

START_TEST(arena_gives_aligned_zeroed_memory)
{
    static const unsigned char zeros[3000];
    xo_arena a = {0};
    for (size_t n = 0; n < sizeof(zeros); n++) {
        unsigned char *p = xo_arena_alloc(&a, n);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
        ck_assert(memcmp(p, zeros, n) == 0);
        memset(p, 0xa5, n);
    }
    xo_arena_reset(&a);
    ck_assert_str_eq(xo_arena_dup(&a, "abcdef", 3), "abc");
    ck_assert_ptr_nonnull(xo_arena_alloc(&a, 1 << 20));
    ck_assert_ptr_null(xo_arena_alloc(&a, SIZE_MAX - 4));
    xo_arena_free(&a);
}
END_TEST

START_TEST(buffer_fails_once_and_for_all)
{
    xo_buf b = {.max = 5};
    xo_buf_str(&b, "1234");
    ck_assert_int_eq(xo_buf_status(&b), XONCE_OK);
    xo_buf_printf(&b, "%d", 56);
    xo_buf_char(&b, '7');
    ck_assert_int_eq(xo_buf_status(&b), XONCE_E_INVALID);
    ck_assert_ptr_null(xo_buf_take(&b));
    b.max = 0;
    char *empty = xo_buf_take(&b);
    ck_assert_str_eq(empty, "");
    free(empty);
}
END_TEST

START_TEST(json_text_is_valid)
{
    xo_buf b = {0};
    const char in[] = "a\"\\\n\x01\xc3\xa9\xff\xc3z";
    xo_buf_json(&b, in, sizeof(in) - 1);
    ck_assert_str_eq(b.p, "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbdz\"");
    xo_buf_free(&b);
}
END_TEST

START_TEST(durations)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"250ms", 250}, {"30s", 30000}, {"5m", 300000}, {"24h", 86400000}, {"4d", 345600000}, {"7", 7000}, {"0", 0}};
    int64_t ms;
    char text[32];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_int_eq(xo_parse_duration(good[i].text, "s", &ms), XONCE_OK);
        ck_assert_int_eq(ms, good[i].ms);
        xo_format_duration(ms, text, sizeof(text));
        int64_t again;
        ck_assert_int_eq(xo_parse_duration(text, "ms", &again), XONCE_OK);
        ck_assert_int_eq(again, ms);
    }
    static const char *const bad[] = {"", "-1s", "s", "1x", "1 s", "1.5s", "99999999999999999999s", "9223372036854775807d", "+1s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(xo_parse_duration(bad[i], "s", &ms), XONCE_E_INVALID);
    }
    xo_format_duration(345600000, text, sizeof(text));
    ck_assert_str_eq(text, "4d");
    xo_format_duration(1500, text, sizeof(text));
    ck_assert_str_eq(text, "1500ms");
    xo_format_time(INT64_C(1795507200123), text, sizeof(text));
    ck_assert_str_eq(text, "2026-11-24T08:00:00.123Z");
}
END_TEST

START_TEST(times)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"2026-11-24T08:00:00Z", INT64_C(1795507200000)},
                {"2026-11-24T08:00:00.123Z", INT64_C(1795507200123)},
                {"20261124080000", INT64_C(1795507200000)},
                {"2028-02-29T23:59:59Z", INT64_C(1835481599000)},
                {"20000229000000", INT64_C(951782400000)},
                {"1970-01-01T00:00:00Z", 0},
                {"1795507200123", INT64_C(1795507200123)},
                {"2026", 2026},
                {"0", 0}};
    static const char *const bad[] = {"", "x", "-1", "2h", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-11-31T00:00:00Z",
                                      "2026-11-32T00:00:00Z", "2026-11-00T00:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24T23:60:00Z", "2026-11-24T23:59:60Z", "1969-12-31T23:59:59Z",
                                      "2026-11-24T08:00:00", "2026-11-24 08:00:00Z", "2026-11-24T08:00:00Zx", "2026-11-24T08:00:00.1Z", "2026-11-24T08:00:00.", "2026-11-24T08:00Z",
                                      "2026-1-24T08:00:00Z", "20261324080000x", "20261324080000", "20261124250000", "9999999999999999999", "2026-11-24T-8:00:00Z"};
    int64_t ms;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(xo_parse_time(good[i].text, &ms) == XONCE_OK, "%s", good[i].text);
        ck_assert_int_eq(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(xo_parse_time(bad[i], &ms) == XONCE_E_INVALID, "%s", bad[i]);
    }
}
END_TEST

START_TEST(utf8_is_judged_strictly)
{
    size_t bad = 99;
    ck_assert(xo_utf8_valid("a\xc3\xa9\xf0\x9f\x98\x80", 7, NULL));
    ck_assert(!xo_utf8_valid("ab\xc0\x80", 4, &bad));
    ck_assert_uint_eq(bad, 2);
    ck_assert(!xo_utf8_valid("\xed\xa0\x80", 3, &bad));
    ck_assert(!xo_utf8_valid("\xf4\x90\x80\x80", 4, &bad));
    ck_assert(!xo_utf8_valid("x\xe2\x82", 3, &bad));
    ck_assert_uint_eq(bad, 1);
}
END_TEST

START_TEST(base64_and_percent_round_trip)
{
    unsigned char bytes[64];
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        size_t len = 99;
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (unsigned char)(i * 7 + n * 13);
        }
        char *text = xo_base64(bytes, n);
        unsigned char *back = xo_unbase64(text, strlen(text), &len);
        ck_assert_uint_eq(len, n);
        ck_assert_mem_eq(back, bytes, n);
        free(back);
        free(text);
    }
    size_t len;
    static const char *const bad[] = {"a", "ab=c", "====", "YQ=", "YR==", "Y\n==", "YW=="};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_ptr_null(xo_unbase64(bad[i], strlen(bad[i]), &len));
    }
    char *p = xo_percent("a b/\xc3\xa9~");
    ck_assert_str_eq(p, "a%20b%2F%C3%A9~");
    char *q = xo_unpercent(p, strlen(p), 0, &len);
    ck_assert_str_eq(q, "a b/\xc3\xa9~");
    free(p);
    free(q);
    ck_assert_ptr_null(xo_unpercent("a%2", 3, 0, &len));
    ck_assert_ptr_null(xo_unpercent("%zz", 3, 0, &len));
    q = xo_unpercent("%41", 3, 0, &len);
    ck_assert_str_eq(q, "A");
    free(q);
}
END_TEST

START_TEST(digests)
{
    unsigned char out[32];
    char hex[65];
    ck_assert_int_eq(xo_md5("a", 1, out), 0);
    xo_hex(hex, out, 16, 1);
    ck_assert_str_eq(hex, "0CC175B9C0F1B6A831C399E269772661");
    ck_assert_int_eq(xo_sha256("", 0, out), 0);
    xo_hex(hex, out, 32, 0);
    ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    ck_assert_int_eq(xo_hmac_sha1("key", 3, "The quick brown fox jumps over the lazy dog", 43, out), 0);
    xo_hex(hex, out, 20, 0);
    ck_assert_str_eq(hex, "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9");
    const xo_part parts[] = {{"The quick brown fox", 19}, {NULL, 0}, {" jumps over the lazy ", 21}, {"dog", 3}};
    ck_assert_int_eq(xo_hmac_sha1_parts("key", 3, parts, 4, out), 0);
    xo_hex(hex, out, 20, 0);
    ck_assert_str_eq(hex, "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9");
    ck_assert_int_eq(xo_hmac_sha1("", 0, "", 0, out), 0);
    xo_hex(hex, out, 20, 0);
    ck_assert_str_eq(hex, "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d");
    unsigned char key[80]; /* RFC 2202, cases 6 and 7 */
    memset(key, 0xaa, sizeof key);
    ck_assert_int_eq(xo_hmac_sha1(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, out), 0);
    xo_hex(hex, out, 20, 0);
    ck_assert_str_eq(hex, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    ck_assert_int_eq(xo_hmac_sha1(key, sizeof key, "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data", 73, out), 0);
    xo_hex(hex, out, 20, 0);
    ck_assert_str_eq(hex, "e8e99d0f45237d786d6bbaa7965c7808bbff1a91");
    ck_assert(xo_equal_secret("abc", "abc"));
    ck_assert(!xo_equal_secret("abc", "abd"));
    ck_assert(!xo_equal_secret("abc", "abcd"));
    ck_assert(!xo_equal_secret("abc", ""));
    ck_assert(!xo_equal_secret("", "a"));
}
END_TEST

START_TEST(near_words)
{
    static const char *const words[] = {"workers", "batch.max", NULL, "attempts"};
    ck_assert_str_eq(xo_nearest("worker", words, 4), "workers");
    ck_assert_str_eq(xo_nearest("atempts", words, 4), "attempts");
    ck_assert_str_eq(xo_nearest("btach.max", words, 4), "batch.max");
    ck_assert_str_eq(xo_nearest("batch", words, 4), "batch.max");
    ck_assert_ptr_null(xo_nearest("zebra", words, 4));
    ck_assert_ptr_null(xo_nearest("", words, 4));
}
END_TEST

START_TEST(uris_are_taken_apart)
{
    xo_uri u;
    ck_assert_int_eq(xo_uri_parse(&u, "MySQL://jo%40x:p%3a%2Fw@[::1]:3306/shop?socket=%2Ftmp%2Fs&x&a=b=c"), XONCE_OK);
    ck_assert_str_eq(u.scheme, "mysql");
    ck_assert_str_eq(u.user, "jo@x");
    ck_assert_str_eq(u.password, "p:/w");
    ck_assert_str_eq(u.host, "::1");
    ck_assert_int_eq(u.port, 3306);
    ck_assert_str_eq(u.path, "/shop");
    ck_assert_str_eq(xo_uri_query(&u, "socket"), "/tmp/s");
    ck_assert_str_eq(xo_uri_query(&u, "x"), "");
    ck_assert_str_eq(xo_uri_query(&u, "a"), "b=c");
    ck_assert_ptr_null(xo_uri_query(&u, "y"));
    xo_uri_free(&u);
    ck_assert_int_eq(xo_uri_parse(&u, "sqlite:shop.db?mode=ro"), XONCE_OK);
    ck_assert_str_eq(u.path, "shop.db");
    ck_assert_str_eq(u.host, "");
    ck_assert_ptr_null(u.password);
    xo_uri_free(&u);
    ck_assert_int_eq(xo_uri_parse(&u, "postgresql://u:a@b@h1:1,h2:2/db"), XONCE_OK);
    ck_assert_str_eq(u.password, "a@b");
    ck_assert_str_eq(u.host, "h1:1,h2:2");
    xo_uri_free(&u);
    ck_assert_int_eq(xo_uri_parse(&u, "http://127.0.0.1:8080"), XONCE_OK);
    ck_assert_str_eq(u.path, "");
    ck_assert_int_eq(u.port, 8080);
    xo_uri_free(&u);
}
END_TEST

START_TEST(bad_uris_are_refused_without_their_password)
{
    static const char *const bad[] = {"shop.db", "", "://x", "mysql://u:hunter2@h:99999/", "mysql://u:hunter2@h:x/", "mysql://u:hunter2%zz@h/", "mysql://u:hunter2@[::1/", "a:%00"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        xo_uri u;
        ck_assert_int_eq(xo_uri_parse(&u, bad[i]), XONCE_E_INVALID);
        ck_assert_ptr_null(strstr(xonce_error_last()->text, "hunter2"));
        ck_assert_ptr_null(u.scheme);
    }
}
END_TEST

START_TEST(masked_uris_hold_no_secret)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"mysql://u:hunter2@h:3306/db", "mysql://u:***@h:3306/db"},
        {"mysql://u@h/db", "mysql://u@h/db"},
        {"postgresql://h:5432/db?user=a@b", "postgresql://h:5432/db?user=a@b"},
        {"postgresql:///db?password=hunter2&host=/tmp", "postgresql:///db?password=***&host=/tmp"},
        {"postgresql:///db?pass%77ord=hunter2", "postgresql:///db?pass%77ord=***"},
        {"mysql://u:hun/ter2@h/db", "mysql://u:***@h/db"},
        {"mysql://u:hunter2@x@h/db", "mysql://u:***@h/db"},
        {"mysql://u:hun?ter2@h/db", "mysql://u:***@h/db"},
        {"http://h:80?SecretKey=hunter2", "http://h:80?SecretKey=***"},
        {"sqlite:/a@b.db", "sqlite:/a@b.db"},
        {"sqlite:a:b@c.db", "sqlite:a:b@c.db"},
        {"mysql:u:hunter2@h/db", "mysql:***@h/db"}, /* the slashes were forgotten */
        {"mysql:/u:hunter2@h//db", "mysql:***@h//db"},
        {"u:hunter2@h/db", "u:***@h/db"},
        {"mysql://u:hun?ter2@h/db?password=hunter2", "mysql://u:***@h/db?password=***"},
        {"postgresql://h1:1,h2:2/db?password=hun@ter2&x=y", "postgresql://h1:***"},
        {"sqlite:f?token=hunter2&of=http://u:hunter2@h", "sqlite:f?token=***&of=http://u:***@h"},
        {"http://h/?a-name-that-is-longer-than-any-one-that-a-human-would-give-password=hunter2",
         "http://h/?a-name-that-is-longer-than-any-one-that-a-human-would-give-password=***"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *m = xo_uri_mask(cases[i].in);
        ck_assert_str_eq(m, cases[i].out);
        free(m);
    }
}
END_TEST

START_TEST(failpoints_fire_when_told)
{
    ck_assert_int_eq(xo_failpoints_load("a=error@2;b=error@2+;c=delay:30ms"), XONCE_OK);
    ck_assert_int_eq(xo_failpoint("a"), XONCE_OK);
    ck_assert_int_eq(xo_failpoint("a"), XONCE_E_CONNECT);
    ck_assert_int_eq(xo_error_class(), XO_SQL_LOST);
    ck_assert_int_eq(xo_failpoint("a"), XONCE_OK);
    ck_assert_int_eq(xo_failpoint("b"), XONCE_OK);
    ck_assert_int_eq(xo_failpoint("b"), XONCE_E_CONNECT);
    ck_assert_int_eq(xo_failpoint("b"), XONCE_E_CONNECT);
    ck_assert_int_eq(xo_failpoint("other"), XONCE_OK);
    int64_t t = xo_mono_ms();
    ck_assert_int_eq(xo_failpoint("c"), XONCE_OK);
    ck_assert_int_ge(xo_mono_ms() - t, 29);
    static const char *const bad[] = {"a", "a=", "a=boom", "=crash", "a=crash@0", "a=crash@x", "a=error%101", "a=delay:x", "a=crash@3x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(xo_failpoints_load(bad[i]), XONCE_E_INVALID);
        ck_assert_int_ne(xo_failpoint("a"), XONCE_OK);
    }
    ck_assert_int_eq(xo_failpoints_load(""), XONCE_OK);
    ck_assert_int_eq(xo_failpoints_on, 0);
}
END_TEST

static char logged[2000];

static void keep_line(int level, const char *area, const char *text, void *arg)
{
    (void)arg;
    ck_assert_int_eq(level, XO_WARN);
    ck_assert_str_eq(area, "store");
    ck_assert_uint_lt(strlen(text), sizeof(logged));
    memcpy(logged, text, strlen(text) + 1);
}

START_TEST(log_lines_are_one_line)
{
    xo_log(XO_WARN, "store", "dropped");
    xonce_set_log(keep_line, NULL);
    xo_log(XO_WARN, "store", "two\nlines %d", 2);
    xonce_set_log(NULL, NULL);
    xo_log(XO_WARN, "store", "dropped");
    ck_assert_str_eq(logged, "two lines 2");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base");
    TCase *c = tcase_create("base");
    suite_add_tcase(s, c);
    tcase_add_test(c, error_is_kept_and_prefixed);
    tcase_add_test(c, error_is_cut_on_a_character);
    tcase_add_test(c, status_names_differ);
    tcase_add_test(c, allocation_is_checked);
    tcase_add_test(c, arena_gives_aligned_zeroed_memory);
    tcase_add_test(c, buffer_fails_once_and_for_all);
    tcase_add_test(c, json_text_is_valid);
    tcase_add_test(c, durations);
    tcase_add_test(c, times);
    tcase_add_test(c, utf8_is_judged_strictly);
    tcase_add_test(c, base64_and_percent_round_trip);
    tcase_add_test(c, digests);
    tcase_add_test(c, near_words);
    tcase_add_test(c, uris_are_taken_apart);
    tcase_add_test(c, bad_uris_are_refused_without_their_password);
    tcase_add_test(c, masked_uris_hold_no_secret);
    tcase_add_test(c, failpoints_fire_when_told);
    tcase_add_test(c, log_lines_are_one_line);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
