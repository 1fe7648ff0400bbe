-- Tables that Go Winery adds to the schema that it shares with Python Winery,
-- which ignores them; docs/adr/0005 explains them.

-- The version of these tables: one row.
CREATE TABLE winery_version (
    version integer NOT NULL,
    single_row boolean PRIMARY KEY DEFAULT true CHECK (single_row)
);
INSERT INTO winery_version (version) VALUES (1);

-- The holder of a locked shard, and when the lease expires unless it is renewed,
-- by the server's clock. A row counts only while shards.locker is its locker.
CREATE TABLE winery_lease (
    shard bigint PRIMARY KEY,
    locker uuid NOT NULL,
    role text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    expires timestamptz NOT NULL
);

-- The contents of a shard's image when it was packed and verified. The
-- fingerprint is the SHA-256 of its header and hash function.
CREATE TABLE winery_image (
    shard bigint PRIMARY KEY,
    objects bigint NOT NULL,
    bytes bigint NOT NULL,
    fingerprint bytea NOT NULL
);

-- Shards that are not consistent: no role of Go Winery claims them.
CREATE TABLE winery_quarantine (
    shard bigint PRIMARY KEY,
    reason text NOT NULL,
    role text NOT NULL,
    host text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Deleted objects that the image of a shard may still have, and whose index row
-- went to another shard when they were added again. A note of an object that is
-- present in the same shard after all does not count.
CREATE TABLE winery_erasure (
    shard bigint,
    signature bytea,
    PRIMARY KEY (shard, signature)
);

-- It notes objects that any writer adds, including Python's with another database
-- user. The function has its owner's rights and runs in sessions of other users:
-- it must not resolve a name to another table, function or operator, in
-- particular a temporary one, and no other user may create triggers with it.
DO $make$ BEGIN
    EXECUTE format($sql$
        CREATE FUNCTION winery_note_erasure() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            INSERT INTO %I.winery_erasure (shard, signature) VALUES (old.shard, old.signature) ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$
    $sql$, (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = 'winery_erasure'::regclass));
END $make$;
REVOKE ALL ON FUNCTION winery_note_erasure() FROM PUBLIC;

CREATE TRIGGER winery_note_erasure AFTER UPDATE ON signature2shard FOR EACH ROW
    WHEN (old.state = 'deleted' AND old.shard <> new.shard) EXECUTE FUNCTION winery_note_erasure();
