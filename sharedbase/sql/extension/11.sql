-- Since when a shard waited, before the try in progress: a try that fails, from full to
-- packing and back or from packed to cleaning and back, does not begin its wait again.
-- NULL where no try is in progress.
ALTER TABLE winery_state ADD waited_since timestamptz;

DO $make$ BEGIN
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION winery_note_state() RETURNS trigger
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            INSERT INTO %I.winery_state AS s (shard, since) VALUES (new.id, clock_timestamp())
                ON CONFLICT (shard) DO UPDATE SET
                    since = CASE WHEN (old.state, new.state) IN (('packing', 'full'), ('cleaning', 'packed'))
                        THEN coalesce(s.waited_since, excluded.since) ELSE excluded.since END,
                    waited_since = CASE WHEN (old.state, new.state) IN (('full', 'packing'), ('packed', 'cleaning'))
                        THEN s.since END;
            RETURN NULL;
        END $$
    $sql$, (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = 'winery_state'::regclass));
END $make$;
