-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Version 1 to 2: the throttler finds its newest rows by an index. It may be
-- there already: swh.core commits a step and its version separately.

CREATE INDEX IF NOT EXISTS t_read_updated ON t_read USING brin (updated);
CREATE INDEX IF NOT EXISTS t_write_updated ON t_write USING brin (updated);

INSERT INTO dbversion (version, release, description) VALUES (2, now(), 'Upgraded by wineryctl db upgrade');
