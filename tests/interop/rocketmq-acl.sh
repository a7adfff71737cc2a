#!/usr/bin/env bash
# A broker that looks at rights (users and their rights, as RocketMQ 5 has them): what xonce doctor says of keys and rights that are wrong or missing, and that a consumer with
# just the rights which the manual names takes messages, sends them back and gets them again. In make check-long only.
. "$(dirname "$0")/rmqlib.sh"
rocketmq_need
SECRET=secret-of-the-admin
[ "${ROCKETMQ_VERSION%%.*}" -ge 5 ] || skip_all "users and their rights are RocketMQ 5's"
auth=org.apache.rocketmq.auth
rocketmq_begin authenticationEnabled=true "authenticationProvider=$auth.authentication.provider.DefaultAuthenticationProvider" \
    "authenticationMetadataProvider=$auth.authentication.provider.LocalAuthenticationMetadataProvider" 'initAuthenticationUser={"username":"admin","password":"'$SECRET'"}' \
    'innerClientAuthenticationCredentials={"accessKey":"admin","secretKey":"'$SECRET'"}' authorizationEnabled=true \
    "authorizationProvider=$auth.authorization.provider.DefaultAuthorizationProvider" "authorizationMetadataProvider=$auth.authorization.provider.LocalAuthorizationMetadataProvider" \
    messageDelayLevel="1s 1s 1s 1s 1s 1s 1s 1s"
# user NAME RIGHTS...: RESOURCES=ACTIONS
user() {
    local name=$1 right
    shift
    rocketmq_admin createUser -c "$ROCKETMQ_CLUSTER" -u "$name" -p "secret-of-$name" >"$T/admin.out" || bail "createUser: $(cat "$T/admin.out")"
    for right in "$@"; do
        rocketmq_admin createAcl -c "$ROCKETMQ_CLUSTER" -s "User:$name" -r "${right%=*}" -a "${right#*=}" -d Allow >"$T/admin.out" || bail "createAcl: $(cat "$T/admin.out")"
    done
}
printf 'accessKey: admin\nsecretKey: %s\n' $SECRET >"$ROCKETMQ_DIR/namesrv/base/conf/tools.yml"
rocketmq_admin updateTopic -c "$ROCKETMQ_CLUSTER" -t orders -r 2 -w 2 >"$T/admin.out" || bail "updateTopic: $(cat "$T/admin.out")"
wait_for 30 rocketmq_route_has orders broker-a 2 || bail "no topic"
user member Topic:orders=Pub,Sub,Get Group:GID_acl=Sub,Get
user stranger
user half Topic:orders=Sub,Get
user taker Topic:orders=Sub Group:GID_acl=Sub
user blind Topic:orders=Sub,Get Group:GID_acl=Sub
shop acl sqlite

# as USER COMMAND...: with the user's own key; USER:SECRET another one
as() {
    local name=${1%:*} secret=secret-of-$1
    [ "$name" = "$1" ] || secret=${1#*:}
    shift
    env ALIBABA_CLOUD_ACCESS_KEY_ID="$name" ALIBABA_CLOUD_ACCESS_KEY_SECRET="$secret" timeout 60 "$@"
}
look=("$XONCE" doctor --from "$FROM" --topic orders --group GID_acl)
# refused USER REGEX NAME: doctor finds it, says what to do, and no secret
refused() {
    exits 3 "$3" as "$1" "${look[@]}"
    like "$(cat "$T/out")" "BROKEN: broker broker-a refuses $2" "$3: is told"
    like "$(cat "$T/out")" '> check the access key and its secret; .*Topic:orders,Group:GID_acl -a Sub,Get' "$3: with what to do"
    unlike "$(cat "$T/out" "$T/err")" 'secret-of|wrong-one' "$3: no secret"
}
exits 0 "the rights that a member needs" as member "${look[@]}"
unlike "$(cat "$T/out")" 'refuses' "nothing is missing"
refused member:wrong-one '.*(signature|Signature)' "a wrong secret"
is "$(grep -c refuses "$T/out")" 1 "it is told once"
refused nobody '.*(nobody|No accessKey|not exist|user|User)' "a key that nobody has"
refused stranger '.*(no permission|No default permission|permission)' "a user without rights"
refused half 'the members of the group \(Sub\)|refuses messages of the topic for the group' "no right on the group"
refused taker 'offsets of the topic \(Get\)' "Sub alone"
refused blind "offsets of the group's retry topic \(Get of the group\)" "no Get of the group"

# ---- and the rights are enough ----
for i in 1 2 3; do printf '{"id":"p%d","amount":%d,"queue":"q","seq":%d}\n' $i $i $i; done | as member "$XONCE" send --to "$FROM" --topic orders >"$T/send.out" 2>&1 || bail "send: $(cat "$T/send.out")"
printf '#!/bin/sh\n[ "$XONCE_ATTEMPT" -gt 1 ]\n' >"$T/once" && chmod +x "$T/once"
settings "$T/acl.conf" $QUICK
start taker env ALIBABA_CLOUD_ACCESS_KEY_ID=member ALIBABA_CLOUD_ACCESS_KEY_SECRET=secret-of-member "$XONCE" consume --from "$FROM" --topic orders --group GID_acl --store "${STORE[acl]}" \
    --config "$T/acl.conf" --exec "$T/once"
three_recorded() { [ "$(records acl)" = 3 ]; }
check "each message fails once, is sent back and applied then" wait_for 90 three_recorded
stop "$STARTED"
like "$(tail -n 1 "$T/taker.out")" '^consumed 3 fresh, 0 duplicate, 0 rejected, 3 retried' "each once"
exits 0 "xonce explain --at: by its place" "$XONCE" explain --store "${STORE[acl]}" --group GID_acl --at orders/broker-a/0/0
like "$(cat "$T/out")" '^[0-9A-F]{32}: applied by group GID_acl' "also what came out of the retry topic is found at its own"
unlike "$(cat "$T/taker.err")" 'NO_PERMISSION|AclException' "no right was missing on the way"
done_testing
