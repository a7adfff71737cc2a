-- The record of applied messages, split by the day on which the broker stored the message (docs/partitions.md). It takes the place of mysql/001-record.sql.
-- message_id holds <id>#<consumer_group> and is compared byte by byte. store_day counts days UTC since 1970; -1: the message has no store time.
CREATE TABLE IF NOT EXISTS transaction_record (
    consumer_group VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    message_id VARBINARY(255) NOT NULL DEFAULT '',
    topic_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    ctime BIGINT NOT NULL,
    queue_id INT NOT NULL,
    `offset` BIGINT NOT NULL,
    broker_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    id BIGINT NOT NULL AUTO_INCREMENT,
    store_time BIGINT NULL,
    log_offset BIGINT NULL,
    digest CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
    store_day INT NOT NULL,
    PRIMARY KEY (id, store_day),
    UNIQUE KEY message_id_unique_key (message_id, store_day),
    KEY ctime_key (ctime)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4
PARTITION BY RANGE (store_day) (
    PARTITION p_undated VALUES LESS THAN (0),
    PARTITION p_rest VALUES LESS THAN MAXVALUE
);

-- Before when a group needs its records no more, as its own pruner found last: a partition that groups share goes only by this.
CREATE TABLE IF NOT EXISTS xonce_released (
    consumer_group VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    before_ms BIGINT NOT NULL,
    PRIMARY KEY (consumer_group)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;
