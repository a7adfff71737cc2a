/* Log lines: how they are written, their level, files that are turned over; and the trace context of messages, which stands in them. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "message/trace.h"
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[96];

static void make_folder(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/xonce-log-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/x.log", folder);
}

static void remove_folder(void)
{
    DIR *d = opendir(folder);
    xonce_set_log(NULL, NULL);
    for (struct dirent *e; d && (e = readdir(d));) {
        (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    (void)closedir(d);
    (void)rmdir(folder);
}

/* What FILE or FILE.n holds; NULL when it is not there. Caller frees. */
static char *read_log(int n)
{
    char name[128], chunk[4096];
    (void)snprintf(name, sizeof(name), n ? "%s.%d" : "%s", path, n);
    FILE *f = fopen(name, "r");
    xo_buf b = {0};
    if (!f) {
        return NULL;
    }
    for (size_t k; (k = fread(chunk, 1, sizeof(chunk), f)) > 0;) {
        xo_buf_add(&b, chunk, k);
    }
    (void)fclose(f);
    return xo_buf_take(&b);
}

static size_t count_lines(const char *s)
{
    size_t n = 0;
    for (; s && *s; s++) {
        n += *s == '\n';
    }
    return n;
}

/* want: with '@' for the process. */
static void rendered(xo_log_format format, const xo_log_line *l, const char *want)
{
    xo_buf b = {0}, expected = {0};
    char pid[24];
    (void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    xo_buf_fill_in(&expected, want, '@', pid);
    xo_log_render(&b, format, l);
    ck_assert(!b.failed && !expected.failed);
    ck_assert_str_eq(b.p, expected.p);
    xo_buf_free(&b);
    xo_buf_free(&expected);
}

START_TEST(three_formats)
{
    const xo_log_field f[] = {{"topic", "orders", 0}, {"reason", "say \"no\" = \n\x1b[31m\xff\xc2\x9b end", 0}, {"empty", "", 0}, {"attempt", NULL, 3}};
    xo_log_line l = {.time = 1795593600123, .level = XO_WARN, .area = "consumer", .text = "rejected", .fields = f, .n = 4};
    rendered(XO_LOG_TEXT, &l, "2026-11-25T08:00:00.123Z warning consumer: rejected topic=orders reason=\"say \\\"no\\\" =  ?[31m?? end\" empty=\"\" attempt=3\n");
    rendered(XO_LOG_LOGFMT, &l,
             "time=2026-11-25T08:00:00.123Z level=warning pid=@ area=consumer msg=rejected topic=orders reason=\"say \\\"no\\\" =  ?[31m?? end\" empty=\"\" attempt=3\n");
    rendered(XO_LOG_JSON, &l,
             "{\"time\":\"2026-11-25T08:00:00.123Z\",\"level\":\"warning\",\"pid\":@,\"area\":\"consumer\",\"msg\":\"rejected\",\"topic\":\"orders\","
             "\"reason\":\"say \\\"no\\\" = \\n\\u001b[31m\xef\xbf\xbd\xc2\x9b end\",\"empty\":\"\",\"attempt\":3}\n");
    l.n = 0;
    l.text = "two words \x01";
    rendered(XO_LOG_LOGFMT, &l, "time=2026-11-25T08:00:00.123Z level=warning pid=@ area=consumer msg=\"two words ?\"\n");
    rendered(XO_LOG_TEXT, &l, "2026-11-25T08:00:00.123Z warning consumer: two words ?\n");
}
END_TEST

static char last[2000];
static int nlast;

static void keep(int level, const char *area, const char *text, void *arg)
{
    (void)level;
    (void)area;
    (void)arg;
    nlast++;
    (void)snprintf(last, sizeof(last), "%s", text);
}

START_TEST(a_function_gets_fields_behind_the_text)
{
    const xo_log_field f[] = {{"id", "A 1", 0}, {"n", NULL, -7}};
    nlast = 0;
    ck_assert(!xo_log_enabled(XO_ERROR));
    xonce_set_log(keep, NULL);
    ck_assert(xo_log_enabled(XO_DEBUG));
    xo_log_fields(XO_INFO, "x", f, 2, "two\nlines %d", 2);
    ck_assert_str_eq(last, "two lines 2 id=\"A 1\" n=-7");
    xo_log(XO_DEBUG, "x", "bare");
    ck_assert_str_eq(last, "bare");
    xonce_set_log(NULL, NULL);
    ck_assert(!xo_log_enabled(XO_ERROR));
    xo_log(XO_ERROR, "x", "dropped");
    ck_assert_int_eq(nlast, 2);
}
END_TEST

START_TEST(the_level_can_be_turned)
{
    nlast = 0;
    xonce_set_log(keep, NULL);
    ck_assert_int_eq(xonce_log_level(-1), XO_DEBUG);
    ck_assert_int_eq(xonce_log_level(XO_WARN), XO_DEBUG);
    ck_assert_int_eq(xonce_log_level(99), XO_WARN);
    ck_assert(!xo_log_enabled(XO_INFO));
    xo_log(XO_INFO, "x", "not this");
    ck_assert_int_eq(nlast, 0);
    xo_log_notice();
    ck_assert_str_eq(last, "the log level is warning now");
    xo_log_notice();
    ck_assert_int_eq(nlast, 1);
    xo_log(XO_WARN, "x", "this");
    ck_assert_int_eq(nlast, 2);
    xonce_log_level(XO_INFO); /* a line tells it too */
    xo_log(XO_WARN, "x", "that");
    ck_assert_int_eq(nlast, 4);
    xo_log_turn(1);
    xo_log_turn(1); /* no more than that */
    ck_assert_int_eq(xonce_log_level(-1), XO_DEBUG);
    xo_log_turn(-9);
    ck_assert_int_eq(xonce_log_level(-1), XO_ERROR);
    ck_assert(xo_log_enabled(XO_ERROR) && !xo_log_enabled(XO_WARN));
    xonce_set_log(NULL, NULL);
    xonce_log_level(XO_DEBUG); /* nobody is there */
    ck_assert(!xo_log_enabled(XO_ERROR));
}
END_TEST

static xonce_config *settings(const char *format, const char *level)
{
    xonce_config *c;
    ck_assert_int_eq(xonce_config_new(&c), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "log.file", path), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "log.format", format), XONCE_OK);
    ck_assert_int_eq(xonce_config_set(c, "log.level", level), XONCE_OK);
    return c;
}

