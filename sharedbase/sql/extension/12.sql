-- The tables of shards keep contents of up to 4,080 bytes, as they are or compressed, in their rows, two to a page; by
-- default PostgreSQL keeps up to 2,032 and divides the others into chunks in a table beside, with an index of its own.
DO $make$ BEGIN
    EXECUTE (SELECT replace(pg_get_functiondef(p.oid), '(autovacuum_enabled = false)', '(autovacuum_enabled = false, toast_tuple_target = 4080)')
        FROM pg_proc p JOIN pg_class c ON c.relnamespace = p.pronamespace
        WHERE p.proname = 'winery_create_table' AND c.oid = 'shards'::regclass);
END $make$;
