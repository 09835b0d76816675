-- Statements about the version of the stored form.

-- name: tables
-- What a schema of our name has.
SELECT table_name FROM information_schema.tables WHERE table_schema = 'zonekeeper';

-- name: version
-- The version and the standing, as they are.
SELECT number, standing FROM zonekeeper.version;

-- name: first_version
-- The version of a schema that has nothing else yet.
INSERT INTO zonekeeper.version (number, identity) VALUES (0, :identity) ON CONFLICT DO NOTHING;

-- name: identity
-- Which store it is.
SELECT identity FROM zonekeeper.version;

-- name: lock_version
-- Both, and nobody else changes them meanwhile.
SELECT number, standing FROM zonekeeper.version FOR UPDATE;

-- name: set_version
-- The steps up to this one are taken.
UPDATE zonekeeper.version SET number = :number;

-- name: set_standing
-- The store becomes a copy's target, or its own.
UPDATE zonekeeper.version SET standing = :standing;

-- name: wait_for_turn
-- Waits for whoever has the turn, for as long as `lock_timeout` says.
SELECT 1 FROM zonekeeper.turn FOR UPDATE;

-- name: daemons
-- Connections of daemons to this database.
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'zonekeeper';
