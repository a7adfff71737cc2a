/* xonce convert: reads a Spring XML of the Java consumer, writes settings, a handler skeleton and a report. */
#include "cli/cli.h"
#include "cli/convert.h"
#include "cli/output.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_FILES = 32, MOST_OUTPUTS = 3 * 64 + 1 };

typedef struct {
    const char *dir, *properties, *encoding, *profile, *data_source;
    int force, secrets;
} options;

typedef struct {
    const char *path;
    xo_buf text;
    mode_t mode;
} output;
typedef struct {
    output items[MOST_OUTPUTS];
    size_t n;
} outputs;

static output *add_output(xo_cv *cv, outputs *all, const char *dir, const char *stem, const char *end, mode_t mode)
{
    output *o = &all->items[all->n++];
    o->path = xo_cv_format(cv, "%s/%s%s", dir, stem, end);
    o->mode = mode;
    return o;
}

static void make_outputs(xo_cv *cv, outputs *all, const options *o)
{
    for (size_t i = 0; i < cv->nconsumers; i++) {
        const xo_cv_consumer *c = &cv->consumers[i];
        xo_cv_write_conf(&add_output(cv, all, o->dir, xo_cv_stem(cv, c, "xonce"), ".conf", 0666)->text, cv, c);
        xo_cv_write_environment(&add_output(cv, all, o->dir, xo_cv_stem(cv, c, "xonce"), ".env", 0600)->text, cv, c, o->secrets);
        xo_cv_write_skeleton(&add_output(cv, all, o->dir, xo_cv_stem(cv, c, "consumer"), ".c", 0666)->text, cv, c);
    }
    xo_cv_write_report(&add_output(cv, all, o->dir, "report", ".md", 0666)->text, cv, o->dir);
}