START_TEST(a_configuration_says_where)
{
    xonce_config *c = settings("logfmt", "info");
    struct stat st;
    ck_assert_int_eq(xonce_log_open(c), XONCE_OK);
    xo_log(XO_INFO, "a", "one");
    xo_log(XO_DEBUG, "a", "not this");
    xonce_config_free(c);
    c = settings("json", "error");
    ck_assert_int_eq(xonce_log_open(c), XONCE_OK);
    xo_log(XO_WARN, "a", "nor this");
    xo_log(XO_ERROR, "a", "two");
    ck_assert_int_eq(xonce_config_set(c, "log.file", "/nonexistent/x.log"), XONCE_OK);
    ck_assert_int_eq(xonce_log_open(c), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "/nonexistent/x.log"));
    xo_log(XO_ERROR, "a", "three"); /* the log before goes on */
    char *s = read_log(0);
    ck_assert_uint_eq(count_lines(s), 3);
    ck_assert_ptr_nonnull(strstr(s, " area=a msg=one\n{\"time\":"));
    ck_assert_ptr_nonnull(strstr(s, "\"msg\":\"three\"}\n"));
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0007, 0);
    free(s);
    xonce_config_free(c);
}
END_TEST

START_TEST(a_pipe_that_nobody_reads_is_refused)
{
    xo_log_file *f;
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(xo_log_file_open(&f, path, 1000, 3), XONCE_E_INVALID);
    ck_assert_ptr_nonnull(strstr(xonce_error_last()->text, "nobody reads"));
}
END_TEST

/* Lines of 40 bytes. */
static void write_lines(xo_log_file *f, char who, int from, int to)
{
    for (int i = from; i < to; i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "%c%038d\n", who, i);
        ck_assert_int_eq(xo_log_file_write(f, line, 40), 0);
    }
}

START_TEST(it_is_turned_over_by_size)
{
    xo_log_file *f;
    ck_assert_int_eq(xo_log_file_open(&f, path, 400, 3), XONCE_OK);
    write_lines(f, 'a', 0, 35);
    char *s[4] = {read_log(0), read_log(1), read_log(2), read_log(3)};
    ck_assert_uint_eq(count_lines(s[0]), 5);
    ck_assert_uint_eq(count_lines(s[1]), 10);
    ck_assert_uint_eq(count_lines(s[2]), 10);
    ck_assert_ptr_null(s[3]);
    ck_assert_int_eq(strtol(s[0] + 1, NULL, 10), 30);
    ck_assert_int_eq(strtol(s[2] + 1, NULL, 10), 10);
    for (int i = 0; i < 4; i++) {
        free(s[i]);
    }
    xo_log_file_close(f);
    ck_assert_int_eq(xo_log_file_open(&f, path, 400, 3), XONCE_OK); /* goes on behind what is there */
    write_lines(f, 'b', 0, 6);
    char *again = read_log(1);
    ck_assert_uint_eq(count_lines(again), 10);
    ck_assert_int_eq(again[9 * 40], 'b');
    free(again);
    xo_log_file_close(f);
}
END_TEST

