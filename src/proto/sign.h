/* The signature of the RocketMQ HTTP protocol (docs/http-protocol.md). */
#ifndef XO_SIGN_H
#define XO_SIGN_H
#include "base/credentials.h"
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
