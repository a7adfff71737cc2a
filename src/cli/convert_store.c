/* xonce convert: MQDataSource, or the pool that it wraps, as a store's URI. */
#include "base/text.h"
#include "cli/convert.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct {
    xo_cv_value url, user, password;
    const xo_cv_node *at;
} login;

static int is_url(const xo_cv_value *v)
{
    return strncmp(v->text, "jdbc:", 5) == 0;
}

/* What has a place here, by the names of the usual pools. */
static const struct {
    const char *name, *text;
} pool_settings[] = {
    {"maxActive", "store.connections says how many connections there are at most; by default workers + 2"},
    {"maximumPoolSize", "store.connections says how many connections there are at most; by default workers + 2"},
    {"maxTotal", "store.connections says how many connections there are at most; by default workers + 2"},
    {"maxWait", "how long a call waits for a connection is store.pool-timeout"},
    {"maxWaitMillis", "how long a call waits for a connection is store.pool-timeout"},
    {"connectionTimeout", "how long a call waits for a connection is store.pool-timeout"},
    {"defaultAutoCommit", "every handler runs in a transaction"},
    {"autoCommit", "every handler runs in a transaction"},
    {"defaultTransactionIsolation", "on MySQL a handler runs at READ COMMITTED; what reads first and writes later needs SELECT ... FOR UPDATE"},
    {"transactionIsolation", "on MySQL a handler runs at READ COMMITTED; what reads first and writes later needs SELECT ... FOR UPDATE"},
};

static void pool_setting(xo_cv *cv, const xo_cv_arg *arg)
{
    xo_cv_value v = {"", NULL, 0};
    const char *text = "the pool of connections is xonce's own, and has no such setting";
    for (size_t i = 0; i < sizeof(pool_settings) / sizeof(pool_settings[0]); i++) {
        if (strcmp(pool_settings[i].name, arg->name) == 0) {
            text = pool_settings[i].text;
        }
    }
    int shown = xo_cv_text(cv, arg, &v) && !strcasestr(arg->name, "password") && !strcasestr(arg->name, "key") && !strcasestr(arg->name, "propert");
    xo_cv_say(cv, XO_CV_DIFFERS, arg->at, "%.60s = %.60s: %s", arg->name, shown ? v.text : "...", text);
}

/* Reads url, user and password of a data source's setters and arguments; 1: there is a URL. */
static int read_login(xo_cv *cv, const xo_cv_node *bean, login *l, int depth)
{
    enum { MOST = 100 };
    xo_cv_arg all[MOST];
    xo_cv_value v, plain[2];
    size_t n = xo_cv_setters(cv, bean, all, MOST), nplain = 0;
    n += xo_cv_constructor(cv, bean, all + n, MOST - n);
    for (size_t i = 0; i < n; i++) {
        const char *name = all[i].name;
        const xo_cv_node *inner = xo_cv_target(cv, &all[i]);
        if (inner && depth < 4 && !xo_cv_text(cv, &all[i], &v)) {
            (void)read_login(cv, inner, l, depth + 1); /* the wrapped pool */
        } else if (!xo_cv_text(cv, &all[i], &v)) {
            pool_setting(cv, &all[i]);
        } else if (is_url(&v) || strcasecmp(name, "url") == 0 || strcasecmp(name, "jdbcUrl") == 0) {
            l->url = v;
            l->at = all[i].at;
        } else if (strcasecmp(name, "username") == 0 || strcasecmp(name, "user") == 0) {
            l->user = v;
        } else if (strncasecmp(name, "passw", 5) == 0) {
            l->password = v;
        } else if (strcasestr(name, "driver") || strstr(v.text, "Driver")) {
            continue;
        } else if (strcmp(all[i].at->name, "constructor-arg") == 0 && (!*name || *name == '_') && nplain < 2) {
            if (v.env && !l->url.text) { /* MQDataSource("${url}", "${user}", ...) */
                l->url = v;
                l->at = all[i].at;
            } else {
                plain[nplain++] = v;
            }
        } else {
            pool_setting(cv, &all[i]);
        }
    }
    l->user = nplain > 0 && !l->user.text ? plain[0] : l->user;
    l->password = nplain > 1 && !l->password.text ? plain[1] : l->password;
    return l->url.text != NULL;
}

