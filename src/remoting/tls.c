/* TLS over a connection's socket, which never blocks. */
#include "base/config.h"
#include "base/mem.h"
#include "remoting/io.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Why OpenSSL refused; empties its queue. */
static const char *reason(char *out, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    if (text) {
        (void)snprintf(out, size, "%s", text);
    } else if (code) {
        ERR_error_string_n(code, out, size);
    } else {
        (void)snprintf(out, size, "no reason given");
    }
    ERR_clear_error();
    return out;
}

/* ---- the context ---- */

/* A key with a passphrase would make OpenSSL ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static xonce_status refuse(const char *key, const char *path, const char *what)
{
    char why[200];
    return xo_fail(XONCE_E_INVALID, "%s: %.200s: %s (%s)", key, path, what, reason(why, sizeof(why)));
}

static xonce_status readable(const char *key, const char *path)
{
    return access(path, R_OK) ? xo_fail(XONCE_E_INVALID, "%s: the file %.200s cannot be read: %s", key, path, strerror(errno)) : XONCE_OK;
}

static xonce_status own_certificate(SSL_CTX *ctx, const char *cert, const char *key)
{
    if (!cert && !key) {
        return XONCE_OK;
    }
    if (!cert || !key) {
        return xo_fail(XONCE_E_INVALID, "%s is set without %s: a certificate of ours needs both", cert ? "tls.cert" : "tls.key", cert ? "tls.key" : "tls.cert");
    }
    if (readable("tls.cert", cert) || readable("tls.key", key)) {
        return XONCE_E_INVALID;
    }
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
        return refuse("tls.cert", cert, "no certificate in PEM form");
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        return refuse("tls.key", key, "no private key in PEM form without a passphrase, or not of this certificate");
    }
    return SSL_CTX_check_private_key(ctx) == 1 ? XONCE_OK : refuse("tls.key", key, "it is not the key of tls.cert");
}

static xonce_status authorities(SSL_CTX *ctx, const char *ca)
{
    if (!ca) {
        if (SSL_CTX_set_default_verify_paths(ctx) == 1) {
            return XONCE_OK;
        }
        char why[200];
        return xo_fail(XONCE_E_INVALID, "the certificates of the system cannot be used (%s); name a file with tls.ca", reason(why, sizeof(why)));
    }
    if (readable("tls.ca", ca)) {
        return XONCE_E_INVALID;
    }
    return SSL_CTX_load_verify_locations(ctx, ca, NULL) == 1 ? XONCE_OK : refuse("tls.ca", ca, "no certificates in PEM form");
}

static const char *set_text(const xonce_config *cfg, const char *key)
{
    const char *text = xo_config_text(cfg, key);
    return text && *text ? text : NULL;
}

xonce_status xo_tls_open(xo_remoting *r, const xonce_config *cfg)
{
    char why[200];
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx) {
        return xo_fail(XONCE_E_NOMEM, "TLS cannot be set up (%s)", reason(why, sizeof(why)));
    }
    r->tls = ctx;
    r->tls_verify = xo_config_int(cfg, "tls.verify") != 0;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(ctx, r->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    xonce_status st = r->tls_verify ? authorities(ctx, set_text(cfg, "tls.ca")) : XONCE_OK;
    return st ? st : own_certificate(ctx, set_text(cfg, "tls.cert"), set_text(cfg, "tls.key"));
}

void xo_tls_close(xo_remoting *r)
{
    SSL_CTX_free(r->tls);
    r->tls = NULL;
}

/* ---- a connection ---- */

