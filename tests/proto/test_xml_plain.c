/* Plain XML is read by ourselves: that it means the same to libxml2, whatever is done to it, and that it is what we read. */
#include "base/mem.h"
#include "tests/proto/plain.h"
#include <check.h>
#include <stdlib.h>

static const char *const seeds[PLAIN_SHAPES] = {
    "<?xml version=\"1.0\" ?>\n<Messages xmlns=\"http://mq.aliyuncs.com/doc/v1\">\n<Message>\n  <MessageId>AB</MessageId>\n"
    " <MessageBody>{&quot;a&quot;: 1 ]]&gt; > \xc3\xa4 \xf0\x9f\x98\x80&#13;}</MessageBody>\n<ReceiptHandle>12</ReceiptHandle></Message>\n"
    "<Message></Message></Messages>\n",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Message xmlns=\"http://mq.aliyuncs.com/doc/v1/\"><MessageBody>a &amp; b</MessageBody>"
    "<MessageId>x\ty\n</MessageId></Message>",
    "<ReceiptHandles><ReceiptHandle>a-b</ReceiptHandle><ReceiptHandle>c&lt;</ReceiptHandle><ReceiptHandle></ReceiptHandle></ReceiptHandles>",
};

static const char *const pieces[] = {
    "&", ";", "<", ">", "]]>", "]]", "]", "&amp;", "&lt;", "&#13;", "&#xD;", "&apos;", "&#9;", "&x;", "\r", "\n", "\t", " ", "\x7f", "\x01",
    "\xc2\x80", "\xc3", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xef\xbf\xbf", "\xed\xa0\x80", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xc0\x80",
    "\xe2\x80\xa8", "</", "/>", "<Message>", "</Message>", "<MessageId>", "</MessageId>", "<MessageBody>x</MessageBody>", "<!-- -->",
    "<![CDATA[x]]>", "\xef\xbb\xbf", "<?xml version=\"1.0\"?>", "<!DOCTYPE Message>", "\"", "<X/>", " a=\"1\"", "<ReceiptHandle>",
    "</ReceiptHandle>", "", /* "": a zero byte */
};

static unsigned below(unsigned *state, size_t n)
{
    *state = *state * 1103515245u + 12345u;
    return (*state >> 8) % (unsigned)n;
}

/* Cuts something out, or puts something in. */
static size_t change(char *doc, size_t n, unsigned *state)
{
    size_t at = below(state, n + 1), len = 1 + below(state, 6);
    switch (below(state, 3)) {
    case 0:
        len = len < n - at ? len : n - at;
        memmove(doc + at, doc + at + len, n - at - len);
        return n - len;
    case 1:
        if (at < n)
            doc[at] = (char)below(state, 256);
        return n;
    default: {
        const char *p = pieces[below(state, sizeof pieces / sizeof *pieces)];
        len = *p ? strlen(p) : 1;
        memmove(doc + at + len, doc + at, n - at);
        memcpy(doc + at, p, len);
        return n + len;
    }
    }
}

START_TEST(as_libxml2)
{
    unsigned state = 7;
    int plain = 0, other = 0;
    for (int i = 0; i < 60000; i++) {
        char doc[2048];
        int k = i % PLAIN_SHAPES;
        size_t n = strlen(seeds[k]);
        memcpy(doc, seeds[k], n);
        for (unsigned m = below(&state, 4); m; m--)
            n = change(doc, n, &state);
        char *exact = xo_memdup0(doc, n); /* its NUL is where a reader beyond the end is found out */
        int is = plain_compare(&plain_shapes[k], exact, n);
        ck_assert_msg(is >= 0, "read otherwise than by libxml2: %.*s", (int)n, doc);
        plain += is;
        other += !is;
        free(exact);
    }
    ck_assert_int_gt(plain, 10000);
    ck_assert_int_gt(other, 10000);
}
END_TEST

START_TEST(what_is_written_is_plain)
{
    for (int k = 0; k < PLAIN_SHAPES; k++)
        ck_assert_int_eq(plain_compare(&plain_shapes[k], seeds[k], strlen(seeds[k])), 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("xml_plain");
    TCase *c = tcase_create("xml_plain");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, as_libxml2);
    tcase_add_test(c, what_is_written_is_plain);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
