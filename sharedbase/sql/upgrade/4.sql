-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Version 3 to 4: a shard knows its pool. Until now all were in the same one.
-- Python's prepare-upgrade may have added the column.

ALTER TABLE shards ADD COLUMN IF NOT EXISTS pool_name text NOT NULL DEFAULT :'pool_name';

INSERT INTO dbversion (version, release, description) VALUES (4, now(), 'Upgraded by wineryctl db upgrade');
