/* An endpoint in this process, in a folder of its own, and one connection to it. */
#ifndef XO_ENDPOINT_RIG_H
#define XO_ENDPOINT_RIG_H
#include "endpoint/endpoint.h"
#include "tests/proto/wire.h"
typedef struct {
    char dir[64];
    xo_endpoint_options o;
    xo_endpoint *ep;
    int port;
    wire w;
} rig;
void rig_init(rig *r);    /* a folder and options: no authorization, redelivery after 1.2 s */
void rig_start(rig *r);
void rig_stop(rig *r);    /* the folder stays */
void rig_requests(rig *r, long long n); /* waits until so many have begun since its start */
void rig_end(rig *r);     /* and the folder goes */
/* Messages taken by one consume; those of its fields that tests look at. */
typedef struct {
    int n;
    char *id[16], *body[16], *handle[16];
    long long times[16], first[16], next[16];
} taken;
/* Consumes and reads the answer; n is 0 for MessageNotExist. Fails the test on anything else. */
void rig_take(rig *r, wire *w, taken *t, const char *topic, const char *group, int max, int wait_s, const char *more);
int rig_ack(wire *w, const taken *t, const char *topic, const char *group, const char *more);
void taken_free(taken *t);
/* Sends and checks for 201; the id when wanted, caller frees. */
char *rig_send(wire *w, const char *topic, const char *body, const char *tag, const char *properties);
void rig_sent(wire *w, const char *topic, const char *body, const char *tag, const char *properties);
/* The answer is an Error with that status and Code. */
void rig_refused(const wire *w, int status, const char *code);
#endif
