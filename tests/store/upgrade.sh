# xonce upgrade: the vendor's table, with rows, becomes safe; its rows still are what they were.
. "${TOP_SRCDIR:?}/tests/lib/tap.sh"

# tried NAME URI: a table with two rows stands in the database
tried() {
    local name=$1 uri=$2
    out=$("$XONCE" upgrade --store "$uri" --print)
    like "$out" 'message_id' "$name: --print names the column"
    like "$out" 'xonce_settled' "$name: --print has the missing tables"
    is "$("$XONCE" check --store "$uri" >/dev/null 2>&1; echo $?)" 3 "$name: printing changed nothing"
    check "$name: upgraded" "$XONCE" upgrade --store "$uri"
    like "$out" 'store_time' "$name: --print names a missing column"
    is "$("$XONCE" check --store "$uri" 2>&1 | grep -cE '^(UNSAFE|BROKEN)')" 0 "$name: nothing unsafe is left"
    check "$name: a row of before is known" "$XONCE" seen --store "$uri" --group GID_a 7F0000010000AA
    is "$("$XONCE" seen --store "$uri" --group GID_a 7f0000010000aa >/dev/null 2>&1; echo $?)" 3 "$name: and only by its very bytes"
    like "$("$XONCE" upgrade --store "$uri")" '^the tables are as they should be$' "$name: a second time does nothing"
}

if [ -n "${XONCE_TEST_MYSQL_URI:-}" ] && command -v mariadb >/dev/null; then
    port=$(printf '%s' "$XONCE_TEST_MYSQL_URI" | sed -E 's|.*:([0-9]+)/.*|\1|')
    mariadb --no-defaults -h 127.0.0.1 -P "$port" -u xonce -pxonce xonce <<'SQL'
DROP TABLE IF EXISTS transaction_record, xonce_rejected, xonce_watermark, xonce_settled, xonce_store;
CREATE TABLE transaction_record (consumer_group varchar(128) NOT NULL DEFAULT '', message_id varchar(255) NOT NULL DEFAULT '', topic_name varchar(255) NOT NULL DEFAULT '', ctime bigint(20) NOT NULL,
  queue_id int(11) NOT NULL, `offset` bigint(20) NOT NULL, broker_name varchar(255) NOT NULL DEFAULT '', id bigint(20) NOT NULL AUTO_INCREMENT, PRIMARY KEY (id),
  UNIQUE KEY message_id_unique_key (message_id), KEY ctime_key (ctime), KEY load_key (queue_id, broker_name, topic_name, ctime)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, `offset`, broker_name) VALUES ('GID_a', '7F0000010000AA#GID_a', 't', 1, 1, 1, 'b'), ('GID_a', '7F0000010000AB#GID_a', 't', 1, 1, 2, 'b');
SQL
    tried MariaDB "$XONCE_TEST_MYSQL_URI"
else
    skip "no MariaDB, or its client: mariadb-server" "the vendor's table on MariaDB"
fi
if [ -n "${XONCE_TEST_POSTGRES_URI:-}" ] && command -v psql >/dev/null; then
    psql -XAtq "$XONCE_TEST_POSTGRES_URI" >/dev/null 2>&1 <<'SQL'
DROP TABLE IF EXISTS transaction_record, xonce_rejected, xonce_watermark, xonce_settled, xonce_store;
CREATE TABLE transaction_record (consumer_group varchar(128) NOT NULL DEFAULT '', message_id varchar(255) NOT NULL DEFAULT '', topic_name varchar(255) NOT NULL DEFAULT '', ctime bigint NOT NULL,
  queue_id integer NOT NULL, "offset" bigint NOT NULL, broker_name varchar(255) NOT NULL DEFAULT '', id bigserial PRIMARY KEY);
INSERT INTO transaction_record (consumer_group, message_id, topic_name, ctime, queue_id, "offset", broker_name) VALUES ('GID_a', '7F0000010000AA#GID_a', 't', 1, 1, 1, 'b'), ('GID_a', '7F0000010000AB#GID_a', 't', 1, 1, 2, 'b');
SQL
    tried PostgreSQL "$XONCE_TEST_POSTGRES_URI"
else
    skip "no PostgreSQL: postgresql" "the vendor's table on PostgreSQL"
fi
done_testing
