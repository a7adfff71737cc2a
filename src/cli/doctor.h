/* Looking at a database and at a source, for check and doctor: what is found goes into a list of findings. */
#ifndef XO_CLI_DOCTOR_H
#define XO_CLI_DOCTOR_H
#include "cli/findings.h"
#include "store/store.h"

typedef struct {
    const char *store, *from;  /* URIs; NULL: that half is left out */
    const char *group, *topic; /* NULL: not named */
    const xonce_config *cfg;
} xo_doctor;
/* An open database: what xonce_store_check() finds, and with f->whole also version, way, connections and the group. */
xonce_status xo_doctor_look(const xo_doctor *d, xonce_store *s, xo_findings *f);
/* The same, opening it: what cannot be opened is a finding. */
void xo_doctor_store(const xo_doctor *d, xo_findings *f);
/* The source by its URI. Takes no message and leaves no trace in the group. */
void xo_doctor_source(const xo_doctor *d, xo_findings *f);
void xo_doctor_rocketmq(const xo_doctor *d, xo_findings *f);
/* A finding when this machine's clock and another differ by off ms (theirs minus ours) and by more than they may. exact: how well off is known, ms. */
void xo_doctor_clock(xo_findings *f, const char *whose, int64_t off, int64_t exact);
#endif
