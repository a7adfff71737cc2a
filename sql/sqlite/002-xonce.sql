-- Messages that were given up, with all that is needed to run them again. replay_at marks a row for replay.
CREATE TABLE IF NOT EXISTS xonce_rejected (
    id INTEGER PRIMARY KEY,
    consumer_group VARCHAR(128) NOT NULL,
    message_id VARCHAR(255) COLLATE BINARY NOT NULL,
    topic_name VARCHAR(255) NOT NULL,
    broker_name VARCHAR(255) NOT NULL DEFAULT '',
    queue_id INT NOT NULL DEFAULT -1,
    "offset" BIGINT NOT NULL DEFAULT -1,
    store_time BIGINT,
    attempts INT NOT NULL,
    body BLOB,
    properties BLOB,
    reason TEXT NOT NULL,
    rejected_at BIGINT NOT NULL,
    replay_at BIGINT,
    uniq BLOB,
    CONSTRAINT xonce_rejected_message_id_key UNIQUE (message_id)
);

CREATE INDEX IF NOT EXISTS xonce_rejected_replay_key ON xonce_rejected (consumer_group, replay_at);

-- Up to when a group had settled everything: pruning counts age from watermark_ms, and only while updated_ms is recent.
CREATE TABLE IF NOT EXISTS xonce_watermark (
    consumer_group VARCHAR(128) NOT NULL PRIMARY KEY,
    watermark_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
