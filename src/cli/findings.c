/* What check and doctor find, as text or JSON. */
#include "cli/findings.h"
#include "base/mem.h"
#include "cli/options.h"
#include "cli/output.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const levels[] = {"ok", "note", "unwise", "UNSAFE", "BROKEN"};
static const char *const json_levels[] = {"ok", "note", "unwise", "unsafe", "broken"};

static void add_json(xo_buf *b, const char *name, const char *value)
{
    xo_buf_printf(b, ",\"%s\":", name);
    xo_buf_json(b, value, strlen(value));
}

/* Others' words, a server's among them, go to a terminal. */
static void add_text(xo_findings *f, const char *lead, const char *text)
{
    char *clean = xo_out_clean(text, strlen(text));
    if (clean) {
        xo_buf_printf(&f->out, "%s%s\n", lead, clean);
    } else {
        f->out.failed = 1;
    }
    free(clean);
}

void xo_findings_area(xo_findings *f, const char *area, const char *about)
{
    f->area = area;
    free(f->about);
    f->about = about ? xo_strdup(about) : NULL;
    if (f->whole && !f->json) {
        char *head = xo_printf("%s%s%s", area, about ? "  " : "", about ? about : "");
        add_text(f, "", head ? head : area);
        free(head);
    }
}

void xo_findings_add(xo_findings *f, int severity, const char *what, const char *why, const char *remedy)
{
    int level = severity < XO_GOOD ? XO_GOOD : severity > XO_BROKEN ? XO_BROKEN : severity;
    why = why ? why : "";
    remedy = remedy ? remedy : "";
    f->worst = level > f->worst ? level : f->worst;
    f->problems += level >= XO_UNSAFE;
    if (level == XO_GOOD && !f->whole) {
        return;
    }
    if (f->json) {
        xo_buf_printf(&f->out, "%s{\"area\":\"%s\",\"severity\":%d,\"level\":\"%s\"", f->n ? "," : "", f->area ? f->area : "", level, json_levels[level + 1]);
        if (f->about) {
            add_json(&f->out, "about", f->about);
        }
        add_json(&f->out, "what", what);
        add_json(&f->out, "why", why);
        add_json(&f->out, "do", remedy);
        xo_buf_char(&f->out, '}');
    } else {
        char *lead = xo_printf("%s%s: ", f->whole ? "  " : "", levels[level + 1]);
        add_text(f, lead ? lead : "", what);
        free(lead);
        if (*why) {
            add_text(f, f->whole ? "      " : "    ", why);
        }
        if (*remedy) {
            add_text(f, f->whole ? "      > " : "    > ", remedy);
        }
    }
    f->n++;
}

void xo_findings_good(xo_findings *f, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    xo_findings_add(f, XO_GOOD, text, NULL, NULL);
}

void xo_findings_failed(xo_findings *f, int severity, const char *what)
{
    const xonce_error *e = xonce_error_last();
    const char *remedy = "";
    switch (e->code) {
    case XONCE_E_INVALID: remedy = "write it as the message says; `man xonce` has the forms of addresses and settings"; break;
    case XONCE_E_CONNECT:
    case XONCE_E_TIMEOUT: remedy = "check that it runs, host and port, and firewalls on the way"; break;
    case XONCE_E_AUTH: remedy = "check user, password or access key, and what they were granted"; break;
    case XONCE_E_SQL: remedy = "check the database's name, and that the server takes connections"; break;
    case XONCE_E_NOT_FOUND: remedy = "check the name, or make it"; break;
    case XONCE_E_PROTOCOL: remedy = "check that this is the right port, and which version answers there"; break;
    default: remedy = "docs/troubleshooting.md goes by the message"; break;
    }
    char *text = xo_printf("%s: %s", what, e->text[0] ? e->text : xonce_status_name(e->code));
    xo_findings_add(f, severity, text ? text : what, NULL, remedy);
    free(text);
}

void xo_findings_on(const xonce_finding *finding, void *arg)
{
    xo_findings_add(arg, finding->severity < 0 ? 0 : finding->severity, finding->what, finding->why, finding->sql);
}

int xo_findings_show(xo_findings *f, const char *more)
{
    if (f->json) {
        xo_out("{%s\"findings\":[", more ? more : "");
        xo_out_buf(&f->out);
        xo_out("],\"problems\":%s}\n", f->problems ? "true" : "false");
    } else {
        xo_out_buf(&f->out);
        xo_out(f->n == 0 ? "nothing was found\n" : f->problems ? "problems were found\n" : "no problems were found\n");
    }
    free(f->about);
    f->about = NULL;
    return f->problems ? XO_EXIT_NOT : XO_EXIT_OK;
}
