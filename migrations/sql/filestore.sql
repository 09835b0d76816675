-- Statements about filestore.db: `db_wave_file` holds a row for each file, `db_file_data` the parts of their content.

-- name: files
-- Every file, without its content. An early build has no `opts`.
SELECT zoneid, name, size, createdts, modts, {opts} FROM db_wave_file ORDER BY zoneid, name;

-- name: files_without_parts
-- A file that claims bytes although there is no table they could be in.
SELECT zoneid, name FROM db_wave_file WHERE size <> 0 LIMIT 1;

-- name: any_part
-- Whether there is any content, and whether the table can be read at all.
SELECT zoneid FROM db_file_data LIMIT 1;

-- name: part_sizes
-- How long the parts of a file are, without reading them: a length of a BLOB stands in the row's header.
SELECT partidx, CASE typeof(data) WHEN 'blob' THEN length(data) ELSE length(CAST(data AS BLOB)) END
FROM db_file_data WHERE zoneid = :zone AND name = :name AND partidx >= 0 ORDER BY partidx;

-- name: parts
-- The content of a file. A part that was stored as TEXT is the bytes of that text.
SELECT CAST(data AS BLOB) FROM db_file_data
WHERE zoneid = :zone AND name = :name AND partidx >= :first AND partidx < :beyond ORDER BY partidx;
