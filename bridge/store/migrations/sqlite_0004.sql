-- readable from 1
-- How often each source was answered, and how: a row for each day, so that the view of an organisation reads no events.
-- Of strangers only their number is kept. The days begin with what the newest events say, as far as that takes a moment.

CREATE TABLE tallies (
    day        INTEGER NOT NULL,  -- since 1970, UTC
    source     TEXT NOT NULL,     -- '' stands for every name that no source has
    answer     TEXT NOT NULL,     -- the state of an accepted event, duplicate, or why it was refused
    repository TEXT NOT NULL,     -- of accepted events; else ''
    times      INTEGER NOT NULL,
    last_at    REAL NOT NULL,
    last_event INTEGER NOT NULL,  -- 0: none was kept
    PRIMARY KEY (day, source, answer, repository)
) STRICT, WITHOUT ROWID;

INSERT INTO tallies (day, source, answer, repository, times, last_at, last_event)
SELECT CAST(received_at / 86400 AS INTEGER), source, state, '', count(*), max(received_at), max(id)
FROM (SELECT id, source, received_at, state FROM events ORDER BY id DESC LIMIT 50000)
GROUP BY 1, 2, 3;
