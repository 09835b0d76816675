-- Statements about the version of the stored form.

-- name: tables
-- What a schema of our name has.
SELECT table_name FROM information_schema.tables WHERE table_schema = 'zonekeeper';

-- name: version
-- The version, as it is.
SELECT number FROM zonekeeper.version;

-- name: first_version
-- The version of a schema that has nothing else yet.
INSERT INTO zonekeeper.version (number) VALUES (0) ON CONFLICT DO NOTHING;

-- name: lock_version
-- The version, and nobody else changes it meanwhile.
SELECT number FROM zonekeeper.version FOR UPDATE;

-- name: set_version
-- The steps up to this one are taken.
UPDATE zonekeeper.version SET number = :number;
