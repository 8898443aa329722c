-- readable from 1
-- When the next delivery becomes due, without a look at all that wait; and how the destinations are.

CREATE INDEX deliveries_next ON deliveries (destination, due_at) WHERE state = 'pending';

CREATE TABLE health (
    destination TEXT PRIMARY KEY,
    ok          INTEGER NOT NULL,
    text        TEXT NOT NULL,
    at          REAL NOT NULL,
    failures    INTEGER NOT NULL,
    rest_until  REAL
) STRICT, WITHOUT ROWID;
