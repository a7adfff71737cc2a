-- The record of applied messages: one row a message and consumer group, written in the transaction of its effects.
-- No key on ctime: it would cost a claim a fifth more, and pruning goes by id (docs/performance.md).
-- message_id holds <id>#<consumer_group> and is compared byte by byte.
CREATE TABLE IF NOT EXISTS transaction_record (
    consumer_group VARCHAR(128) NOT NULL DEFAULT '',
    message_id VARCHAR(255) COLLATE BINARY NOT NULL DEFAULT '',
    topic_name VARCHAR(255) NOT NULL DEFAULT '',
    ctime BIGINT NOT NULL,
    queue_id INT NOT NULL,
    "offset" BIGINT NOT NULL,
    broker_name VARCHAR(255) NOT NULL DEFAULT '',
    id INTEGER PRIMARY KEY,
    store_time BIGINT,
    log_offset BIGINT,
    digest CHAR(32),
    CONSTRAINT message_id_unique_key UNIQUE (message_id)
);
