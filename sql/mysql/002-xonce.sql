-- Messages that were given up, with all that is needed to run them again. replay_at marks a row for replay.
CREATE TABLE IF NOT EXISTS xonce_rejected (
    id BIGINT NOT NULL AUTO_INCREMENT,
    consumer_group VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    message_id VARBINARY(255) NOT NULL,
    topic_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    broker_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    queue_id INT NOT NULL DEFAULT -1,
    `offset` BIGINT NOT NULL DEFAULT -1,
    store_time BIGINT NULL,
    attempts INT NOT NULL,
    body LONGBLOB NULL,
    properties LONGBLOB NULL,
    reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    rejected_at BIGINT NOT NULL,
    replay_at BIGINT NULL,
    uniq LONGBLOB NULL,
    PRIMARY KEY (id),
    UNIQUE KEY message_id_unique_key (message_id),
    KEY replay_key (consumer_group, replay_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- Up to when a group had settled everything: pruning counts age from watermark_ms, and only while updated_ms is recent.
CREATE TABLE IF NOT EXISTS xonce_watermark (
    consumer_group VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    watermark_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (consumer_group)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;