static const struct {
    const char *name, *text; /* of a JDBC URL; NULL: nothing to say */
} url_settings[] = {
    {"useUnicode", NULL}, {"characterEncoding", NULL}, {"useLegacyDatetimeCode", NULL}, {"zeroDateTimeBehavior", NULL}, {"nullCatalogMeansCurrent", NULL},
    {"allowPublicKeyRetrieval", NULL}, {"useServerPrepStmts", NULL}, {"cachePrepStmts", NULL}, {"prepStmtCacheSize", NULL}, {"prepStmtCacheSqlLimit", NULL},
    {"rewriteBatchedStatements", NULL}, {"reWriteBatchedInserts", NULL}, {"tinyInt1isBit", NULL}, {"useInformationSchema", NULL}, {"jdbcCompliantTruncation", NULL},
    {"serverTimezone", "handlers run with time_zone = '+00:00': NOW() is UTC"},
    {"useSSL", "ssl-ca=FILE in the store's URI names the certificates; ssl-verify=0 leaves the server's unchecked"},
    {"requireSSL", "ssl-ca=FILE in the store's URI names the certificates; ssl-verify=0 leaves the server's unchecked"},
    {"verifyServerCertificate", "ssl-verify=0 in the store's URI leaves the server's certificate unchecked"},
    {"sslMode", "ssl-ca=FILE in the store's URI names the certificates; ssl-verify=0 leaves the server's unchecked"},
    {"autoReconnect", "a connection that was lost is replaced, and its transaction run again"},
    {"allowMultiQueries", "one statement a call; --sql takes several, separated by ';'"},
    {"connectTimeout", "it is store.connect-timeout"},
    {"socketTimeout", "it is handler.timeout"},
    {"sessionVariables", "set them in the hook `connected` of xonce_store_hooks()"},
    {"currentSchema", "on PostgreSQL: options=-csearch_path%3DNAME in the store's URI"},
};

static void look_at_url_settings(xo_cv *cv, const xo_cv_node *at, const char *p)
{
    while (*p) {
        size_t n = strcspn(p, "&;"), name = strcspn(p, "=&;");
        const char *text = "no counterpart that this program knows";
        for (size_t i = 0; i < sizeof(url_settings) / sizeof(url_settings[0]); i++) {
            if (strlen(url_settings[i].name) == name && strncasecmp(url_settings[i].name, p, name) == 0) {
                text = url_settings[i].text;
            }
        }
        if (text && name) {
            xo_cv_say(cv, XO_CV_DIFFERS, at, "%.*s in the JDBC URL: %s", (int)(name > 60 ? 60 : name), p, text);
        }
        p += n + (p[n] != 0);
        p += strncmp(p, "amp;", 4) == 0 ? 4 : 0; /* escaped twice */
    }
}

/* A part of the URI, or the variable that holds it. */
static const char *part(xo_cv *cv, const xo_cv_value *v, const char *what, int secret, const char *instead)
{
    if (!v->text || (!v->env && !*v->text)) {
        return NULL;
    }
    if (v->env || secret) {
        const char *name = v->env ? v->env : instead;
        char *escaped = v->env ? NULL : xo_percent(v->text); /* it stands in a URI */
        const char *value = escaped ? xo_cv_keep(cv, escaped, strlen(escaped)) : NULL;
        xo_wipe_free(escaped);
        (void)xo_cv_variable_for(cv, &cv->store_variables, &cv->nstore_variables, &cv->store_variables_cap, name, value,
                                 xo_cv_format(cv, "%s of the database, percent-encoded%s%.100s", what, v->env ? "; in the file " : "", v->env ? v->text : ""), secret);
        return xo_cv_format(cv, "${%s}", name);
    }
    char *escaped = xo_percent(v->text);
    const char *kept = escaped ? xo_cv_keep(cv, escaped, strlen(escaped)) : "";
    cv->failed |= !escaped;
    free(escaped);
    return kept;
}

