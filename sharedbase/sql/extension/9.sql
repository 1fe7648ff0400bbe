-- Creating and dropping the tables of shards, for users who have no right to do so.
-- Each function proves the claim to the shard in the transaction in which it acts,
-- and returns false where the claim does not hold. As winery_note_erasure, they have
-- their owner's rights, and resolve no name to what another user has made.
DO $make$
DECLARE
    place record;
    made text;
BEGIN
    SELECT nspname AS schema, relowner::regrole AS owner INTO place
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = 'shards'::regclass;
    FOREACH made IN ARRAY ARRAY[
    -- A new table gets the rights that shard_template has.
    $sql$
        CREATE FUNCTION winery_create_table(shard text, claimed_by uuid) RETURNS boolean
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            template regclass := format('%I.shard_template', {name});
            made text;
            granted record;
        BEGIN
            SELECT format('%I.%I', {name}, 'shard_' || s.name::text) INTO made FROM {schema}.shards s
                WHERE s.name = shard::bpchar AND s.locker IS NOT DISTINCT FROM claimed_by AND s.state IN ('standby', 'writing')
                FOR NO KEY UPDATE;
            IF made IS NULL THEN
                RETURN false;
            END IF;
            IF to_regclass(made) IS NOT NULL THEN
                RETURN true;
            END IF;
            EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL) WITH (autovacuum_enabled = false)', made, template);
            FOR granted IN SELECT grantee, string_agg(privilege_type, ', ') AS rights FROM pg_class, aclexplode(relacl)
                WHERE oid = template AND grantee <> relowner GROUP BY grantee
            LOOP
                EXECUTE format('GRANT %s ON %s TO %s', granted.rights, made,
                    CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE granted.grantee::regrole::text END);
            END LOOP;
            RETURN true;
        END $$
    $sql$,
    -- The shard becomes readonly. Its row is locked first: the statements that follow see
    -- what was committed before. winery.min_mapped_hosts is a setting of the function,
    -- which wineryctl db grants makes. The drop blocks readers while it waits for others.
    $sql$
        CREATE FUNCTION winery_drop_table(shard text, claimed_by uuid, mapped_hosts integer) RETURNS boolean
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            least integer := coalesce(nullif(current_setting('winery.min_mapped_hosts', true), ''), '0');
            s {schema}.shards%ROWTYPE;
        BEGIN
            SELECT * INTO s FROM {schema}.shards WHERE name = shard::bpchar FOR NO KEY UPDATE;
            IF (s.locker = claimed_by AND s.state = 'cleaning'
                AND cardinality(s.mapped_on_hosts_when_packed) >= greatest(mapped_hosts, least)
                AND NOT EXISTS (SELECT FROM {schema}.winery_quarantine q WHERE q.shard = s.id)) IS NOT TRUE THEN
                RETURN false;
            END IF;
            UPDATE {schema}.shards SET state = 'readonly', locker = NULL, locker_ts = NULL WHERE id = s.id;
            DELETE FROM {schema}.winery_lease l WHERE l.shard = s.id;
            PERFORM pg_notify('winery_shards', s.name::text || ' readonly');
            PERFORM set_config('lock_timeout', '500ms', true);
            EXECUTE format('DROP TABLE IF EXISTS %I.%I', {name}, 'shard_' || s.name::text);
            RETURN true;
        END $$
    $sql$,
    -- For an image that turned out to be complete and newer than the database: the caller
    -- has read it, and has moved the objects that it lacks to another table.
    $sql$
        CREATE FUNCTION winery_drop_adopted_table(shard text, claimed_by uuid) RETURNS boolean
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            dropped text;
        BEGIN
            SELECT format('%I.%I', {name}, 'shard_' || s.name::text) INTO dropped FROM {schema}.shards s
                WHERE s.name = shard::bpchar AND s.locker = claimed_by AND s.state IN ('writing', 'packing') FOR NO KEY UPDATE;
            IF dropped IS NULL THEN
                RETURN false;
            END IF;
            EXECUTE 'DROP TABLE ' || dropped;
            RETURN true;
        END $$
    $sql$] LOOP
        EXECUTE replace(replace(made, '{schema}', quote_ident(place.schema)), '{name}', quote_literal(place.schema));
    END LOOP;
    -- The owner of the tables, also where another user attaches Winery.
    FOREACH made IN ARRAY ARRAY['winery_create_table', 'winery_drop_table', 'winery_drop_adopted_table'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', made);
        EXECUTE format('ALTER FUNCTION %I OWNER TO %s', made, place.owner);
    END LOOP;
END $make$;