START_TEST(one_file_is_begun_anew)
{
    xo_log_file *f;
    ck_assert_int_eq(xo_log_file_open(&f, path, 400, 1), XONCE_OK);
    write_lines(f, 'a', 0, 12);
    char *s = read_log(0), *old = read_log(1);
    ck_assert_uint_eq(count_lines(s), 2);
    ck_assert_ptr_null(old);
    free(s);
    xo_log_file_close(f);
}
END_TEST

START_TEST(one_that_cannot_be_moved_grows)
{
    xo_log_file *f;
    char name[128];
    (void)snprintf(name, sizeof(name), "%s.1", path);
    ck_assert_int_eq(mkdir(name, 0700), 0);
    ck_assert_int_eq(xo_log_file_open(&f, path, 400, 2), XONCE_OK);
    write_lines(f, 'a', 0, 30);
    char *s = read_log(0);
    ck_assert_uint_eq(count_lines(s), 30);
    free(s);
    xo_log_file_close(f);
    ck_assert_int_eq(rmdir(name), 0);
}
END_TEST

START_TEST(one_that_was_moved_away_is_opened_anew)
{
    xo_log_file *f;
    char name[128];
    ck_assert_int_eq(xo_log_file_open(&f, path, 1000000, 2), XONCE_OK);
    write_lines(f, 'a', 0, 1);
    (void)snprintf(name, sizeof(name), "%s.5", path);
    ck_assert_int_eq(rename(path, name), 0);
    int64_t until = xo_mono_ms() + 30000;
    for (int i = 1; access(path, F_OK) != 0; i++) {
        ck_assert(xo_mono_ms() < until);
        write_lines(f, 'a', i, i + 1);
        xo_pause_ms(20);
    }
    xo_log_file_close(f);
}
END_TEST

/* Four processes write and turn over the same file: every line is there once and whole. */
START_TEST(processes_share_it)
{
    enum { WRITERS = 4, LINES = 1500 };
    char *seen = xo_calloc(WRITERS * LINES, 1);
    for (int w = 0; w < WRITERS; w++) {
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            xo_log_file *f;
            int bad = xo_log_file_open(&f, path, 4000, 1000) != XONCE_OK;
            for (int i = 0; i < LINES && !bad; i++) {
                char line[64];
                (void)snprintf(line, sizeof(line), "%c%038d\n", 'a' + w, i);
                bad = xo_log_file_write(f, line, 40) != 0;
            }
            _exit(bad);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    size_t files = 0, lines = 0;
    for (char *s; (s = read_log((int)files)); files++) {
        for (const char *p = s; *p; p += 40) {
            long i = strtol(p + 1, NULL, 10);
            ck_assert_int_eq(p[39], '\n');
            ck_assert(p[0] >= 'a' && p[0] < 'a' + WRITERS && i >= 0 && i < LINES);
            char *one = &seen[(p[0] - 'a') * LINES + i];
            ck_assert_int_eq(*one, 0);
            *one = 1;
            lines++;
        }
        free(s);
    }
    ck_assert_uint_eq(lines, WRITERS * LINES);
    ck_assert_uint_gt(files, 20);
    free(seen);
}
END_TEST

START_TEST(lines_that_could_not_be_written_are_counted)
{
    xonce_config *c = settings("logfmt", "info");
    struct rlimit was, small;
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
    ck_assert_int_eq(xonce_log_open(c), XONCE_OK);
    xo_log(XO_INFO, "a", "first");
    char *s = read_log(0);
    small = was;
    small.rlim_cur = strlen(s) + 10; /* the second one fits in part */
    free(s);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    xo_log(XO_INFO, "a", "second");
    xo_log(XO_INFO, "a", "third");
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
    xo_log(XO_INFO, "a", "fourth");
    s = read_log(0);
    const char *gap = strstr(s, " area=log msg=\"log lines could not be written\" lines=2\n");
    ck_assert_ptr_nonnull(gap);
    ck_assert_ptr_nonnull(strstr(gap, "msg=fourth\n"));
    ck_assert_uint_eq(count_lines(s), 4); /* first, the torn one, the gap, fourth */
    free(s);
    xonce_config_free(c);
}
END_TEST

static void *writer(void *arg)
{
    for (int i = 0; i < 500; i++) {
        xo_log(XO_INFO, "thread", "%s %d", (const char *)arg, i);
        if (i % 100 == 0) {
            xonce_log_level(XO_INFO);
        }
    }
    return NULL;
}

START_TEST(threads_and_a_new_log_meanwhile)
{
    pthread_t t[3];
    xonce_config *c = settings("text", "info");
    ck_assert_int_eq(xonce_log_open(c), XONCE_OK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, writer, (void *)(uintptr_t) "w"), 0);
    }
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(xonce_log_open(c), XONCE_OK);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    }
    char *s = read_log(0);
    ck_assert_uint_eq(count_lines(s), 1500);
    free(s);
    xonce_config_free(c);
}
END_TEST