static void make_uri(xo_cv *cv, const login *l)
{
    static const struct {
        const char *jdbc, *scheme;
        int port;
    } engines[] = {{"jdbc:mysql://", "mysql", 3306}, {"jdbc:mariadb://", "mysql", 3306}, {"jdbc:postgresql://", "postgresql", 5432}};
    const char *url = l->url.text, *p = NULL, *scheme = "";
    int port = 0;
    if (l->url.env) {
        (void)xo_cv_variable_for(cv, &cv->store_variables, &cv->nstore_variables, &cv->store_variables_cap, "XONCE_STORE", NULL,
                                 xo_cv_format(cv, "the database as mysql://USER:PASSWORD@HOST:PORT/NAME; in the file %.200s", url), 1);
        xo_cv_say(cv, XO_CV_STOP, l->at, "the database's address %.200s is not known: set XONCE_STORE", url);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (strncmp(url, engines[i].jdbc, strlen(engines[i].jdbc)) == 0) {
            p = url + strlen(engines[i].jdbc);
            scheme = engines[i].scheme;
            port = engines[i].port;
        }
    }
    size_t host = p ? strcspn(p, "/?") : 0, path = p && p[host] == '/' ? strcspn(p + host + 1, "?") : 0;
    if (!p || strcspn(p, "(),") < host || memchr(p, '@', host)) {
        size_t shown = strcspn(url, "?;@"); /* what stands behind may be secret */
        xo_cv_say(cv, XO_CV_STOP, l->at, "%.*s: %s", (int)(shown > 150 ? 150 : shown), url,
                  p ? "a list of hosts, or a login in the URL, has no counterpart: name one host" : "no store for this database: there are MySQL, MariaDB, PostgreSQL and SQLite");
        return;
    }
    if (p[host + (p[host] == '/') + path] == '?') {
        look_at_url_settings(cv, l->at, strchr(p, '?') + 1);
    }
    if (!path) {
        xo_cv_say(cv, XO_CV_STOP, l->at, "the JDBC URL names no database");
    }
    const char *user = part(cv, &l->user, "the user", 0, "USER"), *password = part(cv, &l->password, "the password", 1, "PASSWORD");
    int has_port = host && (memchr(p, ']', host) ? strchr(memchr(p, ']', host), ':') != NULL && strchr(memchr(p, ']', host), ':') < p + host : memchr(p, ':', host) != NULL);
    const char *where = xo_cv_keep(cv, p, host);
    where = !host ? xo_cv_format(cv, "localhost:%d", port) : has_port ? where : xo_cv_format(cv, "%s:%d", where, port);
    cv->store = xo_cv_format(cv, "%s://%s%s%s%s%.300s/%.*s", scheme, user ? user : "", user && password ? ":" : "", user && password ? password : "", user ? "@" : "", where,
                             (int)(path > 200 ? 200 : path), path ? p + host + 1 : "");
    if (strcmp(scheme, "postgresql") == 0) {
        xo_cv_say(cv, XO_CV_DIFFERS, l->at, "the vendor's manual names MySQL and SQL Server only, so what stands in this PostgreSQL database is not known: run xonce check first");
    }
}

void xo_cv_find_store(xo_cv *cv)
{
    static const char *const pools[] = {"DruidDataSource", "HikariDataSource", "BasicDataSource", "ComboPooledDataSource", "DriverManagerDataSource"};
    const xo_cv_node *found = NULL, *pool = NULL;
    size_t nfound = 0, npools = 0;
    cv->store = "";
    for (const xo_cv_node *n = xo_cv_next(cv->root, cv->root); n; n = xo_cv_next(n, cv->root)) {
        const char *class = strcmp(n->name, "bean") == 0 && xo_cv_active(cv, n) ? xo_cv_class_name(xo_cv_class(cv, n)) : "", *id = xo_cv_attribute(n, "id");
        int wanted = cv->data_source && id && strcmp(cv->data_source, id) == 0;
        for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
            if (strcmp(class, pools[i]) == 0) {
                pool = n;
                npools++;
            }
        }
        if (wanted || (!cv->data_source && strcmp(class, "MQDataSource") == 0)) {
            found = n;
            nfound++;
        }
    }
    if (nfound > 1) {
        xo_cv_say(cv, XO_CV_STOP, found, "%zu beans are MQDataSource: say by --data-source ID which one belongs to these consumers", nfound);
        return;
    }
    if (!found && !cv->data_source && npools == 1) {
        found = pool;
        xo_cv_say(cv, XO_CV_DIFFERS, pool, "no MQDataSource is in the file; took this pool, which Java code may wrap: see whether it is the consumers' database");
    }
    login l = {.at = found};
    if (!found || !read_login(cv, found, &l, 0)) {
        xo_cv_say(cv, XO_CV_STOP, found, found ? "the data source names no JDBC URL in the file: set XONCE_STORE"
                                               : cv->data_source ? "there is no bean of the name that --data-source gives" : "no MQDataSource is in the files, so Java code makes it: set XONCE_STORE");
        return;
    }
    make_uri(cv, &l);
}
