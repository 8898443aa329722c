-- readable from 1
-- Forgetting without a look through a table: whether a run still has deliveries, and which tracks are old. Attempts go
-- with their delivery.

CREATE INDEX deliveries_run ON deliveries (run_key) WHERE run_key IS NOT NULL;
CREATE INDEX tracks_updated ON tracks (updated_at);

DELETE FROM attempts WHERE delivery_id NOT IN (SELECT id FROM deliveries);
