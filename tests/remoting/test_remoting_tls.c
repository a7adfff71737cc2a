/* TLS to brokers: whom we believe, whom not, and data both ways. */
#include "base/clock.h"
#include "remoting/remoting.h"
#include "tests/remoting/peer.h"
#include <check.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- certificates ---- */

typedef struct {
    EVP_PKEY *key;
    X509 *cert;
} identity;

static char dir[] = "/tmp/xonce-tls-XXXXXX";
static identity ca, other_ca, server, stranger, client, expired;

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
    ck_assert(c && EVP_PKEY_keygen_init(c) == 1 && EVP_PKEY_CTX_set_ec_paramgen_curve_nid(c, NID_X9_62_prime256v1) == 1 && EVP_PKEY_keygen(c, &key) == 1);
    EVP_PKEY_CTX_free(c);
    return key;
}

static void extend(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    ck_assert(e && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

/* names: "DNS:localhost,IP:127.0.0.1"; NULL: an authority. */
static identity issue(const identity *by, const char *name, const char *names, long seconds)
{
    static long serial = 1;
    identity i = {new_key(), X509_new()};
    ck_assert(i.cert && X509_set_version(i.cert, 2) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(i.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(i.cert), -86400);
    X509_gmtime_adj(X509_getm_notAfter(i.cert), seconds);
    X509_NAME *n = X509_get_subject_name(i.cert);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(i.cert, by ? X509_get_subject_name(by->cert) : n);
    X509_set_pubkey(i.cert, i.key);
    extend(i.cert, NID_basic_constraints, names ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (names) {
        extend(i.cert, NID_subject_alt_name, names);
    }
    ck_assert(X509_sign(i.cert, by ? by->key : i.key, EVP_sha256()) > 0);
    return i;
}

static const char *path_of(const char *name)
{
    static char paths[4][200];
    static int at;
    char *p = paths[at++ % 4];
    (void)snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
    return p;
}

static void write_pem(const identity *i, const char *cert, const char *key, const char *passphrase)
{
    FILE *f = fopen(path_of(cert), "we");
    ck_assert(f && PEM_write_X509(f, i->cert) == 1);
    (void)fclose(f);
    if (key) {
        f = fopen(path_of(key), "we");
        ck_assert(f && PEM_write_PrivateKey(f, i->key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL, (void *)(uintptr_t)passphrase) == 1);
        (void)fclose(f);
    }
}

static SSL_CTX *server_context(const identity *i, const identity *demand)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    ck_assert(c && SSL_CTX_use_certificate(c, i->cert) == 1 && SSL_CTX_use_PrivateKey(c, i->key) == 1);
    if (demand) {
        ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(c), demand->cert), 1);
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return c;
}

static void make_all(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ca = issue(NULL, "test authority", NULL, 86400);
    other_ca = issue(NULL, "another authority", NULL, 86400);
    server = issue(&ca, "broker", "DNS:localhost,IP:127.0.0.1", 86400);
    stranger = issue(&ca, "stranger", "DNS:other.example,IP:127.0.0.9", 86400);
    expired = issue(&ca, "broker", "DNS:localhost,IP:127.0.0.1", -3600);
    client = issue(&ca, "client", "DNS:client", 86400);
    write_pem(&ca, "ca.pem", NULL, NULL);
    write_pem(&other_ca, "other.pem", NULL, NULL);
    write_pem(&client, "client.pem", "client.key", NULL);
    write_pem(&client, "client.pem", "locked.key", "secret");
    write_pem(&server, "server.pem", "server.key", NULL);
}

static void remove_all(void)
{
    static const char *const files[] = {"ca.pem", "other.pem", "client.pem", "client.key", "locked.key", "server.pem", "server.key"};
    identity *all[] = {&ca, &other_ca, &server, &stranger, &client, &expired};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        (void)unlink(path_of(files[i]));
    }
    (void)rmdir(dir);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        X509_free(all[i]->cert);
        EVP_PKEY_free(all[i]->key);
    }
}

/* ---- */

static peer p;
static xo_remoting *r;

