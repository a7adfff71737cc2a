/* Credentials and the signature of the RocketMQ HTTP protocol (docs/http-protocol.md). */
#ifndef XO_SIGN_H
#define XO_SIGN_H
#include "base/error.h"
typedef struct {
    char *access_key_id, *access_key_secret, *security_token; /* token: NULL without STS */
} xo_credentials;
/* From cfg (credentials.access-key-id, .access-key-secret, .security-token), else credentials.file, else the
   environment ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN. XONCE_E_AUTH
   naming the variables when there are none. */
xonce_status xo_credentials_load(xo_credentials *out, const xonce_config *cfg);
void xo_credentials_free(xo_credentials *c); /* wipes */
typedef struct {
    const char *name, *value;
} xo_header;
/* StringToSign of a request: target is the request target exactly as on the wire. Headers in any order and case. */
xonce_status xo_string_to_sign(char **out, const char *method, const char *target, const xo_header *h, size_t nh);
/* base64(hmac-sha1(secret, string)): 28 characters. */
xonce_status xo_sign(char out[29], const char *secret, const char *string_to_sign);
/* Splits "MQ id:signature". XONCE_E_INVALID when malformed. id is cut out into a buffer of the caller's. */
xonce_status xo_parse_authorization(const char *value, char *id, size_t size, const char **signature);
void xo_http_date(char out[30], int64_t now_ms);             /* Tue, 24 Nov 2026 08:00:00 GMT */
xonce_status xo_parse_http_date(const char *s, int64_t *ms); /* that form only */
#endif
