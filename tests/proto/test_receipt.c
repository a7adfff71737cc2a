/* Receipt handles: round trip, and everything that is not the known form gives nothing. */
#include "base/mem.h"
#include "base/text.h"
#include "proto/receipt.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(round_trip)
{
    char *h =
        xo_receipt_write("1E057D5E6EAD42A579937046FE170001", 1295, 1571742902463, 300000, "broker-a", 7, 123456789012);
    xo_receipt r;
    ck_assert_ptr_nonnull(h);
    ck_assert_int_eq(strncmp(h, "1E057D5E6EAD42A579937046FE170001-", 33), 0);
    ck_assert_int_eq(xo_receipt_read(&r, h), 1);
    ck_assert_str_eq(r.broker, "broker-a");
    ck_assert_int_eq(r.queue, 7);
    ck_assert_int_eq(r.offset, 123456789012);
    ck_assert_int_eq(r.pop_time, 1571742902463);
    ck_assert_int_eq(r.invisible_ms, 300000);
    free(h);
    h = xo_receipt_write("a-b-c", 0, 0, 0, "b", 0, 0);
    ck_assert_int_eq(xo_receipt_read(&r, h), 1);
    free(h);
}
END_TEST

START_TEST(unknown_forms)
{
    static const char *const inner[] = {"",
                                        "1 2 3 4 5 b 6",
                                        "1 2 3 4 5 b 6 7 8",
                                        "1 2 3 4 5  6 7",
                                        "1 2 3 4 5 b x 7",
                                        "1 2 3 4 5 b 6 -7",
                                        "1 2 3 4 5 b 2147483648 7",
                                        "1 2 3 4 5 b 6 99999999999999999999",
                                        "1 2 3 4 5 b 6 9223372036854775808",
                                        "1 2 3 4 5 \xff\xfe 6 7",
                                        "1795385571894 43 93e2697f91de"};
    xo_receipt r;
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        char *e = xo_base64(inner[i], strlen(inner[i])), *h = xo_printf("ID-%s", e);
        ck_assert_msg(xo_receipt_read(&r, h) == 0, "%s", inner[i]);
        ck_assert_str_eq(r.broker, "");
        ck_assert_int_eq(r.queue, -1);
        ck_assert_int_eq(r.offset, -1);
        free(h);
        free(e);
    }
    static const char *const handles[] = {"", "-", "ID-", "ID", "-MSAyIDM=", "ID-!!!!", "ID-MSAyIDM", "adfadfadf"};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        ck_assert_int_eq(xo_receipt_read(&r, handles[i]), 0);
    ck_assert_int_eq(xo_receipt_read(&r, NULL), 0);
    char longest[200], *h;
    memset(longest, 'b', 128);
    longest[128] = 0;
    h = xo_receipt_write("ID", 1, 2, 3, longest, 4, 5);
    ck_assert_int_eq(xo_receipt_read(&r, h), 0);
    free(h);
    longest[127] = 0;
    h = xo_receipt_write("ID", 1, 2, 3, longest, 4, 5);
    ck_assert_int_eq(xo_receipt_read(&r, h), 1);
    ck_assert_uint_eq(strlen(r.broker), 127);
    free(h);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("receipt");
    TCase *c = tcase_create("receipt");
    tcase_add_test(c, round_trip);
    tcase_add_test(c, unknown_forms);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
