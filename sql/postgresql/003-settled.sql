-- How far each queue of a source with offsets is settled (docs/design.md, "Positions"): every message with first_offset <= offset < next_offset.
CREATE TABLE IF NOT EXISTS xonce_settled (
    consumer_group varchar(128) COLLATE "C" NOT NULL,
    topic_name varchar(255) COLLATE "C" NOT NULL,
    broker_name varchar(255) COLLATE "C" NOT NULL,
    queue_id integer NOT NULL,
    generation bigint NOT NULL,
    tags text COLLATE "C" NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    last_store_time bigint NOT NULL,
    last_log_offset bigint NOT NULL,
    epoch bigint NOT NULL,
    record_before bigint,
    PRIMARY KEY (consumer_group, topic_name, broker_name, queue_id, generation)
);

-- Facts about this database; its uuid names it among several stores of one group.
CREATE TABLE IF NOT EXISTS xonce_store (
    name varchar(64) COLLATE "C" NOT NULL PRIMARY KEY,
    value varchar(255) NOT NULL
);