static xonce_status open_with(const char *const *settings)
{
    xonce_config *cfg;
    ck_assert_int_eq(xonce_config_new(&cfg), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(cfg, "rocketmq.connect-timeout", "5s"), XONCE_OK);
    for (; settings && *settings; settings += 2) {
        ck_assert_int_eq(xonce_config_set(cfg, settings[0], settings[1]), XONCE_OK);
    }
    xonce_status st = xo_remoting_open(&r, cfg, NULL, NULL);
    xonce_config_free(cfg);
    return st;
}

static xonce_status call_at(const char *address, const char *body, size_t n, int64_t timeout)
{
    xo_command c, a;
    xo_command_init(&c, 1);
    c.body = body;
    c.body_len = n;
    xonce_status st = xo_remoting_call(r, address, &c, timeout, &a);
    if (!st) {
        ck_assert_uint_eq(a.body_len, n);
        ck_assert(n == 0 || memcmp(a.body, body, n) == 0);
    }
    xo_command_free(&a);
    return st;
}

/* How a call ends at a server of this identity, with these settings. */
static xonce_status try_it(const identity *i, const identity *demand, int by_name, const char *const *settings)
{
    SSL_CTX *ctx = server_context(i, demand);
    char address[60];
    peer_start(&p, ctx, 0);
    ck_assert_msg(open_with(settings) == XONCE_OK, "%s", xonce_error_last()->text);
    (void)snprintf(address, sizeof(address), "%s:%d", by_name ? "localhost" : "127.0.0.1", p.port);
    xonce_status st = call_at(address, "hello", 5, 30000);
    xo_error why;
    xo_error_save(&why);
    xo_remoting_close(r);
    peer_stop(&p);
    SSL_CTX_free(ctx);
    return st ? xo_error_restore(&why) : XONCE_OK;
}

START_TEST(whom_we_believe)
{
    const char *const with_ca[] = {"tls", "on", "tls.ca", path_of("ca.pem"), NULL};
    ck_assert_msg(try_it(&server, NULL, 1, with_ca) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_msg(try_it(&server, NULL, 0, with_ca) == XONCE_OK, "%s", xonce_error_last()->text);
    ck_assert_int_eq(try_it(&stranger, NULL, 1, with_ca), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "certificate is refused") && strstr(xonce_error_last()->text, "ostname"), "%s", xonce_error_last()->text);
    ck_assert_int_eq(try_it(&stranger, NULL, 0, with_ca), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "IP address"), "%s", xonce_error_last()->text);
    ck_assert_int_eq(try_it(&expired, NULL, 1, with_ca), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "expired"), "%s", xonce_error_last()->text);
    const char *const with_other[] = {"tls", "on", "tls.ca", path_of("other.pem"), NULL};
    ck_assert_int_eq(try_it(&server, NULL, 1, with_other), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "certificate is refused"), "%s", xonce_error_last()->text);
    const char *const with_none[] = {"tls", "on", NULL};
    ck_assert_int_eq(try_it(&server, NULL, 1, with_none), XONCE_E_CONNECT);
    const char *const unchecked[] = {"tls", "on", "tls.verify", "off", NULL};
    ck_assert_int_eq(try_it(&server, NULL, 1, unchecked), XONCE_OK);
    ck_assert_int_eq(try_it(&expired, NULL, 0, unchecked), XONCE_OK);
}
END_TEST

START_TEST(who_we_are)
{
    const char *const without[] = {"tls", "on", "tls.ca", path_of("ca.pem"), NULL};
    ck_assert_int_eq(try_it(&server, &ca, 1, without), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "tls"), "%s", xonce_error_last()->text);
    const char *const with[] = {"tls", "on", "tls.ca", path_of("ca.pem"), "tls.cert", path_of("client.pem"), "tls.key", path_of("client.key"), NULL};
    ck_assert_msg(try_it(&server, &ca, 1, with) == XONCE_OK, "%s", xonce_error_last()->text);
}
END_TEST

