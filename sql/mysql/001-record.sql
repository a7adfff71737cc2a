-- The record of applied messages: one row a message and consumer group, written in the transaction of its effects.
-- No key on ctime: it would cost a claim a fifth more, and pruning goes by id (docs/performance.md).
-- message_id holds <id>#<consumer_group> and is compared byte by byte: VARBINARY folds neither case nor accents nor trailing blanks.
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
    PRIMARY KEY (id),
    UNIQUE KEY message_id_unique_key (message_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;
