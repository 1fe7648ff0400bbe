-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Winery's schema, version 5. Every name, type, default, constraint and index
-- is shared with the Python Winery: change nothing here without a new version.

CREATE TYPE shard_state AS ENUM (
    'standby', 'writing', 'full', 'packing', 'packed', 'cleaning', 'readonly', 'importing'
);

CREATE TYPE signature_state AS ENUM ('inflight', 'present', 'deleted');

-- One row a shard. locker and locker_ts are set while it is in a locked state.
CREATE TABLE shards (
    id bigserial PRIMARY KEY,
    state shard_state NOT NULL DEFAULT 'standby',
    locker_ts timestamptz,
    locker uuid,
    name char(32) NOT NULL UNIQUE,
    mapped_on_hosts_when_packed text[] NOT NULL DEFAULT '{}',
    pool_name text NOT NULL
);

-- One row an object: the shard that has it. A deleted object keeps its row
-- until the shard's image has been cleaned of it.
CREATE TABLE signature2shard (
    signature bytea PRIMARY KEY,
    state signature_state NOT NULL DEFAULT 'inflight',
    shard bigint NOT NULL REFERENCES shards (id)
) /* PARTITION BY HASH (signature) */;

CREATE INDEX signature2shard_deleted ON signature2shard (signature, shard) WHERE state = 'deleted';
CREATE INDEX signature2shard_shard_state ON signature2shard (shard, state);

-- The model of the tables shard_<name>, which live until their image does.
-- They only grow, and are dropped whole: vacuuming them would be wasted.
CREATE TABLE shard_template (
    key bytea PRIMARY KEY,
    content bytea
) WITH (autovacuum_enabled = false);

-- The bookkeeping of swh.core, by which Python's tools know the schema.
CREATE TABLE dbversion (
    version int PRIMARY KEY,
    release timestamptz,
    description text
);

CREATE TABLE dbmodule (
    dbmodule text,
    single_row char(1) PRIMARY KEY DEFAULT 'x' CHECK (single_row = 'x')
);

INSERT INTO dbmodule (dbmodule) VALUES ('objstorage.backends.winery');
INSERT INTO dbversion (version, release, description) VALUES (5, now(), 'Created by wineryctl db init');
