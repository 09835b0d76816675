-- Statements about files: rows of `file_parts`.
--
-- `CAST(:name AS TEXT)`: a name compared as it is would have SQLite look whether the index of the output alone will do, and so
-- make the statement anew with every name that is bound, which takes longer than the statement.

-- name: put_part
-- A part is stored, or stored anew where the same one was shorter or other.
INSERT INTO file_parts
    (zone_id, name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision, crc32, codec, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
ON CONFLICT (zone_id, name, start_byte) DO UPDATE SET
    first_line = excluded.first_line, size_bytes = excluded.size_bytes, line_count = excluded.line_count,
    modified_at_ms = excluded.modified_at_ms, revision = excluded.revision,
    crc32 = excluded.crc32, codec = excluded.codec, data = excluded.data;

-- name: grow_part
-- A part of an output has grown at its end. What its indexes hold stays as it is, so they are not written. Takes the values of
-- `put_part` in their order.
UPDATE file_parts SET size_bytes = ?5, line_count = ?6, modified_at_ms = ?7, revision = ?8, crc32 = ?9, data = ?10
WHERE zone_id = ?1 AND name = ?2 AND start_byte = ?3;

-- name: stamp_part
-- The last part of a file bears the file's revision and time. Its bytes stay.
UPDATE file_parts SET modified_at_ms = :modified_at_ms, revision = :revision
WHERE zone_id = :key AND name = CAST(:name AS TEXT) AND start_byte = :start_byte;

-- name: delete_parts_from
-- The end of a file is cut off, or about to be stored anew.
DELETE FROM file_parts WHERE zone_id = :key AND name = CAST(:name AS TEXT) AND start_byte >= :start_byte;

-- name: move_file
-- A file goes to another session, whole.
UPDATE file_parts SET zone_id = :target_key WHERE zone_id = :source_key AND name = CAST(:name AS TEXT);

-- name: last_part
-- The last part of a file tells the file's size, lines, revision and time.
SELECT name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision
FROM file_parts WHERE zone_id = :key AND name = CAST(:name AS TEXT) ORDER BY start_byte DESC LIMIT 1;

-- name: has_content
-- Whether a session has a byte at all.
SELECT 1 FROM file_parts WHERE zone_id = :key AND size_bytes <> 0 LIMIT 1;

-- name: files_of
-- The files of sessions by their last parts: the session's number among those asked for, from 0, and what `last_part` tells. Skips
-- from name to name, whatever number of parts lies between.
WITH RECURSIVE names (number, zone_id, name) AS (
    SELECT wanted.key, wanted.value, (SELECT min(name) FROM file_parts WHERE zone_id = wanted.value)
    FROM json_each(:keys) AS wanted
    UNION ALL
    SELECT number, names.zone_id, (
        SELECT min(part.name) FROM file_parts AS part WHERE part.zone_id = names.zone_id AND part.name > names.name
    )
    FROM names WHERE names.name IS NOT NULL
)
SELECT number, part.name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision
FROM names JOIN file_parts AS part ON part.rowid = (
    SELECT rowid FROM file_parts
    WHERE zone_id = names.zone_id AND name = names.name ORDER BY start_byte DESC LIMIT 1
)
ORDER BY number, part.name;

-- name: parts_from
-- Parts of a file in order, from the one that holds a byte.
SELECT start_byte, first_line, size_bytes, line_count, crc32, codec, data FROM file_parts
WHERE zone_id = :key AND name = CAST(:name AS TEXT) AND start_byte >= coalesce((
    SELECT max(start_byte) FROM file_parts WHERE zone_id = :key AND name = CAST(:name AS TEXT) AND start_byte <= :start_byte
), 0)
ORDER BY start_byte;

-- name: part_of_line
-- Where the part begins that holds a line: the last one of those that begin with it or before it, as a part of blank
-- lines begins with the same line as the one after it. Behind it where the part before it ends, by its own row.
SELECT start_byte, start_byte + size_bytes AS end_byte, first_line + line_count AS end_line FROM file_parts
WHERE zone_id = :key AND name = 'output' AND first_line <= :first_line
ORDER BY first_line DESC, start_byte DESC LIMIT 2;

-- name: parts_backwards
-- Parts of the output from its end.
SELECT start_byte, first_line, size_bytes, line_count, crc32, codec, data FROM file_parts
WHERE zone_id = :key AND name = 'output' ORDER BY start_byte DESC;

-- name: tail_parts
-- The shapes of the last parts of an output, from its end.
SELECT start_byte, first_line, size_bytes, line_count, revision FROM file_parts
WHERE zone_id = :key AND name = 'output' ORDER BY start_byte DESC LIMIT :limit;

-- name: end_of_output
-- The last part of an output where it is small enough to grow, or compressed, else its last byte; sound or not.
SELECT crc32, codec, CASE WHEN size_bytes <= :small_bytes OR codec <> 0 THEN data ELSE substr(data, -1) END FROM file_parts
WHERE zone_id = :key AND name = 'output' ORDER BY start_byte DESC LIMIT 1;
