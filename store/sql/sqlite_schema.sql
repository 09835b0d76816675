-- The steps that make the stored form, in order. `user_version` is the number of the last one taken.

-- name: step_one_zones
-- One row a session. Archive and move change this row and nothing else.
CREATE TABLE IF NOT EXISTS zones (
    id             INTEGER PRIMARY KEY,
    zone           TEXT    NOT NULL UNIQUE,
    definition_id  TEXT    NOT NULL,
    archived_at_ms INTEGER,
    session_id     TEXT    NOT NULL UNIQUE,
    created_at_ms  INTEGER NOT NULL,
    covers_line    INTEGER,
    preview        TEXT,
    node_count     INTEGER NOT NULL DEFAULT 0,
    origin         TEXT    UNIQUE
);

-- name: step_one_zones_by_agent
-- The archives of an agent by time, and the agents in order.
CREATE INDEX IF NOT EXISTS zones_by_agent ON zones (definition_id, archived_at_ms);

-- name: step_one_zones_without_preview
-- What the background still has to work out; empty most of the time.
CREATE INDEX IF NOT EXISTS zones_without_preview ON zones (archived_at_ms)
    WHERE preview IS NULL AND archived_at_ms IS NOT NULL;

-- name: step_one_file_parts
-- One row a part. The data comes last: the columns before it are read without it.
CREATE TABLE IF NOT EXISTS file_parts (
    zone_id        INTEGER NOT NULL REFERENCES zones (id) ON DELETE CASCADE,
    name           TEXT    NOT NULL,
    start_byte     INTEGER NOT NULL,
    first_line     INTEGER NOT NULL,
    size_bytes     INTEGER NOT NULL,
    line_count     INTEGER NOT NULL,
    modified_at_ms INTEGER NOT NULL,
    revision       INTEGER NOT NULL,
    crc32          INTEGER NOT NULL,
    codec          INTEGER NOT NULL,
    data           BLOB    NOT NULL,
    UNIQUE (zone_id, name, start_byte)
);

-- name: step_one_file_parts_by_line
-- Where a page of output begins.
CREATE INDEX IF NOT EXISTS file_parts_by_line ON file_parts (zone_id, name, first_line, start_byte)
    WHERE name = 'output';

-- name: step_two_zones_is_compressed
-- Parts may be compressed (`file_parts.codec` 1), and this tells of an archive whether they have been gone through.
ALTER TABLE zones ADD COLUMN is_compressed INTEGER NOT NULL DEFAULT 0;

-- name: step_two_zones_to_compress
-- What the background still has to compress; empty most of the time.
CREATE INDEX IF NOT EXISTS zones_to_compress ON zones (archived_at_ms)
    WHERE is_compressed = 0 AND archived_at_ms IS NOT NULL;
