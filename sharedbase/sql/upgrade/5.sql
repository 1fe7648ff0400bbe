-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Version 4 to 5: images that exist already can be imported. The default is
-- the pool of the shards that were there before version 4, be it from our step
-- or from Python's prepare-upgrade: new shards name theirs.

ALTER TABLE shards ALTER COLUMN pool_name DROP DEFAULT;
ALTER TYPE shard_state ADD VALUE IF NOT EXISTS 'importing';

INSERT INTO dbversion (version, release, description) VALUES (5, now(), 'Upgraded by wineryctl db upgrade');
