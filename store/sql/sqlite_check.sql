-- Statements of `zonekeeper doctor`: what is stored, read as it is.

-- name: objects
-- Tables, indexes and whatever else there is, and how each was made.
SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\_stat%' ESCAPE '\';

-- name: zones_after
-- Some sessions, in the order of their rows.
SELECT id, zone, definition_id, archived_at_ms, session_id, created_at_ms, covers_line, typeof(preview), node_count
FROM zones WHERE id > :after ORDER BY id LIMIT :limit;

-- name: session_ids_twice
-- Looked for in the table itself, since it is the index that may be wrong.
SELECT session_id, count(*) FROM zones NOT INDEXED GROUP BY session_id HAVING count(*) > 1 LIMIT :limit;

-- name: zones_twice
-- Two current sessions of an agent, or two archives of one time.
SELECT definition_id, archived_at_ms, count(*) FROM zones NOT INDEXED
GROUP BY definition_id, archived_at_ms HAVING count(*) > 1 LIMIT :limit;

-- name: parts_without_zone
-- Content that belongs to no session.
SELECT zone_id, name, count(*), sum(size_bytes) FROM file_parts
WHERE zone_id NOT IN (SELECT id FROM zones) GROUP BY zone_id, name ORDER BY zone_id, name LIMIT :limit;

-- name: file_names
-- The files of a session. Skips from name to name, whatever number of parts lies between.
WITH RECURSIVE names (name) AS (
    SELECT min(name) FROM file_parts WHERE zone_id = :zone_id
    UNION ALL
    SELECT (SELECT min(name) FROM file_parts WHERE zone_id = :zone_id AND name > names.name)
    FROM names WHERE name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL;

-- name: parts_after
-- Parts of a file in order, beyond one that was looked at.
SELECT start_byte, first_line, size_bytes, line_count, modified_at_ms, revision, crc32, codec, data FROM file_parts
WHERE zone_id = :zone_id AND name = :name AND start_byte > :after ORDER BY start_byte;

-- name: part_at
-- One part without its data, to see whether it has been stored anew since.
SELECT start_byte, first_line, size_bytes, line_count, modified_at_ms, revision, crc32, codec FROM file_parts
WHERE zone_id = :zone_id AND name = :name AND start_byte = :start_byte;
