#!/usr/bin/env bash
# https: an endpoint with a certificate of our own CA is trusted with --cacert and not without, and only under its own name.
. "${TOP_SRCDIR:?}/tests/consumer/badlib.sh"
command -v openssl >/dev/null || skip_all "needs the program openssl"
make_store
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }
# certificate NAME ALTNAME: signed by our CA
certificate() {
    new_key "$1" && openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null &&
        openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile <(echo "subjectAltName=$2") -out "$1.pem" 2>/dev/null
}
new_key ca && openssl req -x509 -new -key ca.key -subj /CN=xonce-test-ca -days 2 -out ca.pem 2>/dev/null &&
    certificate here IP:127.0.0.1 && certificate elsewhere DNS:elsewhere.example || bail "openssl makes no certificates"

refused 2 'go together' "a certificate without its key" timeout 20 "$x" serve --listen 127.0.0.1:0 --data none --tls-cert here.pem
refused 2 'nowhere.pem: No such file' "a certificate that is not there" timeout 20 "$x" serve --listen 127.0.0.1:0 --data none --tls-cert nowhere.pem --tls-key here.key
refused 1 'belong together' "a key of another certificate" timeout 20 "$x" serve --listen 127.0.0.1:0 --data none --tls-cert here.pem --tls-key elsewhere.key

# the second where no CA certificates at all are installed (Debian package ca-certificates)
untrusted='TLS failed \((SSL certificate problem: unable to get local issuer certificate|error setting certificate file)'
start_endpoint tls --tls-cert here.pem --tls-key here.key
like "$SERVE_URL" '^https://' "serve tells its https URL"
echo 1 | send orders >out 2>err
is "$?/$(cat out)" "1/sent 0" "send without --cacert sends nothing"
like "$(cat err)" "$untrusted" "and says why"
is "$(seq 1 20 | send orders --cacert ca.pem)" "sent 20" "send with --cacert"
refused 1 "$untrusted" "consume without --cacert" consume orders GID_bad --sql "$GOOD"
refused 2 'nowhere.pem cannot be read' "a --cacert that is not there" consume orders GID_bad --sql "$GOOD" --cacert nowhere.pem
refused 1 'setting certificate' "a --cacert without a certificate" consume orders GID_bad --sql "$GOOD" --cacert ca.key
FROM=http://${SERVE_URL#https://} refused 1 'broke off|not HTTP' "http where https is spoken" consume orders GID_bad --sql "$GOOD"
all_once orders 0 "until now no message was applied"
nothing_lost orders 20 "with --cacert" --cacert ca.pem
stop "$SERVE_PID"

start_endpoint name --tls-cert elsewhere.pem --tls-key elsewhere.key
refused 1 'TLS failed \(.*127.0.0.1' "a certificate for another host" consume orders GID_bad --sql "$GOOD" --cacert ca.pem
done_testing
