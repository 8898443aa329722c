-- readable from 1
-- How often each source was answered, and how: a row for each day, so that the view of an organisation reads no events.
-- Of strangers only their number is kept. The days begin with what the newest events say, as far as that takes a moment.

CREATE TABLE tallies (
    day        integer NOT NULL,           -- since 1970, UTC
    source     text COLLATE "C" NOT NULL,  -- '' stands for every name that no source has
    answer     text COLLATE "C" NOT NULL,  -- the state of an accepted event, duplicate, or why it was refused
    repository text COLLATE "C" NOT NULL,  -- of accepted events; else ''
    times      bigint NOT NULL,
    last_at    double precision NOT NULL,
    last_event bigint NOT NULL,            -- 0: none was kept
    PRIMARY KEY (day, source, answer, repository)
);
ALTER TABLE tallies SET (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 70);

INSERT INTO tallies (day, source, answer, repository, times, last_at, last_event)
SELECT floor(received_at / 86400)::integer, source, state, '', count(*), max(received_at), max(id)
FROM (SELECT id, source, received_at, state FROM events ORDER BY id DESC LIMIT 50000) AS newest
GROUP BY 1, 2, 3;
