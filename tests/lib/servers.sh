#!/usr/bin/env bash
# Private database servers for tests: start, stop, SIGKILL and restart of a PostgreSQL and a MariaDB of our own.
#
# Sourced: the functions below. Run: servers.sh start|stop|kill|restart|alive|uri|pid postgres|mysql, also from another process of the same test,
# since all state lives in the folder $XONCE_SERVERS_DIR. As root the servers run as the users postgres and mysql.

servers_note() { printf '# %s\n' "$*" >&2; }

# Runs a command as another user when we are root. Replaces nothing of the environment but HOME.
servers_as() {
    local user=$1
    shift
    if [ "$(id -u)" -eq 0 ]; then
        HOME=/ exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
    else
        exec "$@"
    fi
}

# A folder that the servers' users can reach and whose sockets stay below the 107 bytes of a Unix socket's path.
servers_new_dir() {
    local base dir user
    for base in "${TMPDIR:-/tmp}" /tmp; do
        [ "${#base}" -le 60 ] || continue
        dir=$(mktemp -d "$base/xonce-srv-XXXXXX" 2>/dev/null) || continue
        chmod 755 "$dir"
        user=nobody
        [ "$(id -u)" -ne 0 ] || { id postgres >/dev/null 2>&1 && user=postgres || user=mysql; }
        if [ "$(id -u)" -ne 0 ] || ! id "$user" >/dev/null 2>&1 || (servers_as "$user" test -x "$dir") 2>/dev/null; then
            printf '%s\n' "$dir"
            return 0
        fi
        rmdir "$dir"
    done
    servers_note "no folder for servers: set TMPDIR to a short path that every user may enter"
    return 1
}

# A loopback port below the ephemeral range on which nobody listens now. Starting may still lose a race: callers try again.
servers_free_port() {
    local port try
    for try in $(seq 50); do
        port=$((20000 + (RANDOM * 32768 + RANDOM + try) % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { printf '%s\n' "$port"; return 0; }
    done
    return 1
}

# The newest installed PostgreSQL's folder of programs.
servers_postgres_bin() {
    local dir
    for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5 -rn) "$(pg_config --bindir 2>/dev/null)" \
        "$(dirname "$(command -v postgres 2>/dev/null || echo /nonexistent/x)")"; do
        [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && { printf '%s\n' "$dir"; return 0; }
    done
    return 1
}
servers_mysqld() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mariadbd; }

# Says which Debian package is missing for an engine; nothing when all is there.
servers_missing() {
    case $1 in
        postgres) servers_postgres_bin >/dev/null || echo postgresql ;;
        mysql) servers_mysqld >/dev/null && command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null || echo mariadb-server ;;
    esac
}

servers_dir() { printf '%s/%s\n' "${XONCE_SERVERS_DIR:?is not set}" "$1"; }
servers_pid() { cat "$(servers_dir "$1")/pid" 2>/dev/null; }
# Is a process there, and not a zombie?
servers_runs() {
    local state
    state=$(ps -o stat= -p "$1" 2>/dev/null) && [ "${state#Z}" = "$state" ]
}
servers_alive() {
    local pid
    pid=$(servers_pid "$1") && [ -n "$pid" ] && servers_runs "$pid"
}

# Waits until a process is gone; 1 when the deadline in seconds passes.
servers_wait_gone() {
    local pid=$1 until=$((SECONDS + $2))
    while servers_runs "$pid"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        read -rt 0.05 <> <(:) || :
    done
}

servers_init_postgres() {
    local dir=$1 bin=$2
    [ -s "$dir/data/PG_VERSION" ] && return 0
    printf 'xonce\n' >"$dir/password"
    [ "$(id -u)" -ne 0 ] || chown -R postgres:postgres "$dir"
    (servers_as postgres "$bin/initdb" -D "$dir/data" -U xonce --pwfile="$dir/password" --auth-local=trust --auth-host=scram-sha-256 \
        -E UTF8 --locale=C.UTF-8 --no-sync) >"$dir/init.log" 2>&1 || { servers_note "initdb failed:"; tail -5 "$dir/init.log" >&2; return 1; }
    printf '%s\n' "max_connections = 120" "shared_buffers = 64MB" "max_prepared_transactions = 10" "log_min_messages = warning" \
        "logging_collector = off" >>"$dir/data/postgresql.conf"
}

servers_run_postgres() {
    local dir=$1 bin=$2 port=$3
    # setsid: the terminal's Ctrl-C must not reach the server before the test has ended it
    (cd "$dir" && servers_as postgres setsid "$bin/postgres" -D "$dir/data" -h 127.0.0.1 -p "$port" -k "$dir") >>"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    disown
}
servers_ready_postgres() { PGPASSWORD=xonce "$2/psql" -XAtq -h "$1" -p "$3" -U xonce -d postgres -c 'SELECT 1' >/dev/null 2>&1; }
servers_setup_postgres() {
    local sql='CREATE DATABASE xonce'
    [ "$("$2/psql" -XAtq -h "$1" -p "$3" -U xonce -d postgres -c "SELECT count(*) FROM pg_database WHERE datname='xonce'")" = 1 ] ||
        "$2/psql" -XAtq -h "$1" -p "$3" -U xonce -d postgres -c "$sql" >&2
}
servers_uri_postgres() { printf 'postgresql://xonce:xonce@127.0.0.1:%s/xonce\n' "$1"; }

