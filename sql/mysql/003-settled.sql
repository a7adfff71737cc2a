-- How far each queue of a source with offsets is settled (docs/design.md, "Positions"): every message with first_offset <= offset < next_offset.
-- Names are bytes: collations take some different ones for equal.
CREATE TABLE IF NOT EXISTS xonce_settled (
    consumer_group VARBINARY(128) NOT NULL,
    topic_name VARBINARY(255) NOT NULL,
    broker_name VARBINARY(255) NOT NULL,
    queue_id INT NOT NULL,
    generation BIGINT NOT NULL,
    tags BLOB NOT NULL,
    first_offset BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    last_store_time BIGINT NOT NULL,
    last_log_offset BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    record_before BIGINT,
    PRIMARY KEY (consumer_group, topic_name, broker_name, queue_id, generation)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- Facts about this database; its uuid names it among several stores of one group.
CREATE TABLE IF NOT EXISTS xonce_store (
    name VARBINARY(64) NOT NULL,
    value VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;
