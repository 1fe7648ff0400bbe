-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Version 2 to 3: no throttler any more. What it counted is worth nothing.

DROP TABLE IF EXISTS t_read, t_write;

INSERT INTO dbversion (version, release, description) VALUES (3, now(), 'Upgraded by wineryctl db upgrade');
