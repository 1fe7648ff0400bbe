-- The size of a standby shard's table, which its last writer counted. A row
-- counts only while row_version is the xmin of the shard's row: every change of
-- the shard's row, also by a writer of Python's, changes that.
CREATE TABLE winery_total (
    shard bigint PRIMARY KEY,
    objects bigint NOT NULL,
    bytes bigint NOT NULL,
    row_version xid NOT NULL
);
