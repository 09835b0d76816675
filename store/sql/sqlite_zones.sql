-- Statements about sessions: rows of `zones`.

-- name: zone_by_name
-- One session.
SELECT id, session_id, created_at_ms, covers_line FROM zones WHERE zone = :zone;

-- name: zone_by_session
-- Where a session is by now.
SELECT id, zone FROM zones WHERE session_id = :session_id;

-- name: insert_zone
-- A session comes into being.
INSERT INTO zones (zone, definition_id, archived_at_ms, session_id, created_at_ms, covers_line, origin)
VALUES (:zone, :definition_id, :archived_at_ms, :session_id, :created_at_ms, :covers_line, :origin);

-- name: set_covers_line
-- How much of the output the snapshot contains.
UPDATE zones SET covers_line = :covers_line WHERE id = :key AND covers_line IS NOT :covers_line;

-- name: rename_zone
-- Archive and move. What was worked out for an archive stays where it stays one.
UPDATE zones
SET zone = :zone,
    definition_id = :definition_id,
    preview = CASE WHEN archived_at_ms IS NULL OR :archived_at_ms IS NULL THEN NULL ELSE preview END,
    node_count = CASE WHEN archived_at_ms IS NULL OR :archived_at_ms IS NULL THEN 0 ELSE node_count END,
    is_compressed = CASE WHEN archived_at_ms IS NULL OR :archived_at_ms IS NULL THEN 0 ELSE is_compressed END,
    archived_at_ms = :archived_at_ms
WHERE id = :key;

-- name: delete_zone
-- A session without a byte, or one whose files have all gone to another; its parts go with it.
DELETE FROM zones WHERE id = :key;

-- name: archive_by_session
-- The archive that a session of this agent became.
SELECT zone, archived_at_ms FROM zones
WHERE session_id = :session_id AND definition_id = :definition_id AND archived_at_ms IS NOT NULL;

-- name: newest_archive
-- Time of an agent's newest archive.
SELECT max(archived_at_ms) FROM zones WHERE definition_id = :definition_id;

-- name: keep_preview
-- A preview is worked out once.
UPDATE zones SET preview = :preview, node_count = :node_count
WHERE zone = :zone AND archived_at_ms IS NOT NULL AND preview IS NULL;

-- name: zones_of
-- All sessions of an agent, the current one first.
SELECT zone, id, session_id, created_at_ms FROM zones WHERE definition_id = :definition_id
ORDER BY archived_at_ms IS NOT NULL, archived_at_ms;

-- name: list_archives
-- An agent's archives, newest first.
SELECT id, archived_at_ms, preview, node_count, session_id FROM zones
WHERE definition_id = :definition_id AND archived_at_ms < :before_ms
ORDER BY archived_at_ms DESC LIMIT :limit;

-- name: archives_without_preview
-- What is left to work out, newest first.
SELECT definition_id, archived_at_ms FROM zones
WHERE preview IS NULL AND archived_at_ms IS NOT NULL
ORDER BY archived_at_ms DESC LIMIT :limit;

-- name: list_agents
-- Agents in order of id, each with what `stat` tells.
SELECT agent.definition_id, zone.id, zone.session_id, (
    SELECT count(archived_at_ms) FROM zones WHERE definition_id = agent.definition_id
)
FROM (
    SELECT DISTINCT definition_id FROM zones WHERE definition_id > :after ORDER BY definition_id LIMIT :limit
) AS agent
LEFT JOIN zones AS zone ON zone.definition_id = agent.definition_id AND zone.archived_at_ms IS NULL
ORDER BY agent.definition_id;

-- name: stat
-- The current sessions of agents, where they have one, and how many archives.
SELECT agent.value, zone.id, zone.session_id, (
    SELECT count(archived_at_ms) FROM zones WHERE definition_id = agent.value
)
FROM json_each(:definition_ids) AS agent
LEFT JOIN zones AS zone ON zone.definition_id = agent.value AND zone.archived_at_ms IS NULL;

-- name: origins
-- Where sessions came from; one that was completed from another has several, a line each.
SELECT origin FROM zones WHERE origin IS NOT NULL;

-- name: origin_of
-- Where one session came from.
SELECT origin, covers_line FROM zones WHERE id = :key;

-- name: complete_zone
-- A session takes over what another one was known by. Its preview is worked out anew, and its files are gone through again.
UPDATE zones
SET origin = :origin, covers_line = coalesce(covers_line, :covers_line), preview = NULL, node_count = 0, is_compressed = 0
WHERE id = :key;

-- name: any_session
-- Whether it keeps any session.
SELECT 1 FROM zones LIMIT 1;

-- name: sessions_after
-- All that is kept of some sessions beside their files, in the order of their ids.
SELECT id, zone, session_id, created_at_ms, covers_line, preview, node_count, origin FROM zones
WHERE session_id > :after ORDER BY session_id LIMIT :limit;

-- name: session_facts
-- The same of one session.
SELECT id, zone, session_id, created_at_ms, covers_line, preview, node_count, origin FROM zones
WHERE session_id = :session_id;

-- name: take_origin
-- Another session has it no more: in the store that is copied it has gone to this one.
UPDATE zones SET origin = NULL WHERE origin = :origin AND session_id <> :session_id;

-- name: set_facts
-- A copy becomes what the session is elsewhere.
UPDATE zones
SET created_at_ms = :created_at_ms, covers_line = :covers_line, preview = :preview, node_count = :node_count, origin = :origin
WHERE id = :key;

-- name: count_to_compress
-- For the status: archives whose parts have not been gone through.
SELECT count(*) FROM zones WHERE is_compressed = 0 AND archived_at_ms IS NOT NULL;

-- name: count_sessions
-- For the status.
SELECT count(*) AS sessions,
    count(archived_at_ms) AS archives,
    (SELECT count(*) FROM zones WHERE preview IS NULL AND archived_at_ms IS NOT NULL) AS previews_waiting
FROM zones;