START_TEST(wrong_settings)
{
    const struct {
        const char *settings[9];
        const char *says;
    } bad[] = {
        {{"tls", "on", "tls.ca", "/nowhere/ca.pem"}, "tls.ca: the file /nowhere/ca.pem cannot be read"},
        {{"tls", "on", "tls.ca", path_of("server.key")}, "tls.ca"},
        {{"tls", "on", "tls.verify", "off", "tls.cert", path_of("client.pem")}, "tls.cert is set without tls.key"},
        {{"tls", "on", "tls.verify", "off", "tls.key", "x"}, "tls.key is set without tls.cert"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(open_with(bad[i].settings), XONCE_E_INVALID);
        ck_assert_msg(strstr(xonce_error_last()->text, bad[i].says) != NULL, "%s", xonce_error_last()->text);
    }
    const char *const swapped[] = {"tls", "on", "tls.verify", "off", "tls.cert", path_of("client.pem"), "tls.key", path_of("server.key"), NULL};
    ck_assert_int_eq(open_with(swapped), XONCE_E_INVALID);
    /* a passphrase is not asked for at the terminal */
    const char *const locked[] = {"tls", "on", "tls.verify", "off", "tls.cert", path_of("client.pem"), "tls.key", path_of("locked.key"), NULL};
    ck_assert_int_eq(open_with(locked), XONCE_E_INVALID);
    ck_assert(strstr(xonce_error_last()->text, "passphrase"));
    const char *const off[] = {"tls", "off", "tls.ca", "/nowhere", NULL};
    ck_assert_int_eq(open_with(off), XONCE_OK);
    xo_remoting_close(r);
}
END_TEST

START_TEST(one_side_only)
{
    /* TLS to a plain server: it waits for a frame as long as the handshake says */
    const char *const on[] = {"tls", "on", "tls.verify", "off", NULL};
    peer_start(&p, NULL, 0);
    ck_assert_int_eq(open_with(on), XONCE_OK);
    ck_assert_int_eq(call_at(p.address, "x", 1, 30000), XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "TLS"), "%s", xonce_error_last()->text);
    xo_remoting_close(r);
    peer_stop(&p);
    /* plain to a TLS server: it answers with an alert, or closes */
    SSL_CTX *ctx = server_context(&server, NULL);
    peer_start(&p, ctx, 0);
    ck_assert_int_eq(open_with(NULL), XONCE_OK);
    xonce_status st = call_at(p.address, "x", 1, 30000);
    ck_assert(st == XONCE_E_PROTOCOL || st == XONCE_E_CONNECT);
    ck_assert_msg(strstr(xonce_error_last()->text, "tls"), "%s", xonce_error_last()->text);
    xo_remoting_close(r);
    peer_stop(&p);
    SSL_CTX_free(ctx);
}
END_TEST

static void *hammer(void *arg)
{
    size_t n = (size_t)(uintptr_t)arg;
    char *body = malloc(n);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < n; i++) {
        body[i] = (char)(i * n >> 3);
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_msg(call_at(p.address, body, n, 30000) == XONCE_OK, "%s", xonce_error_last()->text);
    }
    free(body);
    return NULL;
}

START_TEST(data_both_ways)
{
    const char *const with_ca[] = {"tls", "on", "tls.ca", path_of("ca.pem"), NULL};
    SSL_CTX *ctx = server_context(&server, NULL);
    pthread_t threads[12];
    peer_start(&p, ctx, 0);
    ck_assert_int_eq(open_with(with_ca), XONCE_OK);
    hammer((void *)(uintptr_t)(8 << 20)); /* alone: nothing that comes in wakes the writer */
    for (size_t i = 0; i < 12; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, (void *)(uintptr_t)((size_t)1 << (i * 2 > 21 ? 21 : i * 2))), 0);
    }
    for (size_t i = 0; i < 12; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(peer_connections(&p), 1);
    peer_cut(&p); /* no SIGPIPE, and a new connection */
    for (int64_t until = xo_mono_ms() + 60000; call_at(p.address, "again", 5, 30000) != XONCE_OK; xo_pause_ms(5)) {
        ck_assert(xo_mono_ms() < until);
    }
    xo_remoting_close(r);
    peer_stop(&p);
    SSL_CTX_free(ctx);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tls");
    TCase *t = tcase_create("tls");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, make_all, remove_all);
    tcase_add_test(t, whom_we_believe);
    tcase_add_test(t, who_we_are);
    tcase_add_test(t, wrong_settings);
    tcase_add_test(t, one_side_only);
    tcase_add_test(t, data_both_ways);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
