-- The pools that hold this database's images, as their markers say: a pool with
-- another marker is not touched.
CREATE TABLE winery_pool (
    name text PRIMARY KEY,
    uuid uuid NOT NULL,
    adopted timestamptz NOT NULL DEFAULT clock_timestamp(),
    role text NOT NULL,
    host text NOT NULL
);