xonce_status xo_tls_start(xo_conn *c)
{
    unsigned char ip[16];
    char why[200];
    int numeric = inet_pton(AF_INET, c->host, ip) == 1 || inet_pton(AF_INET6, c->host, ip) == 1;
    ERR_clear_error();
    SSL *ssl = SSL_new(c->r->tls);
    c->ssl = ssl;
    int ok = ssl && SSL_set_fd(ssl, c->fd) == 1;
    if (ok && !numeric) {
        ok = SSL_set_tlsext_host_name(ssl, c->host) == 1;
    }
    if (ok && c->r->tls_verify) {
        X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
        X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = numeric ? X509_VERIFY_PARAM_set1_ip_asc(p, c->host) == 1 : X509_VERIFY_PARAM_set1_host(p, c->host, 0) == 1;
    }
    if (!ok) {
        return xo_fail(XONCE_E_NOMEM, "%s: TLS cannot be started (%s)", c->address, reason(why, sizeof(why)));
    }
    SSL_set_connect_state(ssl);
    return XONCE_OK;
}

/* The error of an operation that failed with rc. what: "the TLS handshake". */
static void failed(xo_conn *c, const char *what, int kind, int error)
{
    char why[200];
    long verdict = SSL_get_verify_result(c->ssl);
    if (c->r->tls_verify && verdict != X509_V_OK) {
        ERR_clear_error();
        (void)xo_fail(XONCE_E_CONNECT, "%s: its certificate is refused (%s); name its CA with tls.ca, and use the host name it was made for", c->address,
                      X509_verify_cert_error_string(verdict));
    } else if (kind == SSL_ERROR_SYSCALL && ERR_peek_error() == 0) {
        const char *hint = c->heard || SSL_get_certificate(c->ssl) ? "" : "; perhaps it wants a certificate of ours: tls.cert and tls.key";
        (void)xo_fail(XONCE_E_CONNECT, "%s: %s broke off (%s)%s", c->address, what, error ? strerror(error) : "closed by the other side", hint);
    } else {
        const char *text = reason(why, sizeof(why)), *hint = "";
        if (strstr(text, "alert") && strstr(text, "certificate")) {
            hint = SSL_get_certificate(c->ssl) ? "; it does not accept our certificate, tls.cert" : "; it wants a certificate of ours: tls.cert and tls.key";
        }
        (void)xo_fail(XONCE_E_CONNECT, "%s: %s failed (%s)%s", c->address, what, text, hint);
    }
}

int xo_tls_handshake(xo_conn *c)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(c->ssl), error = errno;
    if (rc == 1) {
        c->ssl_wants_write = 0;
        return 1;
    }
    int kind = SSL_get_error(c->ssl, rc);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        c->ssl_wants_write = kind == SSL_ERROR_WANT_WRITE;
        return 0;
    }
    failed(c, "the TLS handshake", kind, error);
    return -1;
}

static long wait_or_fail(xo_conn *c, int rc, int error)
{
    int kind = SSL_get_error(c->ssl, rc);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        c->ssl_wants_write |= kind == SSL_ERROR_WANT_WRITE;
        return -1;
    }
    if (kind == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
    if (kind == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return 0;
    }
#endif
    if (kind == SSL_ERROR_SYSCALL && error == 0 && ERR_peek_error() == 0) {
        return 0;
    }
    failed(c, "the TLS connection", kind, error);
    return -2;
}

long xo_tls_read(xo_conn *c, void *p, size_t n)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read(c->ssl, p, n > (1 << 30) ? 1 << 30 : (int)n), error = errno;
    return rc > 0 ? rc : wait_or_fail(c, rc, error);
}

long xo_tls_write(xo_conn *c, const void *p, size_t n)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write(c->ssl, p, n > (1 << 30) ? 1 << 30 : (int)n), error = errno;
    if (rc > 0) {
        return rc;
    }
    long end = wait_or_fail(c, rc, error);
    if (end == 0) {
        (void)xo_fail(XONCE_E_CONNECT, "%s: the connection was closed by the other side", c->address);
        end = -2;
    }
    return end;
}

int xo_tls_pending(const xo_conn *c)
{
    return c->ssl && SSL_pending(c->ssl) > 0;
}

void xo_tls_end(xo_conn *c)
{
    if (c->ssl) {
        if (c->state == XO_CONN_OPEN) {
            ERR_clear_error();
            (void)SSL_shutdown(c->ssl); /* one try, for the other side's sake */
            ERR_clear_error();
        }
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
}
