/* Fuzz target: Spring files that xonce convert reads. What it writes has to be whole: settings that are taken, C whose texts and comments end, a shell's assignments that run nothing. */
#include "base/config.h"
#include "cli/convert.h"
#include "tests/fuzz/targets.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Settings: taken as they are, unless a variable is still to be given. */
static void check_conf(const xo_buf *b)
{
    char path[64];
    xonce_config *c = NULL;
    if (!b->p || strstr(b->p, "${")) {
        return;
    }
    int fd = fuzz_file((const uint8_t *)b->p, b->len, path);
    PROMISE(fd >= 0 && xonce_config_new(&c) == XONCE_OK);
    PROMISE(xonce_config_load(c, path) == XONCE_OK);
    xonce_config_free(c);
    close(fd);
}

/* Behind the text that begins at p; it ends on its line. */
static const char *behind_text(const char *p)
{
    char quote = *p++;
    for (; *p != quote; p++) {
        PROMISE(*p && *p != '\n' && *p != '?');
        p += *p == '\\';
        PROMISE(*p && *p != '\n');
    }
    return p + 1;
}

static const char *behind_comment(const char *p)
{
    const char *end = strstr(p + 2, "*/"), *other = strstr(p + 2, "/*");
    PROMISE(end && (!other || other > end));
    return end + 2;
}

/* The program: braces and brackets pair outside of texts and comments, and nothing stands there but plain ASCII. */
static void check_program(const xo_buf *b)
{
    int braces = 0, round = 0;
    for (const char *p = b->p ? b->p : ""; *p;) {
        if (*p == '"' || *p == '\'') {
            p = behind_text(p);
        } else if (p[0] == '/' && p[1] == '*') {
            p = behind_comment(p);
        } else {
            PROMISE((*p >= ' ' && *p < 0x7f) || *p == '\n');
            braces += (*p == '{') - (*p == '}');
            round += (*p == '(') - (*p == ')');
            PROMISE(braces >= 0 && round >= 0);
            p++;
        }
    }
    PROMISE(braces == 0 && round == 0);
}

/* The environment: each line is a comment or NAME="value" in which nothing ends the quotes or runs. */
static void check_environment(const xo_buf *b)
{
    for (const char *p = b->p ? b->p : ""; *p; p += *p == '\n') {
        if (*p == '#' || *p == '\n') {
            p += strcspn(p, "\n");
            continue;
        }
        PROMISE(isalpha((unsigned char)*p) || *p == '_');
        p += strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        PROMISE(p[0] == '=' && p[1] == '"');
        for (p += 2; *p != '"'; p++) {
            PROMISE((unsigned char)*p >= ' ' && *p != '$' && *p != '`');
            p += *p == '\\';
            PROMISE(*p && *p != '\n');
        }
        PROMISE(p[1] == '\n');
        p++;
    }
}

static void check_consumer(const xo_cv *cv, const xo_cv_consumer *c, int secrets)
{
    xo_buf conf = {0}, environment = {0}, program = {0};
    xo_cv_write_conf(&conf, cv, c);
    xo_cv_write_environment(&environment, cv, c, secrets);
    xo_cv_write_skeleton(&program, cv, c);
    PROMISE(!conf.failed && !environment.failed && !program.failed);
    PROMISE(!conf.p || strlen(conf.p) == conf.len);
    check_conf(&conf);
    check_environment(&environment);
    check_program(&program);
    xo_buf_free(&conf);
    xo_buf_free(&environment);
    xo_buf_free(&program);
}

/* A digit in front of the file chooses options. */
void fuzz_convert(const uint8_t *p, size_t n)
{
    static const char properties[] = "mq.group=GID_orders\nmq.topic=${mq.env}-orders\nmq.env=test\nloop=${loop}\nmq.tags=new || paid\ndb.password=h&nter #2\n";
    int options = n && isdigit(p[0]) ? p[0] - '0' : 0, skip = n && isdigit(p[0]);
    char path[64];
    int fd = fuzz_file(p + skip, n - (size_t)skip, path);
    xo_cv cv = {.encoding = options & 1 ? "GBK" : NULL, .profile = options & 2 ? "prod" : NULL, .data_source = options == 9 ? "ds" : NULL};
    if (options & 4) {
        cv.properties = "mq.properties";
        xo_cv_properties(&cv, &cv.given, properties, sizeof(properties) - 1);
    }
    PROMISE(fd >= 0);
    xonce_status st = xo_cv_parse(&cv, path);
    if (st == XONCE_OK) {
        st = xo_cv_model(&cv);
    }
    PROMISE(st == XONCE_OK || xonce_error_last()->text[0]);
    if (st == XONCE_OK) {
        xo_buf report = {0};
        PROMISE(cv.nconsumers > 0);
        for (size_t i = 0; i < cv.nconsumers; i++) {
            check_consumer(&cv, &cv.consumers[i], !(options & 1));
        }
        xo_cv_write_report(&report, &cv, ".");
        PROMISE(!report.failed && !cv.failed);
        xo_buf_free(&report);
    }
    xo_cv_free(&cv);
    close(fd);
}