/* One file, new: an old one is replaced as a whole and only when asked for. */
static int write_one(const output *o, int force)
{
    if (force && unlink(o->path) != 0 && errno != ENOENT) {
        xo_out_error("%s: cannot be replaced: %s", o->path, strerror(errno));
        return XO_EXIT_FAILED;
    }
    int fd = open(o->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, o->mode);
    size_t done = 0;
    while (fd >= 0 && done < o->text.len) {
        ssize_t n = write(fd, o->text.p + done, o->text.len - done);
        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    int why = errno;
    if (fd >= 0 && close(fd) != 0) {
        why = errno;
        done = o->text.len + 1;
    }
    if (fd < 0 || done != o->text.len) {
        xo_out_error("%s: cannot be written: %s", o->path, strerror(why));
        return XO_EXIT_FAILED;
    }
    return XO_GO_ON;
}

/* All or nothing: whether a file stands in the way is looked at before the first is written. */
static int write_all(const outputs *all, const options *o)
{
    struct stat there;
    for (size_t i = 0; i < all->n; i++) {
        if (xo_buf_status(&all->items[i].text) != XONCE_OK) {
            return xo_out_failed(all->items[i].path);
        }
        if (!o->force && lstat(all->items[i].path, &there) == 0) {
            xo_out_error("%s is there already; --force replaces it, --dir DIR writes elsewhere; nothing was written", all->items[i].path);
            return XO_EXIT_FAILED;
        }
    }
    if (mkdir(o->dir, 0777) != 0 && errno != EEXIST) {
        xo_out_error("%s: cannot be made: %s", o->dir, strerror(errno));
        return XO_EXIT_FAILED;
    }
    int rc = XO_GO_ON;
    for (size_t i = 0; i < all->n && rc == XO_GO_ON; i++) {
        rc = write_one(&all->items[i], o->force);
    }
    return rc;
}

static int tell(const xo_cv *cv, const outputs *all)
{
    size_t settings = 0, refused = 0, topics = 0, stops = 0, differs = 0;
    for (size_t i = 0; i < cv->nconsumers; i++) {
        for (size_t k = 0; k < cv->consumers[i].nsettings; k++) {
            *(cv->consumers[i].settings[k].wrong ? &refused : &settings) += 1;
        }
        topics += cv->consumers[i].nsubscriptions;
    }
    for (size_t i = 0; i < cv->nnotes; i++) {
        stops += cv->notes[i].level == XO_CV_STOP;
        differs += cv->notes[i].level == XO_CV_DIFFERS;
    }
    for (size_t i = 0; i < all->n; i++) {
        xo_out("wrote %s\n", all->items[i].path);
    }
    for (size_t i = 0; i < cv->nnotes; i++) {
        if (cv->notes[i].level == XO_CV_STOP) {
            char *clean = xo_out_clean(cv->notes[i].text, strlen(cv->notes[i].text));
            xo_out("to decide: %s%s%s\n", cv->notes[i].where, *cv->notes[i].where ? ": " : "", clean ? clean : "");
            free(clean);
        }
    }
    xo_out("consumers %zu, topics %zu, settings %zu taken over and %zu refused, without a counterpart %zu, to decide %zu\n", cv->nconsumers, topics, settings, refused, differs, stops);
    return stops ? XO_EXIT_NOT : XO_EXIT_OK;
}

static xonce_status read_inputs(xo_cv *cv, const options *o, char **files, size_t n)
{
    xonce_status st = XONCE_OK;
    if (o->properties) {
        const char *p, *slash = strrchr(o->properties, '/');
        size_t len;
        st = xo_cv_read_file(cv, o->properties, &p, &len);
        if (st == XONCE_OK) {
            cv->properties = slash ? slash + 1 : o->properties;
            xo_cv_properties(cv, &cv->given, p, len);
        }
    }
    for (size_t i = 0; i < n && st == XONCE_OK; i++) {
        st = xo_cv_parse(cv, files[i]);
    }
    return st == XONCE_OK ? xo_cv_model(cv) : st;
}

static int run(const options *o, char **files, size_t n)
{
    xo_cv cv = {.encoding = o->encoding, .profile = o->profile, .data_source = o->data_source};
    outputs *all = xo_calloc(1, sizeof(*all));
    int rc = XO_EXIT_FAILED;
    if (!all) {
        (void)xo_nomem();
        (void)xo_out_failed(NULL);
    } else if (read_inputs(&cv, o, files, n) != XONCE_OK) {
        (void)xo_out_failed(NULL);
    } else {
        make_outputs(&cv, all, o);
        if (cv.failed) {
            (void)xo_nomem();
            (void)xo_out_failed(NULL);
        } else {
            rc = write_all(all, o);
            rc = rc == XO_GO_ON ? tell(&cv, all) : rc;
        }
    }
    for (size_t i = 0; all && i < all->n; i++) {
        xo_wipe(all->items[i].text.p, all->items[i].text.cap);
        xo_buf_free(&all->items[i].text);
    }
    free(all);
    xo_cv_free(&cv);
    return rc;
}

static const char about[] =
    "Reads the Spring XML of a Java consumer (ExactlyOnceConsumer or another bean of the ONS client, MQDataSource, properties, subscriptions) and writes settings (xonce.conf), the environment "
    "that it needs (xonce.env), a program in C with a handler for each listener (consumer.c), and a report of what has no counterpart here (report.md). "
    "With several consumers each has files of its own, named after its bean. What a listener does is Java code: that is for you to write down.\n"
    "Keys and passwords are never written into xonce.conf. They belong into xonce.env, which only its user can read, and stand there when --secrets is given.";
static const char notes[] =
    "Nothing is fetched: no DTD, no schema, no import. Entities are refused. A placeholder that --properties does not resolve becomes an environment variable.\n"
    "Exit code 3: the files are written, but something is to be decided before they are of use; it is told, and stands in report.md.";

int xo_cmd_convert(int argc, char **argv)
{
    options o = {.dir = "."};
    size_t nrest;
    const xo_arg args[] = {
        {"dir", "DIR", XO_ARG_TEXT, &o.dir, NULL, 0, 0, "where to write; made when it is not there; default: the current folder"},
        {"force", NULL, XO_ARG_SWITCH, &o.force, NULL, 0, 0, "replace files that are there already"},
        {"secrets", NULL, XO_ARG_SWITCH, &o.secrets, NULL, 0, 0, "copy keys and passwords into xonce.env"},
        {"properties", "FILE", XO_ARG_TEXT, &o.properties, NULL, 0, 0, "a .properties file for the placeholders, as ${mq.topic}"},
        {"profile", "NAME", XO_ARG_TEXT, &o.profile, NULL, 0, 0, "active profiles, separated by commas; default: those of <beans profile=\"default\"> and of no profile"},
        {"data-source", "ID", XO_ARG_TEXT, &o.data_source, NULL, 0, 0, "the bean of the consumers' database, where there are several"},
        {"encoding", "NAME", XO_ARG_TEXT, &o.encoding, NULL, 0, 0, "the encoding of the XML when it declares a wrong one, as GBK"},
    };
    const xo_usage usage = {
        .name = "convert",
        .synopsis = "FILE.xml... [--dir DIR] [OPTION]...",
        .about = about,
        .example = "  xonce convert consumer.xml --properties mq.properties --dir orders",
        .notes = notes,
        .args = args,
        .nargs = sizeof(args) / sizeof(args[0]),
        .max_rest = MOST_FILES,
    };
    int rc = xo_args_parse(&usage, argc, argv, &nrest);
    if (rc != XO_GO_ON) {
        return rc;
    }
    if (nrest == 0) {
        return xo_args_wrong(&usage, "the XML file is missing");
    }
    if (o.encoding && (!*o.encoding || strlen(o.encoding) > 40)) {
        return xo_args_wrong(&usage, "--encoding: the name has 1 to 40 characters");
    }
    return run(&o, argv + 1, nrest);
}
