-- When the whole image of a shard was last read back from its store and found
-- right. Nothing but reports depends on it.
CREATE TABLE winery_verification (
    shard bigint PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