/* ---- trace context ---- */

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

START_TEST(traceparents)
{
    static const struct {
        const char *text;
        int good;
    } of[] = {
        {"00-" TRACE "-" SPAN "-01", 1},
        {"00-" TRACE "-" SPAN "-ff", 1},
        {"cc-" TRACE "-" SPAN "-01", 1},
        {"cc-" TRACE "-" SPAN "-01-what-comes-later", 1},
        {"cc-" TRACE "-" SPAN "-01.", 0},
        {"00-" TRACE "-" SPAN "-01-", 0},
        {"00-" TRACE "-" SPAN "-0", 0},
        {"00-" TRACE "-" SPAN, 0},
        {"ff-" TRACE "-" SPAN "-01", 0},
        {"0g-" TRACE "-" SPAN "-01", 0},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", 0},
        {"00-00000000000000000000000000000000-" SPAN "-01", 0},
        {"00-" TRACE "-0000000000000000-01", 0},
        {"00_" TRACE "-" SPAN "-01", 0},
        {"00-" TRACE "-" SPAN "-0\n", 0},
        {" 00-" TRACE "-" SPAN "-01", 0},
        {"", 0},
        {"00", 0},
    };
    char trace[XO_TRACE_ID + 1], span[XO_SPAN_ID + 1];
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        ck_assert_msg(xo_traceparent_parse(of[i].text, trace, span) == of[i].good, "%s", of[i].text);
    }
    ck_assert(xo_traceparent_parse(of[0].text, trace, span));
    ck_assert_str_eq(trace, TRACE);
    ck_assert_str_eq(span, SPAN);
}
END_TEST

START_TEST(a_message_has_one)
{
    xonce_message *m;
    char huge[1000];
    ck_assert_int_eq(xonce_message_new(&m, "t", "1", "x", 1), XONCE_OK);
    ck_assert_ptr_null(xonce_message_traceparent(m));
    ck_assert_ptr_null(xonce_message_traceparent(NULL));
    ck_assert_int_eq(xonce_message_set_property(m, "tracestate", "a=1,b=2"), XONCE_OK);
    ck_assert_ptr_null(xo_message_tracestate(m)); /* alone it means nothing */
    ck_assert_int_eq(xonce_message_set_property(m, "TraceParent", "00-" TRACE "-" SPAN "-01"), XONCE_OK);
    ck_assert_str_eq(xonce_message_traceparent(m), "00-" TRACE "-" SPAN "-01");
    ck_assert_str_eq(xo_message_tracestate(m), "a=1,b=2");
    ck_assert_int_eq(xonce_message_set_property(m, "tracestate", "a=1\nb"), XONCE_OK);
    ck_assert_ptr_null(xo_message_tracestate(m));
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = 0;
    ck_assert_int_eq(xonce_message_set_property(m, "tracestate", huge), XONCE_OK);
    ck_assert_ptr_null(xo_message_tracestate(m));
    memcpy(huge, "cc-" TRACE "-" SPAN "-01-", 56);
    ck_assert_int_eq(xonce_message_set_property(m, "TraceParent", huge), XONCE_OK);
    ck_assert_ptr_null(xonce_message_traceparent(m));
    xonce_message_free(m);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("log");
    TCase *lines = tcase_create("lines"), *files = tcase_create("files"), *trace = tcase_create("trace");
    tcase_add_test(lines, three_formats);
    tcase_add_test(lines, a_function_gets_fields_behind_the_text);
    tcase_add_test(lines, the_level_can_be_turned);
    tcase_add_checked_fixture(files, make_folder, remove_folder);
    tcase_add_test(files, a_configuration_says_where);
    tcase_add_test(files, a_pipe_that_nobody_reads_is_refused);
    tcase_add_test(files, it_is_turned_over_by_size);
    tcase_add_test(files, one_file_is_begun_anew);
    tcase_add_test(files, one_that_cannot_be_moved_grows);
    tcase_add_test(files, one_that_was_moved_away_is_opened_anew);
    tcase_add_test(files, processes_share_it);
    tcase_add_test(files, lines_that_could_not_be_written_are_counted);
    tcase_add_test(files, threads_and_a_new_log_meanwhile);
    tcase_add_test(trace, traceparents);
    tcase_add_test(trace, a_message_has_one);
    suite_add_tcase(s, lines);
    suite_add_tcase(s, files);
    suite_add_tcase(s, trace);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
