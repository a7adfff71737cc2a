/* What systemd's manager and journal are told, each played by the test. */
#include "cli/service.h"
#include "base/log.h"
#include "cli/output.h"
#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOM = 512 };
static int errors = -1, was = -1; /* the file that stands for stderr, and stderr */

static void take_stderr(void)
{
    char name[] = "/tmp/xonce-service-XXXXXX";
    errors = mkstemp(name);
    ck_assert_int_ge(errors, 0);
    ck_assert_int_eq(unlink(name), 0);
    was = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(errors, STDERR_FILENO), 0);
}

static const char *said(void)
{
    static char text[ROOM];
    (void)fflush(stderr);
    ssize_t n = pread(errors, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

static void give_back(void)
{
    ck_assert_int_ge(dup2(was, STDERR_FILENO), 0);
    (void)close(was);
    (void)close(errors);
    xo_log_to(NULL, NULL, NULL, XO_DEBUG);
}

static void name_journal(ino_t ino)
{
    struct stat s;
    char stream[64];
    ck_assert_int_eq(fstat(errors, &s), 0);
    (void)snprintf(stream, sizeof(stream), "%" PRIuMAX ":%" PRIuMAX, (uintmax_t)s.st_dev, (uintmax_t)(ino ? ino : s.st_ino));
    ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
}

START_TEST(the_journal_is_told_levels)
{
    take_stderr();
    name_journal(0);
    xo_out_error("no such %s", "file");
    xo_out_log(1);
    const xo_log_field field = {"id", NULL, 7};
    xo_log_fields(XO_WARN, "store", &field, 1, "away");
    xo_log(XO_INFO, "store", "back");
    ck_assert_str_eq(said(), "<3>xonce: no such file\n<4>store: away id=7\n<6>store: back\n");
    give_back();
}
END_TEST

START_TEST(others_are_not)
{
    take_stderr();
    name_journal(1);
    xo_out_error("one");
    (void)unsetenv("JOURNAL_STREAM");
    xo_out_error("two");
    ck_assert_str_eq(said(), "xonce: one\nxonce: two\n");
    ck_assert_str_eq(xo_service_level(XO_ERROR), "");
    name_journal(0);
    ck_assert_str_eq(xo_service_level(XO_DEBUG), "<7>");
    ck_assert_str_eq(xo_service_level(XO_DEBUG + 1), "");
    give_back();
}
END_TEST

/* Listens at `name` as the manager does; the part behind the first byte is the name when it is abstract. */
static int listen_at(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    ck_assert_uint_lt(strlen(name), sizeof(a.sun_path));
    memcpy(a.sun_path, name, strlen(name));
    a.sun_path[0] = name[0] == '@' ? '\0' : '/';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
    return fd;
}

START_TEST(the_manager_hears_of_the_start)
{
    char name[100], got[ROOM] = "";
    (void)snprintf(name, sizeof(name), "%sxonce-notify-%ld", _i ? "@" : "/tmp/", (long)getpid());
    (void)unlink(name);
    int fd = listen_at(name);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    xo_service_begin();
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    ck_assert_int_lt(recv(fd, got, sizeof(got) - 1, 0), 0);
    xo_service_ready();
    ck_assert_int_gt(recv(fd, got, sizeof(got) - 1, 0), 0);
    ck_assert_str_eq(got, "READY=1");
    (void)close(fd);
    (void)unlink(name);
}
END_TEST

START_TEST(without_a_manager)
{
    static const char *const bad[] = {NULL, "", "@", "relative", "/tmp/xonce-notify-nobody"};
    take_stderr();
    if (bad[_i]) {
        ck_assert_int_eq(setenv("NOTIFY_SOCKET", bad[_i], 1), 0);
    }
    xo_service_begin();
    ck_assert_str_eq(said(), "");
    xo_service_ready();
    if (_i == 4) { /* one that does not listen: it would end us for being silent, so people must hear of it */
        ck_assert_ptr_nonnull(strstr(said(), "NOTIFY_SOCKET"));
    } else {
        ck_assert_str_eq(said(), "");
    }
    give_back();
}
END_TEST

START_TEST(a_name_that_is_too_long)
{
    char name[ROOM];
    memset(name, 'x', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    take_stderr();
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    xo_service_begin();
    xo_service_ready();
    ck_assert_str_eq(said(), "");
    give_back();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("service");
    TCase *t = tcase_create("service");
    suite_add_tcase(s, t);
    tcase_add_test(t, the_journal_is_told_levels);
    tcase_add_test(t, others_are_not);
    tcase_add_loop_test(t, the_manager_hears_of_the_start, 0, 2);
    tcase_add_loop_test(t, without_a_manager, 0, 5);
    tcase_add_test(t, a_name_that_is_too_long);
    SRunner *sr = srunner_create(s);
    srunner_set_tap(sr, "-");
    srunner_run_all(sr, CK_SILENT);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
