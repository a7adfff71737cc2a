# What the tests of bad input share: messages, a good consumer whose work SQL judges, and a look for secrets in all that was said.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"
export ALIBABA_CLOUD_ACCESS_KEY_ID=bad-input-test ALIBABA_CLOUD_ACCESS_KEY_SECRET=marker-secret
unset ALIBABA_CLOUD_SECURITY_TOKEN XONCE_STORE
SECRETS='marker-secret|marker-password'
cd "$T" || exit 1
x=$XONCE
endpoint=(--instance MQ_INST_bad)
database sqlite # of the good consumer; tests with servers take another one
GOOD='INSERT INTO done (topic, body) VALUES (:topic, :body)'

make_store() {
    "$x" init --store "$STORE" >init.out 2>&1 || bail "init: $(cat init.out)"
    db "CREATE TABLE done (topic varchar(100), body varchar(2000))" >/dev/null || bail "no table"
}

# start_endpoint NAME ARGS...: over the queues of before
start_endpoint() {
    local name=$1
    shift
    start_serve "$name" --data "$T/queues" "${endpoint[@]}" --redeliver 1s "$@" || bail "serve: $(tail -n 3 "$name.err")"
}
send() { timeout 60 "$x" send --to "$SERVE_URL" "${endpoint[@]}" --topic "$@"; }
# feed TOPIC N: messages 1 to N
feed() {
    local said
    said=$(seq 1 "$2" | send "$1" 2>&1)
    [ "$said" = "sent $2" ] || bail "send to $1: $said"
}
# consume TOPIC GROUP ARGS...: into the store until idle
consume() {
    local topic=$1 group=$2
    shift 2
    timeout 60 "$x" consume --from "${FROM:-$SERVE_URL}" "${endpoint[@]}" --topic "$topic" --group "$group" --store "${INTO:-$STORE}" --exit-when-idle "${IDLE:-1s}" "$@"
}

# refused STATUS REGEX NAME COMMAND...: it ends with this status and says this on stderr; no secret is told
refused() {
    local want=$1 text=$2 name=$3 got said
    shift 3
    "$@" >out 2>err </dev/null
    got=$?
    said=$(cat err)
    if [ "$got" -ne "$want" ]; then
        not_ok "$name" "exit status $got, wanted $want: $(tail -n 5 out err)"
    elif ! [[ $said =~ $text ]]; then
        not_ok "$name" "wanted $text in: $said"
    elif [[ $said$(cat out) =~ $SECRETS ]]; then
        not_ok "$name" "a secret is told: $said"
    else
        ok "$name"
    fi
}

applied() { db "SELECT COUNT(*) FROM done WHERE topic = '$1'"; }
has_applied() { [ "$(applied "$1")" -ge "$2" ]; }
# all_once TOPIC N NAME: each of its messages is there once
all_once() { is "$(applied "$1") rows, $(db "SELECT COUNT(DISTINCT body) FROM done WHERE topic = '$1'") messages" "$2 rows, $2 messages" "$3"; }
# nothing_lost TOPIC N NAME [ARGS...]: a good consumer gets each of its messages, and applies it once
nothing_lost() {
    local topic=$1 n=$2 name=$3
    shift 3
    if IDLE=${IDLE:-2500ms} consume "$topic" GID_bad --sql "$GOOD" "$@" >good.out 2>good.err </dev/null; then
        like "$(tail -n 1 good.out)" ' 0 rejected' "$name: a good consumer goes on"
    else
        not_ok "$name: a good consumer goes on" "$(tail -n 3 good.err)"
    fi
    all_once "$topic" "$n" "$name: nothing is lost"
}
