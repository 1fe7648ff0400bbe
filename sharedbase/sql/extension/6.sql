-- Since when a shard is in its state, by the server's clock. A trigger keeps it,
-- since Python's writers change states, too. For a shard that is older than this
-- table it is when the shard was locked, or else when the table was made.
CREATE TABLE winery_state (
    shard bigint PRIMARY KEY,
    since timestamptz NOT NULL
);

-- As winery_note_erasure: it has its owner's rights, and resolves no name to what
-- another user has made.
DO $make$ BEGIN
    EXECUTE format($sql$
        CREATE FUNCTION winery_note_state() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            INSERT INTO %I.winery_state (shard, since) VALUES (new.id, clock_timestamp())
                ON CONFLICT (shard) DO UPDATE SET since = excluded.since;
            RETURN NULL;
        END $$
    $sql$, (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = 'winery_state'::regclass));
END $make$;
REVOKE ALL ON FUNCTION winery_note_state() FROM PUBLIC;

CREATE TRIGGER winery_note_new_state AFTER INSERT ON shards FOR EACH ROW EXECUTE FUNCTION winery_note_state();
CREATE TRIGGER winery_note_state AFTER UPDATE ON shards FOR EACH ROW
    WHEN (old.state <> new.state) EXECUTE FUNCTION winery_note_state();

INSERT INTO winery_state (shard, since) SELECT id, coalesce(locker_ts, now()) FROM shards;
