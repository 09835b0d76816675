-- Statements about archives that are compressed in the background.

-- name: archives_to_compress
-- What is left to do, newest first.
SELECT definition_id, archived_at_ms FROM zones
WHERE is_compressed = 0 AND archived_at_ms IS NOT NULL
ORDER BY archived_at_ms DESC LIMIT :limit;

-- name: parts_to_compress
-- Parts of a session's files beyond one, in order; the data only of those that can be compressed.
SELECT name, start_byte, size_bytes, revision, crc32, CASE WHEN codec = 0 AND size_bytes >= :small_bytes THEN data END
FROM file_parts
WHERE zone_id = :key AND (name, start_byte) > (CAST(:name AS TEXT), :start_byte)
ORDER BY name, start_byte LIMIT :limit;

-- name: compress_part
-- A part is stored in fewer bytes, if it is still the one that was read.
UPDATE file_parts SET codec = :codec, data = :data
WHERE zone_id = :key AND name = CAST(:name AS TEXT) AND start_byte = :start_byte
    AND codec = 0 AND size_bytes = :size_bytes AND revision = :revision AND crc32 = :crc32;

-- name: set_compressed
-- All parts of an archive have been gone through.
UPDATE zones SET is_compressed = 1 WHERE id = :key AND archived_at_ms IS NOT NULL;
