/* The recorded requests of four official clients: StringToSign, signature, and every form of XML they send. */
#include "base/mem.h"
#include "base/text.h"
#include "proto/properties.h"
#include "proto/sign.h"
#include "proto/xml.h"
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static json_t *vectors;

static const char *text(const json_t *v, const char *key)
{
    const char *s = json_string_value(json_object_get(v, key));
    ck_assert_msg(s != NULL, "vector without %s", key);
    return s;
}

static size_t headers(const json_t *v, xo_header *h, size_t max)
{
    const json_t *list = json_object_get(v, "headers");
    size_t n = json_array_size(list);
    ck_assert(n <= max);
    for (size_t i = 0; i < n; i++) {
        h[i].name = json_string_value(json_array_get(json_array_get(list, i), 0));
        h[i].value = json_string_value(json_array_get(json_array_get(list, i), 1));
    }
    return n;
}

static const char *header(const xo_header *h, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(h[i].name, name))
            return h[i].value;
    return NULL;
}

START_TEST(signatures)
{
    size_t verified = 0, refused = 0;
    ck_assert_uint_eq(json_array_size(vectors), 128);
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        xo_header h[32];
        size_t n = headers(v, h, 32);
        char *string, mac[29], id[64];
        const char *signature;
        ck_assert_int_eq(xo_string_to_sign(&string, text(v, "method"), text(v, "path"), h, n), XONCE_OK);
        ck_assert_msg(!strcmp(string, text(v, "canonical_string")), "%s: %s", text(v, "name"), string);
        ck_assert_int_eq(xo_sign(mac, text(v, "secret"), string), XONCE_OK);
        ck_assert_str_eq(mac, text(v, "expected_signature"));
        ck_assert_int_eq(xo_parse_authorization(header(h, n, "authorization"), id, sizeof id, &signature), XONCE_OK);
        ck_assert_str_eq(id, text(v, "access_key_id"));
        ck_assert_str_eq(signature, text(v, "signature"));
        int same = xo_equal_secret(mac, signature);
        ck_assert_int_eq(same, json_is_true(json_object_get(v, "verifies")));
        if (same)
            verified++;
        else
            refused++;
        free(string);
    }
    ck_assert_uint_eq(verified, 121);
    ck_assert_uint_eq(refused, 7);
}
END_TEST

static void check_content_md5(const json_t *v, const xo_header *h, size_t n, const unsigned char *body, size_t len)
{
    const char *sent = header(h, n, "content-md5");
    unsigned char digest[16];
    char hex[33];
    if (!sent)
        return;
    ck_assert_int_eq(xo_md5(body, len, digest), 0);
    xo_hex(hex, digest, 16, 0);
    char *encoded = xo_base64(hex, 32);
    ck_assert_msg(!strcmp(encoded, sent), "%s: Content-MD5", text(v, "name"));
    free(encoded);
}

START_TEST(bodies)
{
    size_t sends = 0, handles_seen = 0, malformed = 0;
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *v = json_array_get(vectors, i);
        const char *encoded = text(v, "body_base64"), *name = text(v, "name");
        size_t n = 0;
        unsigned char *body = xo_unbase64(encoded, strlen(encoded), &n);
        ck_assert_ptr_nonnull(body);
        xo_header h[32];
        check_content_md5(v, h, headers(v, h, 32), body, n);
        if (!strcmp(text(v, "method"), "POST")) {
            xo_xml_send s;
            xonce_status st = xo_xml_read_send(&s, (const char *)body, n);
            /* what the clients' own faults make: control characters sent raw or as a reference, and Node's ]]> */
            if (st == XONCE_E_INVALID)
                malformed++;
            else if (st == XONCE_E_PROTOCOL)
                ck_assert_str_eq(xonce_error_last()->text, "MessageBody");
            else {
                ck_assert_msg(st == XONCE_OK, "%s: %s", name, xonce_error_last()->text);
                ck_assert_uint_eq(strlen(s.body), s.body_len);
                xonce_message *m;
                ck_assert_int_eq(xonce_message_new(&m, "t", NULL, s.body, s.body_len), XONCE_OK);
                if (s.properties)
                    ck_assert_int_eq(xo_properties_read(m, s.properties, strlen(s.properties)), XONCE_OK);
                xonce_message_free(m);
                sends++;
            }
            xo_xml_send_free(&s);
        } else if (!strcmp(text(v, "method"), "DELETE")) {
            char **list;
            size_t count;
            ck_assert_msg(xo_xml_read_handles(&list, &count, (const char *)body, n) == XONCE_OK, "%s: %s", name,
                          xonce_error_last()->text);
            handles_seen += count;
            xo_xml_handles_free(list, count);
        } else {
            ck_assert_uint_eq(n, 0);
        }
        free(body);
    }
    printf("# %zu sends, %zu handles, %zu malformed by their client\n", sends, handles_seen, malformed);
    ck_assert_uint_gt(sends, 40);
    ck_assert_uint_gt(handles_seen, 20);
}
END_TEST

int main(void)
{
    const char *top = getenv("TOP_SRCDIR");
    char *path = xo_printf("%s/tests/proto/http-vectors.json", top ? top : ".");
    json_error_t e;
    vectors = json_load_file(path, 0, &e);
    if (!vectors)
        printf("Bail out! %s: %s\n", path, e.text);
    free(path);
    if (!vectors)
        return 1;
    Suite *s = suite_create("vectors");
    TCase *c = tcase_create("vectors");
    tcase_add_test(c, signatures);
    tcase_add_test(c, bodies);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    json_decref(vectors);
    return failed != 0;
}
