-- readable from 1
-- The first shape. Times are seconds since 1970, UTC. Ids only grow (AUTOINCREMENT): they are the order of arrival,
-- whatever the clock does.

CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT NOT NULL,
    received_at REAL NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('routed', 'unrouted', 'unchanged', 'ignored', 'unreadable', 'stuck')),
    event       BLOB,             -- the normalised event, merged with its run, as JSON
    problem     TEXT NOT NULL,    -- why it is ignored, unreadable or stuck
    rules       TEXT NOT NULL,    -- names of the rules that matched, as JSON
    headers     TEXT NOT NULL,    -- as JSON, without signatures
    body        BLOB              -- the raw body, zstd
) STRICT;
CREATE INDEX events_received ON events (received_at);
CREATE INDEX events_stuck ON events (id) WHERE state = 'stuck';

CREATE TABLE seen (
    source   TEXT NOT NULL,
    key      TEXT NOT NULL,
    event_id INTEGER NOT NULL,
    sent_at  REAL,                -- by the sender's unsigned clock
    at       REAL NOT NULL,
    PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at);

CREATE TABLE runs (
    key        TEXT PRIMARY KEY,
    run        BLOB NOT NULL,
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_updated ON runs (updated_at);

CREATE TABLE tracks (
    key        TEXT PRIMARY KEY,
    track      BLOB NOT NULL,
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Where the messages of a run are: one living message ("m|RUN|TARGET") and the root of its thread ("t|RUN|PLACE").
CREATE TABLE places (
    key        TEXT PRIMARY KEY,
    receipt    TEXT NOT NULL,
    shown      INTEGER NOT NULL,  -- the version of the run that the living message shows: it only grows
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX places_updated ON places (updated_at);

CREATE TABLE deliveries (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id     INTEGER NOT NULL,
    lane         TEXT NOT NULL,   -- one run at one destination: its deliveries go out one by one, oldest first
    run_key      TEXT,
    destination  TEXT NOT NULL,
    message      TEXT NOT NULL,   -- the target's key: wishes for one living message share it
    target       TEXT NOT NULL,
    live         INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'done', 'folded', 'dead', 'dropped')),
    due_at       REAL NOT NULL,
    leased_until REAL,
    created_at   REAL NOT NULL,
    settled_at   REAL,
    attempts     INTEGER NOT NULL DEFAULT 0,  -- those that count
    tries        INTEGER NOT NULL DEFAULT 0,  -- all
    unsure       INTEGER NOT NULL DEFAULT 0,
    plain        INTEGER NOT NULL DEFAULT 0,
    replayed     INTEGER NOT NULL DEFAULT 0,
    text         TEXT NOT NULL DEFAULT '',
    sent         BLOB,            -- the message as it was sent, as JSON
    CHECK ((state = 'sending') = (leased_until IS NOT NULL))
) STRICT;
CREATE INDEX deliveries_due ON deliveries (destination, id, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_lane ON deliveries (lane, id) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_leased ON deliveries (destination, leased_until) WHERE state = 'sending';
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_dead ON deliveries (destination, id) WHERE state IN ('dead', 'dropped');
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE attempts (
    id          INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL,
    at          REAL NOT NULL,
    outcome     TEXT NOT NULL,
    text        TEXT NOT NULL,
    seconds     REAL NOT NULL
) STRICT;
CREATE INDEX attempts_delivery ON attempts (delivery_id);
