-- The running processes of Go Winery, by their heartbeats. A process removes its
-- row when it ends as asked. Heartbeats of others remove rows of processes that
-- died. Nothing but reports to people depends on this table.
CREATE TABLE winery_process (
    id uuid PRIMARY KEY,
    role text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    lease interval NOT NULL,
    started timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL,
    failing boolean NOT NULL
);

-- When a note was made: an old one means that no cleaner erases.
ALTER TABLE winery_erasure ADD noted timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX winery_erasure_noted ON winery_erasure (noted);
