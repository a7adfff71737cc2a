#!/usr/bin/env bash
# The public HTTP clients of RocketMQ for Node.js, Python, Go and Java against `xonce serve`, by the same twelve checks each.
# They are installed when the test runs, into $XONCE_CLIENTS_CACHE when it is set; a language or a package that is not to be had is skipped visibly.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
clients=$TOP_SRCDIR/tests/interop/clients
cache=${XONCE_CLIENTS_CACHE:-$T/clients}
mkdir -p "$cache" || bail "cannot write to $cache"
export ALIBABA_CLOUD_ACCESS_KEY_ID=interop ALIBABA_CLOUD_ACCESS_KEY_SECRET=interop-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN
export no_proxy="127.0.0.1${no_proxy:+,$no_proxy}" NO_PROXY="127.0.0.1${NO_PROXY:+,$NO_PROXY}"
wanted="round-trip empty-queue long-poll-wakes tags partly-acknowledged comes-again ordered commit rollback half-is-offered delayed refusals"

# installs into $PWD, prints why it cannot
install_node() {
    printf '{"name":"clients","version":"1.0.0","private":true}\n' >package.json
    npm install --no-audit --no-fund --silent @aliyunmq/mq-http-sdk@1.0.4
}
install_python() { python3 -m venv venv && venv/bin/python -m pip install -q mq-http-sdk==1.0.3; }
install_go() {
    cp "$clients/clients.go" main.go
    cat >go.mod <<'MOD'
module clients
go 1.20
require (
	github.com/aliyunmq/mq-http-go-sdk v1.0.3
	github.com/gogap/errors v0.0.0-20210818113853-edfbba0ddea9
	github.com/gogap/stack v0.0.0-20150131034635-fef68dddd4f8
	github.com/valyala/fasthttp v1.52.0
)
MOD
    GOFLAGS=-mod=mod go mod tidy && GOFLAGS=-mod=mod go build -o clients .
}
install_java() {
    cat >pom.xml <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>clients</artifactId><version>1</version>
<dependencies><dependency><groupId>com.aliyun.mq</groupId><artifactId>mq-http-sdk</artifactId><version>1.0.3.2</version></dependency>
<dependency><groupId>org.glassfish.jaxb</groupId><artifactId>jaxb-runtime</artifactId><version>2.3.9</version></dependency></dependencies></project>
POM
    mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib && javac -encoding UTF-8 -cp 'lib/*' -d . "$clients/Clients.java"
}
tools_node="node npm"
tools_python="python3"
tools_go="go"
tools_java="java javac mvn"
run_node() { cp "$clients/clients.js" . && node clients.js; }
run_python() { venv/bin/python "$clients/clients.py"; }
run_go() { ./clients; }
run_java() { java -Dfile.encoding=UTF-8 -cp 'lib/*:.' Clients; }

# Runs one client; each wanted check is a result, also one that it never came to.
drive() {
    local name=$1 tool check
    for tool in $(eval "echo \$tools_$name"); do
        command -v "$tool" >/dev/null || { skip "there is no $tool here" "$name"; return; }
    done
    mkdir -p "$cache/$name"
    if [ ! -e "$cache/$name/installed" ] && ! (cd "$cache/$name" && "install_$name") >"$T/$name.install" 2>&1; then
        note "$(tail -n 5 "$T/$name.install")"
        skip "its client cannot be installed" "$name"
        return
    fi
    : >"$cache/$name/installed"
    start_serve "serve-$name" --data "$T/data-$name" --instance MQ_INST_interop --redeliver 4s --strict --topic plain --topic ordered:ordered \
        --topic delayed:timed --topic trans:transaction || { not_ok "$name: the endpoint starts"; return; }
    export MQ_ENDPOINT=$SERVE_URL MQ_GROUP="GID_$name"
    (cd "$cache/$name" && timeout 300 "$BASH" -c "$(declare -f "run_$name"); clients='$clients'; run_$name") >"$T/$name.out" 2>"$T/$name.err"
    for check in $wanted; do
        if grep -qxF "ok $check" "$T/$name.out"; then
            ok "$name: $check"
        else
            not_ok "$name: $check" "$(grep -F " $check" "$T/$name.out"; tail -n 5 "$T/$name.err")"
        fi
    done
    stop "$SERVE_PID"
    like "$(tail -n 1 "$T/serve-$name.err")" '[0-9]+ requests, [0-9]+ accepted' "$name: the endpoint ends in order"
}

for name in ${XONCE_CLIENTS:-node python go java}; do drive "$name"; done
done_testing
