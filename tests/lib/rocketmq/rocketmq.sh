# A private RocketMQ for tests: one name server and any number of brokers on free loopback ports, all data below one folder. Sourced, after tests/lib/tap.sh.
#
#   rocketmq_need                    skips the whole script when java, mvn or the jars are not to be had; sets ROCKETMQ_CLASSES for rocketmq_java
#   rocketmq_begin [KEY=VALUE...]    name server and broker-a with these lines in its configuration; sets NS (HOST:PORT); ended with the script
#   rocketmq_start|stop|kill WHAT    WHAT: namesrv, broker-a, broker-b...; a first start of a broker takes KEY=VALUE too, and its port from $ROCKETMQ_PORT;
#                                    ports stay the same
#   rocketmq_topic NAME QUEUES [BROKER...]      rocketmq_ask PORT CODE FIELDS [BODY]      rocketmq_admin COMMAND...      rocketmq_java CLASS...
#
# XONCE_ROCKETMQ chooses the server's version (5.3.3). The jars' class paths are remembered in $XDG_CACHE_HOME (~/.cache) or, failing that, in the build's folder. MVN_ARGS are
# more arguments for mvn.
ROCKETMQ_VERSION=${XONCE_ROCKETMQ:-5.3.3}
rocketmq_here=$TOP_SRCDIR/tests/lib/rocketmq
ROCKETMQ_CLUSTER=xonce-test
: "${JAVA:=${JAVA_HOME:+$JAVA_HOME/bin/}java}" "${JAVAC:=${JAVA_HOME:+$JAVA_HOME/bin/}javac}" "${MVN:=mvn}"

# ---- jars

rocketmq_cache() {
    local dir
    for dir in "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/xonce-test" "$TOP_BUILDDIR/rocketmq-cache" "$T/rocketmq-cache"; do
        mkdir -p "$dir" 2>/dev/null && [ -w "$dir" ] && { printf '%s\n' "$dir"; return; }
    done
}

# Is every file of a class path there?
rocketmq_path_whole() {
    local jar jars
    [ -s "$1" ] && [ "$1" -nt "$rocketmq_here/pom.xml" ] || return 1
    IFS=: read -ra jars <"$1"
    for jar in "${jars[@]}"; do [ -e "$jar" ] || return 1; done
}

# rocketmq_path server|clients: prints a class path; 1 when Maven cannot find the jars
rocketmq_path() {
    local what=$1 file=$rocketmq_store/$1.classpath
    [ "$what" = clients ] || file=$rocketmq_store/$what-$ROCKETMQ_VERSION.classpath
    (
        flock 9
        rocketmq_path_whole "$file" && exit 0
        # shellcheck disable=SC2086
        timeout 600 "$MVN" -q -B ${MVN_ARGS:-} -f "$rocketmq_here/pom.xml" "-P$what" -Dserver="$ROCKETMQ_VERSION" dependency:build-classpath \
            -Dmdep.outputFile="$file.new" >"$file.log" 2>&1 </dev/null && mv "$file.new" "$file"
    ) 9>"$rocketmq_store/lock" && cat "$file"
}

