-- readable from 1
-- What is silenced, and until when. Ended ones stay for a while: what was owed meanwhile is not told afterwards. Code
-- that does not know this table only does not keep quiet.

CREATE TABLE mutes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    rule       TEXT NOT NULL,  -- of this name; or
    repository TEXT NOT NULL,  -- of repositories like this
    branch     TEXT NOT NULL,  -- and there only of branches like this. All three '': everything
    since      REAL NOT NULL,
    until      REAL NOT NULL,
    reason     TEXT NOT NULL
) STRICT;
CREATE INDEX mutes_until ON mutes (until);
