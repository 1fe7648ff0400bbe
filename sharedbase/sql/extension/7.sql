-- Who deleted which object, one row for each deletion by Go Winery, in the
-- deletion's own transaction. Nothing in Winery changes or removes rows.
CREATE TABLE winery_deletion (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    signature bytea NOT NULL,
    shard bigint NOT NULL,
    client text NOT NULL,
    address text NOT NULL,
    request text NOT NULL,
    trace text NOT NULL,
    role text NOT NULL,
    host text NOT NULL
);
CREATE INDEX ON winery_deletion (signature);
CREATE INDEX ON winery_deletion (at);
