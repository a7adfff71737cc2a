-- How far each queue of a source with offsets is settled (docs/design.md, "Positions"): every message with first_offset <= offset < next_offset.
CREATE TABLE IF NOT EXISTS xonce_settled (
    consumer_group VARCHAR(128) COLLATE BINARY NOT NULL,
    topic_name VARCHAR(255) COLLATE BINARY NOT NULL,
    broker_name VARCHAR(255) COLLATE BINARY NOT NULL,
    queue_id INT NOT NULL,
    generation BIGINT NOT NULL,
    tags TEXT COLLATE BINARY NOT NULL,
    first_offset BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    last_store_time BIGINT NOT NULL,
    last_log_offset BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    record_before BIGINT,
    PRIMARY KEY (consumer_group, topic_name, broker_name, queue_id, generation)
);

-- Facts about this database; its uuid names it among several stores of one group.
CREATE TABLE IF NOT EXISTS xonce_store (
    name VARCHAR(64) COLLATE BINARY NOT NULL PRIMARY KEY,
    value VARCHAR(255) NOT NULL
);