rocketmq_need() {
    local tool
    for tool in "$JAVA:default-jre-headless" "$JAVAC:default-jdk-headless" "$MVN:maven"; do
        command -v "${tool%:*}" >/dev/null || skip_all "there is no ${tool%:*} here (Debian package ${tool##*:})"
    done
    rocketmq_store=$(rocketmq_cache)
    rocketmq_server=$(rocketmq_path server) || skip_all "Maven cannot get the jars of org.apache.rocketmq:rocketmq-broker:$ROCKETMQ_VERSION ($rocketmq_store/server-$ROCKETMQ_VERSION.classpath.log)"
    rocketmq_clients=$(rocketmq_path clients) || skip_all "Maven cannot get the jars of com.aliyun.openservices:ons-client and others ($rocketmq_store/clients.classpath.log)"
    rocketmq_opens=()
    if "$JAVA" --list-modules >/dev/null 2>&1; then
        for tool in java.lang java.util java.nio sun.nio.ch jdk.internal.ref; do rocketmq_opens+=(--add-opens "java.base/$tool=ALL-UNNAMED"); done
    fi
    # our Java programs and the server's small part, compiled once for these sources and this version
    ROCKETMQ_CLASSES=$rocketmq_store/classes-$ROCKETMQ_VERSION-$(cat "$rocketmq_here"/*.java "$TOP_SRCDIR"/tests/interop/java/*.java "$rocketmq_here/pom.xml" | cksum | tr ' ' -)
    (
        flock 9
        [ -e "$ROCKETMQ_CLASSES/done" ] && exit 0
        mkdir -p "$ROCKETMQ_CLASSES/server" "$ROCKETMQ_CLASSES/clients" &&
            "$JAVAC" -nowarn -proc:none -encoding UTF-8 -cp "$rocketmq_clients" -d "$ROCKETMQ_CLASSES/clients" "$TOP_SRCDIR"/tests/interop/java/*.java &&
            { "$JAVAC" -nowarn -proc:none -cp "$rocketmq_server" -d "$ROCKETMQ_CLASSES/server" "$rocketmq_here"/*.java && mkdir -p "$ROCKETMQ_CLASSES/server/META-INF/service" &&
                echo LoopbackReplication >"$ROCKETMQ_CLASSES/server/META-INF/service/org.apache.rocketmq.store.ha.HAService" || [ "${ROCKETMQ_VERSION%%.*}" -lt 5 ]; } &&
            : >"$ROCKETMQ_CLASSES/done"
    ) 9>"$rocketmq_store/lock" >"$T/javac.out" 2>&1 || bail "javac: $(head -n 20 "$T/javac.out")"
    [ "${ROCKETMQ_VERSION%%.*}" -ge 5 ] || rm -rf "$ROCKETMQ_CLASSES/server/META-INF" # 4.x looks elsewhere and has another interface
}

# ---- processes

rocketmq_pid() { cat "$ROCKETMQ_DIR/$1/pid" 2>/dev/null; }
rocketmq_port() { cat "$ROCKETMQ_DIR/$1/port" 2>/dev/null; }
rocketmq_alive() {
    local pid
    pid=$(rocketmq_pid "$1") && [ -n "$pid" ] && servers_runs "$pid"
}
rocketmq_listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port P with P-2 and P+1 free too: a broker opens all three.
rocketmq_free_port() {
    local port try
    for try in 1 2 3 4 5 6 7 8 9; do
        port=$(servers_free_port) || return 1
        rocketmq_listens $((port - 2)) || rocketmq_listens $((port + 1)) || { printf '%s\n' "$port"; return; }
    done
    return 1
}

rocketmq_logging() { # PACKAGE-PREFIX FILE
    cat >"$2" <<XML
<configuration>
  <statusListener class="${1}ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="file" class="${1}ch.qos.logback.core.FileAppender">
    <file>\${test.log:-/dev/null}</file><encoder><pattern>%d{HH:mm:ss.SSS} %p %c{0} - %m%n</pattern></encoder>
  </appender>
  <root level="\${test.level:-WARN}"><appender-ref ref="file"/></root>
</configuration>
XML
}

rocketmq_configure() { # WHAT PORT KEY=VALUE...
    local what=$1 port=$2 dir=$ROCKETMQ_DIR/$1 line
    shift 2
    mkdir -p "$dir/base/conf" "$dir/store"
    rocketmq_logging org.apache.rocketmq.logging. "$dir/base/conf/log.xml"
    for line in broker namesrv tools; do rocketmq_logging "" "$dir/base/conf/logback_$line.xml"; done
    if [ "$what" = namesrv ]; then
        printf '%s\n' "listenPort=$port" "bindAddress=127.0.0.1" "kvConfigPath=$dir/store/kv.json" "configStorePath=$dir/store/namesrv.properties" >"$dir/conf"
        return
    fi
    printf '%s\n' "brokerClusterName=$ROCKETMQ_CLUSTER" "brokerName=$what" brokerId=0 brokerIP1=127.0.0.1 brokerIP2=127.0.0.1 "namesrvAddr=$NS" "listenPort=$port" \
        "haListenPort=$((port + 1))" bindAddress=127.0.0.1 brokerRole=ASYNC_MASTER flushDiskType=ASYNC_FLUSH autoCreateTopicEnable=false \
        autoCreateSubscriptionGroup=true "storePathRootDir=$dir/store" "storePathCommitLog=$dir/store/commitlog" mappedFileSizeCommitLog=33554432 \
        mappedFileSizeConsumeQueue=600000 mappedFileSizeTimerLog=4194304 maxIndexNum=200000 maxHashSlotNum=50000 diskMaxUsedSpaceRatio=98 \
        transactionCheckInterval=2000 transactionTimeOut=2000 sendMessageThreadPoolNums=2 enableControllerMode=false >"$dir/conf"
    for line in "$@"; do
        sed -i "/^${line%%=*}=/d" "$dir/conf"
        printf '%s\n' "$line" >>"$dir/conf"
    done
}

rocketmq_launch() { # WHAT
    local what=$1 dir=$ROCKETMQ_DIR/$1 main=broker.BrokerStartup heap=${ROCKETMQ_HEAP:-768m}
    [ "$what" != namesrv ] || main=namesrv.NamesrvStartup heap=192m
    (
        cd "$dir" || exit 1
        ROCKETMQ_HOME=$dir/base NAMESRV_ADDR=$NS exec setsid "$JAVA" -Xms128m "-Xmx$heap" -XX:MaxDirectMemorySize=512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
            -Dtest.log="$dir/log" -Drmq.logback.configurationFile="$dir/base/conf/log.xml" -Duser.home="$dir" -Djava.io.tmpdir="$dir" -Djava.net.preferIPv4Stack=true \
            "${rocketmq_opens[@]}" -cp "$ROCKETMQ_CLASSES/server:$rocketmq_server" "org.apache.rocketmq.$main" -c "$dir/conf"
    ) >>"$dir/out" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    disown
}

# Is WHAT of use? A name server when it listens, a broker when the name server knows it and it answers.
rocketmq_ready() {
    local port
    port=$(rocketmq_port "$1")
    if [ "$1" = namesrv ]; then rocketmq_listens "$port"; else
        [[ $(rocketmq_ask "${NS##*:}" 106 '') == *"127.0.0.1:$port"* ]] && [[ $(rocketmq_ask "$port" 105 '"topic":"none"') == *'"code":'* ]]
    fi
}

rocketmq_start() {
    local what=$1 port try until
    shift
    rocketmq_alive "$what" && return 0
    mkdir -p "$ROCKETMQ_DIR/$what"
    for try in 1 2 3; do
        if ! port=$(rocketmq_port "$what"); then
            port=${ROCKETMQ_PORT:-$(rocketmq_free_port)} || return 1
            [ "$what" != namesrv ] || NS=127.0.0.1:$port
            rocketmq_configure "$what" "$port" "$@"
            echo "$port" >"$ROCKETMQ_DIR/$what/port"
        fi
        rocketmq_launch "$what"
        until=$((SECONDS + 90))
        while [ "$SECONDS" -lt "$until" ] && rocketmq_alive "$what"; do
            if rocketmq_ready "$what"; then
                : >"$ROCKETMQ_DIR/$what/was-ready"
                return 0
            fi
            tap_pause 0.1
        done
        rocketmq_kill "$what"
        # a port that somebody else took in the meantime: another one, but only as long as nobody knows this one
        [ -e "$ROCKETMQ_DIR/$what/was-ready" ] || rm -rf "${ROCKETMQ_DIR:?}/$what/port" "$ROCKETMQ_DIR/$what/store"
    done
    note "$what does not start:" "$(tail -n 5 "$ROCKETMQ_DIR/$what/out")"
    return 1
}
rocketmq_end_by() { # SIGNAL SECONDS WHAT
    local pid
    pid=$(rocketmq_pid "$3") && [ -n "$pid" ] || return 0
    kill "-$1" "$pid" 2>/dev/null
    servers_wait_gone "$pid" "$2" || { kill -KILL "$pid" 2>/dev/null; servers_wait_gone "$pid" 10; }
    rm -f "$ROCKETMQ_DIR/$3/pid"
}
rocketmq_stop() { rocketmq_end_by TERM 40 "$1"; }
rocketmq_kill() { rocketmq_end_by KILL 10 "$1"; }
rocketmq_end() {
    local dir
    for dir in "$ROCKETMQ_DIR"/*/; do rocketmq_kill "$(basename "$dir")"; done
}

rocketmq_begin() {
    ROCKETMQ_DIR=$T/rocketmq
    mkdir -p "$ROCKETMQ_DIR"
    at_end rocketmq_end
    # should this script be SIGKILLed, somebody must still end the servers
    setsid "$BASH" -c 'while kill -0 "$1" 2>/dev/null; do read -rt 1 <> <(:) || :; done; kill -KILL $(cat "$2"/*/pid) 2>/dev/null' watch $$ "$ROCKETMQ_DIR" \
        </dev/null >/dev/null 2>&1 &
    disown
    NS=
    rocketmq_start namesrv && rocketmq_start broker-a "$@" || bail "no RocketMQ"
    note "RocketMQ $ROCKETMQ_VERSION"
    FROM=rocketmq://$NS
}

# ---- asking

# rocketmq_ask PORT CODE FIELDS [BODY]: one request; prints the answer's header and body. FIELDS: JSON members, "" for none.
rocketmq_ask() {
    local LC_ALL=C body=${4:-} header lengths total
    printf -v header '{"code":%d,"flag":0,"language":"OTHER","opaque":1,"version":0,"serializeTypeCurrentRPC":"JSON","extFields":{%s}}' "$2" "$3"
    printf -v lengths '%08x%08x' $((4 + ${#header} + ${#body})) ${#header}
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
        # shellcheck disable=SC2059
        printf "$(sed 's/../\\x&/g' <<<"$lengths")%s%s" "$header" "$body" >&3
        total=$(timeout 10 head -c 4 <&3 | od -An -tu1 | awk 'NF == 4 { print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }')
        [ -n "$total" ] && timeout 10 head -c "$total" <&3 | tail -c +5 | tr -d '\0'
        exec 3>&-
    } 2>/dev/null
}
# The value of a member of an answer's header.
rocketmq_member() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p' | head -n 1; }

# rocketmq_topic NAME QUEUES [BROKER...]: makes it or changes it, and waits for its route
rocketmq_topic() {
    local topic=$1 queues=$2 broker
    shift 2
    for broker in "${@:-broker-a}"; do
        [[ $(rocketmq_ask "$(rocketmq_port "$broker")" 17 '"topic":"'"$topic"'","defaultTopic":"TBW102","readQueueNums":"'"$queues"'","writeQueueNums":"'"$queues"'","perm":"6","topicFilterType":"SINGLE_TAG","topicSysFlag":"0","order":"false"') == *'"code":0'* ]] ||
            { note "topic $topic was not made on $broker"; return 1; }
        wait_for 30 rocketmq_route_has "$topic" "$broker" "$queues" || { note "topic $topic gets no route"; return 1; }
    done
}
rocketmq_route_has() { rocketmq_ask "${NS##*:}" 105 '"topic":"'"$1"'"' | grep -q '"brokerName":"'"$2"'"[^}]*"readQueueNums":'"$3"'[,}]'; }

# rocketmq_offset BROKER CODE GROUP TOPIC QUEUE: 14 what the group committed, 30 the maximum, 31 the minimum; nothing when there is none
rocketmq_offset() {
    rocketmq_ask "$(rocketmq_port "$1")" "$2" '"consumerGroup":"'"$3"'","topic":"'"$4"'","queueId":"'"$5"'","setZeroIfNotFound":"false"' | rocketmq_member offset
}
# rocketmq_set_offset BROKER GROUP TOPIC QUEUE OFFSET: as a member would commit it
rocketmq_set_offset() {
    rocketmq_ask "$(rocketmq_port "$1")" 15 '"consumerGroup":"'"$2"'","topic":"'"$3"'","queueId":"'"$4"'","commitOffset":"'"$5"'"' >/dev/null
}
# rocketmq_members GROUP: the client ids that broker-a knows, one a line
rocketmq_members() {
    rocketmq_ask "$(rocketmq_port broker-a)" 38 '"consumerGroup":"'"$1"'"' | sed -n 's/.*"consumerIdList":\[\([^]]*\)\].*/\1/p' | tr ',' '\n' | tr -d '"'
}
rocketmq_has_members() { [ "$(rocketmq_members "$1" | grep -c .)" -eq "$2" ]; }

# The command line of a JVM: rocketmq_jvm CLASSPATH CLASS ARGS... leaves it in the array ROCKETMQ_JVM.
rocketmq_jvm() {
    local path=$1
    shift
    ROCKETMQ_JVM=("$JAVA" -Xmx256m -XX:+UseSerialGC "-XX:TieredStopAtLevel=${JAVA_TIER:-1}" -XX:-UsePerfData -Duser.home="$T" -Djava.io.tmpdir="$T" -Djava.net.preferIPv4Stack=true
        -Drmq.logback.configurationFile="$ROCKETMQ_DIR/namesrv/base/conf/log.xml" -Dtest.log="$T/java.log" -Dons.client.logRoot="$T" "${rocketmq_opens[@]}" -cp "$path" "$@")
}
# rocketmq_java CLASS ARGS...: one of tests/interop/java, for at most 5 minutes
rocketmq_java() {
    rocketmq_jvm "$ROCKETMQ_CLASSES/clients:$rocketmq_clients" "$@"
    timeout 300 "${ROCKETMQ_JVM[@]}"
}
# start_java NAME CLASS ARGS...: in the background, its process id (of the JVM itself) in $STARTED
start_java() {
    local name=$1
    shift
    rocketmq_jvm "$ROCKETMQ_CLASSES/clients:$rocketmq_clients" "$@"
    start "$name" "${ROCKETMQ_JVM[@]}"
}

# rocketmq_admin COMMAND...: mqadmin; fails when it printed an error (its exit status does not tell). What nobody answered in time, on a machine that is busy, is asked again.
rocketmq_admin() {
    local out try command=$1
    shift
    rocketmq_jvm "$rocketmq_server" org.apache.rocketmq.tools.command.MQAdminStartup "$command" -n "$NS" "$@"
    for try in 1 2 3 4 5; do
        out=$(ROCKETMQ_HOME=$ROCKETMQ_DIR/namesrv/base timeout 120 "${ROCKETMQ_JVM[@]}" 2>&1 </dev/null)
        [[ $out == *RemotingTimeoutException* || $out == *RemotingConnectException* || $out == *RemotingSendRequestException* || $out == *RemotingTooMuchRequestException* ]] || break
        [ "$try" = 5 ] || tap_pause 1
    done
    printf '%s\n' "$out"
    [[ $out != *Exception* && $out != *"The sub command"* ]]
}
