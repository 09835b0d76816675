-- Statements about files: rows of `file_parts`. Names, values and columns are those of sqlite_parts.sql, and `parts_from` and
-- `parts_backwards` are asked for a few parts at a time.

-- name: put_parts
-- Parts are stored, or stored anew where the same ones were shorter or other. All at once: a statement for each would cost the
-- server more than its work.
INSERT INTO zonekeeper.file_parts
    (home, session_id, name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision, crc32, codec, data)
SELECT * FROM unnest(
    :homes::text[], :session_ids::text[], :names::text[], :start_bytes::bigint[], :first_lines::bigint[],
    :sizes_bytes::integer[], :line_counts::integer[], :modified_at_mss::bigint[], :revisions::bigint[],
    :crc32s::bigint[], :codecs::smallint[], :datas::bytea[]
)
ON CONFLICT (home, session_id, name, start_byte) DO UPDATE SET
    first_line = excluded.first_line, size_bytes = excluded.size_bytes, line_count = excluded.line_count,
    modified_at_ms = excluded.modified_at_ms, revision = excluded.revision,
    crc32 = excluded.crc32, codec = excluded.codec, data = excluded.data;

-- name: stamp_part
-- The last part of a file bears the file's revision and time. Its bytes stay, and are not stored anew.
UPDATE zonekeeper.file_parts SET modified_at_ms = :modified_at_ms, revision = :revision
WHERE home = :key.home AND session_id = :key.session_id AND name = :name AND start_byte = :start_byte;

-- name: delete_parts_from
-- The end of a file is cut off, or about to be stored anew.
DELETE FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = :name AND start_byte >= :start_byte;

-- name: move_file
-- A file goes to another session, whole.
UPDATE zonekeeper.file_parts SET home = :target_key.home, session_id = :target_key.session_id
WHERE home = :source_key.home AND session_id = :source_key.session_id AND name = :name;

-- name: last_part
-- The last part of a file tells the file's size, lines, revision and time.
SELECT name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = :name ORDER BY start_byte DESC LIMIT 1;

-- name: has_content
-- Whether a session has a byte at all.
SELECT 1 FROM zonekeeper.file_parts WHERE home = :key.home AND session_id = :key.session_id AND size_bytes <> 0 LIMIT 1;

-- name: files_of
-- The files of sessions by their last parts: the session's number among those asked for, from 0, and what `last_part` tells. Skips
-- from name to name, backwards, so that one look finds a file and its last part, whatever number of parts lies between.
WITH RECURSIVE last_parts AS (
    SELECT number - 1 AS number, last_part.*
    FROM unnest(:keys.home::text[], :keys.session_id::text[]) WITH ORDINALITY AS wanted (home, session_id, number)
    CROSS JOIN LATERAL (
        SELECT part.home, part.session_id, name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision
        FROM zonekeeper.file_parts AS part
        WHERE part.home = wanted.home AND part.session_id = wanted.session_id
        ORDER BY name DESC, start_byte DESC LIMIT 1
    ) AS last_part
    UNION ALL
    SELECT number, last_part.*
    FROM last_parts AS later
    CROSS JOIN LATERAL (
        SELECT part.home, part.session_id, name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision
        FROM zonekeeper.file_parts AS part
        WHERE part.home = later.home AND part.session_id = later.session_id AND part.name < later.name
        ORDER BY name DESC, start_byte DESC LIMIT 1
    ) AS last_part
)
SELECT number, name, start_byte, first_line, size_bytes, line_count, modified_at_ms, revision
FROM last_parts ORDER BY number, name;

-- name: parts_from
-- Parts of a file in order, from the one that holds a byte.
SELECT start_byte, first_line, size_bytes, line_count, crc32, codec, data FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = :name AND start_byte >= coalesce((
    SELECT max(start_byte) FROM zonekeeper.file_parts
    WHERE home = :key.home AND session_id = :key.session_id AND name = :name AND start_byte <= :start_byte
), 0)
ORDER BY start_byte LIMIT :parts_max;

-- name: part_of_line
-- Where the part begins that holds a line: the last one of those that begin with it or before it, as a part of blank
-- lines begins with the same line as the one after it. Behind it where the part before it ends, by its own row.
SELECT start_byte, start_byte + size_bytes, first_line + line_count FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = 'output' AND first_line <= :first_line
ORDER BY first_line DESC, start_byte DESC LIMIT 2;

-- name: parts_backwards
-- Parts of the output from its end.
SELECT start_byte, first_line, size_bytes, line_count, crc32, codec, data FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = 'output' AND start_byte < :before_byte
ORDER BY start_byte DESC LIMIT :parts_max;

-- name: tail_parts
-- The shapes of the last parts of an output, from its end.
SELECT start_byte, first_line, size_bytes, line_count, revision FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = 'output' ORDER BY start_byte DESC LIMIT :limit;

-- name: end_of_output
-- The last part of an output where it is small enough to grow, or compressed, else its last byte; sound or not.
SELECT crc32, codec,
    CASE WHEN size_bytes <= :small_bytes OR codec <> 0 THEN data ELSE substr(data, greatest(length(data), 1)) END
FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = 'output' ORDER BY start_byte DESC LIMIT 1;

-- name: parts_after
-- More of what `parts_from` began.
SELECT start_byte, first_line, size_bytes, line_count, crc32, codec, data FROM zonekeeper.file_parts
WHERE home = :key.home AND session_id = :key.session_id AND name = :name AND start_byte > :start_byte
ORDER BY start_byte LIMIT :parts_max;
