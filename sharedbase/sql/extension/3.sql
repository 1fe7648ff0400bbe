-- The process that may change the image of a packed shard: erase deleted objects
-- in it, restore it or move it to another pool. A row counts until it expires.
CREATE TABLE winery_image_lease (
    shard bigint PRIMARY KEY,
    locker uuid NOT NULL,
    role text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    expires timestamptz NOT NULL
);