servers_init_mysql() {
    local dir=$1 user=()
    [ -d "$dir/data/mysql" ] && return 0
    [ "$(id -u)" -ne 0 ] || { chown -R mysql:mysql "$dir"; user=(--user=mysql); }
    TMPDIR=$dir mariadb-install-db --no-defaults --datadir="$dir/data" "${user[@]}" --auth-root-authentication-method=normal --skip-test-db >"$dir/init.log" 2>&1 ||
        { servers_note "mariadb-install-db failed:"; tail -5 "$dir/init.log" >&2; return 1; }
}
servers_run_mysql() {
    local dir=$1 bin=$2 port=$3
    (cd "$dir" && servers_as mysql setsid "$bin" --no-defaults --datadir="$dir/data" --socket="$dir/s" --port="$port" --bind-address=127.0.0.1 \
        --pid-file="$dir/data/pid" --tmpdir="$dir" --skip-name-resolve --character-set-server=utf8mb4 --max-connections=200 \
        --innodb-buffer-pool-size=128M --innodb-log-file-size=64M) >>"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    disown
}
servers_mysql_root() { mariadb --no-defaults -uroot -S "$1/s" -BN; }
servers_ready_mysql() { echo 'SELECT 1' | servers_mysql_root "$1" >/dev/null 2>&1; }
servers_setup_mysql() {
    servers_mysql_root "$1" >&2 <<'SQL'
CREATE DATABASE IF NOT EXISTS xonce;
CREATE USER IF NOT EXISTS xonce@'127.0.0.1' IDENTIFIED BY 'xonce';
CREATE USER IF NOT EXISTS xonce@localhost IDENTIFIED BY 'xonce';
GRANT ALL ON *.* TO xonce@'127.0.0.1' WITH GRANT OPTION;
GRANT ALL ON *.* TO xonce@localhost WITH GRANT OPTION;
SQL
}
servers_uri_mysql() { printf 'mysql://xonce:xonce@127.0.0.1:%s/xonce\n' "$1"; }

# Starts a server (creates it the first time; a restart keeps its port) and waits until it answers.
servers_start() {
    local engine=$1 dir bin port try until
    dir=$(servers_dir "$engine")
    servers_alive "$engine" && return 0
    mkdir -p "$dir"
    case $engine in
        postgres) bin=$(servers_postgres_bin) ;;
        mysql) bin=$(servers_mysqld) ;;
        *) servers_note "unknown engine $engine"; return 2 ;;
    esac || { servers_note "SKIP $engine: needs the Debian package $(servers_missing "$engine")"; return 3; }
    "servers_init_$engine" "$dir" "$bin" || return 1
    for try in 1 2 3; do
        port=$(cat "$dir/port" 2>/dev/null) || port=$(servers_free_port)
        "servers_run_$engine" "$dir" "$bin" "$port"
        until=$((SECONDS + 60))
        while [ "$SECONDS" -lt "$until" ] && servers_alive "$engine"; do
            if "servers_ready_$engine" "$dir" "$bin" "$port"; then
                [ -f "$dir/port" ] || "servers_setup_$engine" "$dir" "$bin" "$port" || return 1
                echo "$port" >"$dir/port"
                return 0
            fi
            read -rt 0.1 <> <(:) || :
        done
        servers_kill "$engine"
    done
    servers_note "$engine does not start:"
    tail -5 "$dir/log" >&2
    return 1
}

# An orderly, quick end.
servers_stop() {
    local engine=$1 pid signal=INT
    servers_alive "$engine" || return 0
    pid=$(servers_pid "$engine")
    [ "$engine" = postgres ] || signal=TERM
    kill -"$signal" "$pid" 2>/dev/null
    servers_wait_gone "$pid" 30 || servers_kill "$engine"
    rm -f "$(servers_dir "$engine")/pid"
}

# As a power cut for the server's processes: SIGKILL to all of them at once.
servers_kill() {
    local engine=$1 pid pids dir
    dir=$(servers_dir "$engine")
    pid=$(servers_pid "$engine") && [ -n "$pid" ] || return 0
    pids="$pid $(ps -o pid= --ppid "$pid" 2>/dev/null | tr '\n' ' ')"
    kill -KILL $pids 2>/dev/null
    for pid in $pids; do
        servers_wait_gone "$pid" 10
    done
    # the lock files of a killed PostgreSQL name a process that may still be a zombie
    rm -f "$dir/pid" "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*
}

servers_restart() { servers_stop "$1"; servers_start "$1"; }
servers_uri() {
    local port
    port=$(cat "$(servers_dir "$1")/port" 2>/dev/null) && "servers_uri_$1" "$port"
}

# Ends all servers of $XONCE_SERVERS_DIR and removes it.
servers_end() {
    [ -n "${XONCE_SERVERS_DIR:-}" ] && [ -d "$XONCE_SERVERS_DIR" ] || return 0
    servers_stop postgres
    servers_stop mysql
    rm -rf "$XONCE_SERVERS_DIR"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case ${1:-}:${2:-} in
        start:?* | stop:?* | kill:?* | restart:?* | alive:?* | uri:?* | pid:?*) "servers_$1" "$2" ;;
        *)
            echo "usage: servers.sh start|stop|kill|restart|alive|uri|pid postgres|mysql   (state in \$XONCE_SERVERS_DIR)" >&2
            exit 2
            ;;
    esac
fi
