/* Who we are to an endpoint or a broker: the access key and its secret. */
#ifndef XO_CREDENTIALS_H
#define XO_CREDENTIALS_H
#include "base/error.h"
typedef struct {
    char *access_key_id, *access_key_secret, *security_token; /* token: NULL without STS */
} xo_credentials;
/* From cfg (credentials.access-key-id, .access-key-secret, .security-token), else credentials.file, else the
   environment ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN. XONCE_E_AUTH
   naming the variables when there are none. */
xonce_status xo_credentials_load(xo_credentials *out, const xonce_config *cfg);
/* As before, but having none is fine: *found 0 and an empty *out. */
xonce_status xo_credentials_find(xo_credentials *out, const xonce_config *cfg, int *found);
void xo_credentials_free(xo_credentials *c); /* wipes */
#endif
