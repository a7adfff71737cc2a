/* Credentials: from the configuration, a file or the environment. */
#include "base/credentials.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define ENV_ID "ALIBABA_CLOUD_ACCESS_KEY_ID"
#define ENV_SECRET "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
#define ENV_TOKEN "ALIBABA_CLOUD_SECURITY_TOKEN"
enum { XO_CREDENTIALS_FILE_MAX = 64 * 1024 };

void xo_credentials_free(xo_credentials *c)
{
    if (!c)
        return;
    xo_wipe_free(c->access_key_id);
    xo_wipe_free(c->access_key_secret);
    xo_wipe_free(c->security_token);
    memset(c, 0, sizeof *c);
}

/* They become header values: a line end inside would be another header. */
static xonce_status check_value(const char *what, const char *value)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            return xo_fail(
                XONCE_E_AUTH,
                "%s holds a blank or control character at offset %zu: it was probably copied with a line end", what,
                (size_t)(p - value));
    return XONCE_OK;
}

static xonce_status take(xo_credentials *out, const char *where, const char *id, const char *secret, const char *token)
{
    if (!id || !*id || !secret || !*secret)
        return xo_fail(XONCE_E_AUTH, "%s names an access key %s without its %s: set both", where,
                       id && *id ? "id" : "secret", id && *id ? "secret" : "id");
    if (strchr(id, ':'))
        return xo_fail(XONCE_E_AUTH, "the access key id in %s holds a ':'", where);
    xonce_status st = check_value("the access key id", id);
    if (!st)
        st = check_value("the access key secret", secret);
    if (!st && token)
        st = check_value("the security token", token);
    if (st)
        return st;
    out->access_key_id = xo_strdup(id);
    out->access_key_secret = xo_strdup(secret);
    out->security_token = token && *token ? xo_strdup(token) : NULL;
    if (!out->access_key_id || !out->access_key_secret || (token && *token && !out->security_token)) {
        xo_credentials_free(out);
        return xo_nomem();
    }
    return XONCE_OK;
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1]))
        s[--n] = 0;
    return s;
}

static int is_name(const char *name, const char *key, const char *env)
{
    if (!strncmp(name, "export ", 7))
        name += 7;
    if (!strncasecmp(name, "credentials.", 12))
        name += 12;
    return !strcasecmp(name, key) || !strcasecmp(name, env);
}

/* One "name = value" line; cuts line. */
static xonce_status read_line(char *line, const char *path, int number, char **values)
{
    char *s = trim(line), *eq;
    if (!*s || *s == '#')
        return XONCE_OK;
    if (!(eq = strchr(s, '=')))
        return xo_fail(XONCE_E_INVALID, "%s line %d: not of the form name = value", path, number);
    *eq = 0;
    char *name = trim(s), *value = trim(eq + 1);
    size_t n = strlen(value);
    if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
        value[n - 1] = 0;
        value++;
    }
    if (is_name(name, "access-key-id", ENV_ID))
        values[0] = value;
    else if (is_name(name, "access-key-secret", ENV_SECRET))
        values[1] = value;
    else if (is_name(name, "security-token", ENV_TOKEN))
        values[2] = value;
    else
        return xo_fail(XONCE_E_INVALID,
                       "%s line %d: unknown name; use access-key-id, access-key-secret, security-token", path, number);
    return XONCE_OK;
}

static xonce_status read_lines(xo_credentials *out, const char *path, char *text)
{
    char *values[3] = {NULL, NULL, NULL}, *line = text;
    for (int number = 1; line; number++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        xonce_status st = read_line(line, path, number, values);
        if (st)
            return st;
        line = end ? end + 1 : NULL;
    }
    return take(out, path, values[0], values[1], values[2]);
}

static xonce_status from_file(xo_credentials *out, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return xo_fail(XONCE_E_AUTH, "the credentials file %s cannot be opened: %s", path, strerror(errno));
    struct stat sb;
    if (!fstat(fileno(f), &sb) && S_ISREG(sb.st_mode) && (sb.st_mode & 077))
        xo_log(XO_WARN, "credentials", "the credentials file %s can be read by others: chmod 600 it", path);
    char *text = xo_calloc(1, XO_CREDENTIALS_FILE_MAX + 1);
    xonce_status st;
    if (!text) {
        st = xo_nomem();
    } else {
        size_t n = fread(text, 1, XO_CREDENTIALS_FILE_MAX, f);
        if (ferror(f))
            st = xo_fail(XONCE_E_AUTH, "the credentials file %s cannot be read: %s", path, strerror(errno));
        else if (!feof(f) && n == XO_CREDENTIALS_FILE_MAX)
            st = xo_fail(XONCE_E_AUTH, "the credentials file %s is larger than 64 KiB: is it the right file?", path);
        else
            st = read_lines(out, path, text);
        xo_wipe(text, n);
    }
    free(text);
    fclose(f);
    return st;
}

xonce_status xo_credentials_find(xo_credentials *out, const xonce_config *cfg, int *found)
{
    memset(out, 0, sizeof *out);
    *found = 1;
    const char *id = xo_config_text(cfg, "credentials.access-key-id"),
               *secret = xo_config_text(cfg, "credentials.access-key-secret");
    const char *file = xo_config_text(cfg, "credentials.file");
    if (id || secret)
        return take(out, "the configuration (credentials.*)", id, secret,
                    xo_config_text(cfg, "credentials.security-token"));
    if (file && *file)
        return from_file(out, file);
    id = getenv(ENV_ID);
    secret = getenv(ENV_SECRET);
    if ((id && *id) || (secret && *secret))
        return take(out, "the environment (" ENV_ID ", " ENV_SECRET ")", id, secret, getenv(ENV_TOKEN));
    *found = 0;
    return XONCE_OK;
}

xonce_status xo_credentials_load(xo_credentials *out, const xonce_config *cfg)
{
    int found;
    xonce_status st = xo_credentials_find(out, cfg, &found);
    if (st || found)
        return st;
    return xo_fail(XONCE_E_AUTH, "no credentials: set " ENV_ID " and " ENV_SECRET " (with STS " ENV_TOKEN
                                 " too), or name a credentials file");
}
