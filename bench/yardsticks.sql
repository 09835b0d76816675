-- What the raw yardsticks say to SQLite and PostgreSQL, and what old data is made with. Each statement under a name and a sentence.

-- name: durable_log
-- Make every commit durable, as the daemon does.
PRAGMA synchronous = FULL;

-- name: write_ahead_log
-- Keep a write-ahead log.
PRAGMA journal_mode = wal;

-- name: blobs
-- The plainest table that holds what is appended.
CREATE TABLE blobs (id INTEGER PRIMARY KEY, data BLOB NOT NULL);

-- name: append_blob
-- Append.
INSERT INTO blobs (data) VALUES (?);

-- name: forget_lines
-- Begin anew.
DROP TABLE IF EXISTS bench_lines;

-- name: lines
-- The plainest table of PostgreSQL that holds what is appended.
CREATE TABLE bench_lines (number bigint PRIMARY KEY, data bytea NOT NULL);

-- name: insert_line
-- Append.
INSERT INTO bench_lines (number, data) VALUES ($1, $2);

-- name: stored_bytes
-- What the tables of a store take.
SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'zonekeeper'::regnamespace;

-- name: old_files
-- The files of an AgentMux installation.
CREATE TABLE db_wave_file (
    zoneid TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL DEFAULT 0,
    createdts INTEGER NOT NULL DEFAULT 0, modts INTEGER NOT NULL DEFAULT 0,
    opts TEXT NOT NULL DEFAULT '{}', meta TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (zoneid, name));

-- name: old_parts
-- Their content, in parts of 64 KiB.
CREATE TABLE db_file_data (
    zoneid TEXT NOT NULL, name TEXT NOT NULL, partidx INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (zoneid, name, partidx));

-- name: old_blocks
-- The panes.
CREATE TABLE db_block (oid TEXT PRIMARY KEY, version INTEGER NOT NULL DEFAULT 1, data TEXT NOT NULL);

-- name: put_old_file
-- Add a file.
INSERT INTO db_wave_file (zoneid, name, size, createdts, modts) VALUES (?, ?, ?, ?, ?);

-- name: put_old_part
-- Add a part of a file.
INSERT INTO db_file_data VALUES (?, ?, ?, ?);

-- name: put_old_block
-- Add a pane.
INSERT INTO db_block (oid, data) VALUES (?, ?);

-- name: attach_old
-- Have the old data beside the new.
ATTACH DATABASE ? AS old;

-- name: copy_files
-- Copy every file.
INSERT INTO db_wave_file SELECT * FROM old.db_wave_file;

-- name: copy_parts
-- Copy every part.
INSERT INTO db_file_data SELECT * FROM old.db_file_data;

-- name: know_previews
-- Spare the daemon of working out the previews of what a measurement was filled with.
UPDATE zones SET preview = 'a line of output' WHERE archived_at_ms IS NOT NULL AND preview IS NULL;

-- name: look
-- Begin to read, and so hold the log.
SELECT count(*) FROM zones;
