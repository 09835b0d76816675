-- Statements about sessions: rows of `zones`. Names, values and columns are those of sqlite_zones.sql; a session's key is its
-- home, the definition id it was born with, and its session id.

-- name: zone_by_name
-- One session.
SELECT ARRAY[home, session_id], session_id, created_at_ms, covers_line FROM zonekeeper.zones
WHERE definition_id = :zone.definition_id AND archived_at_ms = coalesce(:zone.archived_at_ms::bigint, -1);

-- name: zone_by_session
-- Where a session is by now.
SELECT ARRAY[home, session_id],
    'agent:' || definition_id || CASE WHEN archived_at_ms < 0 THEN ':current' ELSE ':archive:' || archived_at_ms END
FROM zonekeeper.zones WHERE session_id = :session_id;

-- name: insert_zone
-- A session comes into being.
INSERT INTO zonekeeper.zones (definition_id, archived_at_ms, home, session_id, created_at_ms, covers_line, origin)
VALUES (
    :zone.definition_id, coalesce(:zone.archived_at_ms::bigint, -1), :zone.definition_id, :session_id, :created_at_ms,
    :covers_line, :origin
);

-- name: set_covers_line
-- How much of the output the snapshot contains.
UPDATE zonekeeper.zones SET covers_line = :covers_line
WHERE definition_id = :zone.definition_id AND session_id = :key.session_id AND covers_line IS DISTINCT FROM :covers_line::bigint;

-- name: rename_zone
-- Archive, and a move within an agent. What was worked out for the list stays where an archive stays one.
UPDATE zonekeeper.zones
SET preview = CASE WHEN archived_at_ms < 0 OR :target.archived_at_ms::bigint IS NULL THEN NULL ELSE preview END,
    node_count = CASE WHEN archived_at_ms < 0 OR :target.archived_at_ms::bigint IS NULL THEN 0 ELSE node_count END,
    archived_at_ms = coalesce(:target.archived_at_ms::bigint, -1)
WHERE definition_id = :source.definition_id AND session_id = :key.session_id;

-- name: move_zone
-- A move to another agent. A statement of its own, since a distributed engine would have the row go to another server.
UPDATE zonekeeper.zones
SET definition_id = :target.definition_id,
    preview = CASE WHEN archived_at_ms < 0 OR :target.archived_at_ms::bigint IS NULL THEN NULL ELSE preview END,
    node_count = CASE WHEN archived_at_ms < 0 OR :target.archived_at_ms::bigint IS NULL THEN 0 ELSE node_count END,
    archived_at_ms = coalesce(:target.archived_at_ms::bigint, -1)
WHERE definition_id = :source.definition_id AND session_id = :key.session_id;

-- name: delete_zone
-- A session without a byte, or one whose files have all gone to another; its parts go with it.
WITH parts AS (
    DELETE FROM zonekeeper.file_parts WHERE home = :key.home AND session_id = :key.session_id
)
DELETE FROM zonekeeper.zones WHERE definition_id = :zone.definition_id AND session_id = :key.session_id;

-- name: archive_by_session
-- The archive that a session of this agent became.
SELECT session_id, archived_at_ms FROM zonekeeper.zones
WHERE session_id = :session_id AND definition_id = :definition_id AND archived_at_ms >= 0;

-- name: newest_archive
-- Time of an agent's newest archive.
SELECT max(archived_at_ms) FROM zonekeeper.zones WHERE definition_id = :definition_id AND archived_at_ms >= 0;

-- name: keep_preview
-- A preview is worked out once.
UPDATE zonekeeper.zones SET preview = :preview, node_count = :node_count
WHERE definition_id = :zone.definition_id AND archived_at_ms = :zone.archived_at_ms AND preview IS NULL;

-- name: zones_of
-- All sessions of an agent, the current one first.
SELECT 'agent:' || definition_id || CASE WHEN archived_at_ms < 0 THEN ':current' ELSE ':archive:' || archived_at_ms END,
    ARRAY[home, session_id], session_id, created_at_ms
FROM zonekeeper.zones WHERE definition_id = :definition_id ORDER BY archived_at_ms;

-- name: list_archives
-- An agent's archives, newest first.
SELECT ARRAY[home, session_id], archived_at_ms, preview, node_count, session_id FROM zonekeeper.zones
WHERE definition_id = :definition_id AND archived_at_ms >= 0 AND archived_at_ms < :before_ms
ORDER BY archived_at_ms DESC LIMIT :limit;

-- name: archives_without_preview
-- What is left to work out, newest first.
SELECT definition_id, archived_at_ms FROM zonekeeper.zones
WHERE preview IS NULL AND archived_at_ms >= 0 ORDER BY archived_at_ms DESC LIMIT :limit;

-- name: list_agents
-- Agents in order of id, each with what `stat` tells.
SELECT agent.definition_id, CASE WHEN zone.session_id IS NOT NULL THEN ARRAY[zone.home, zone.session_id] END, zone.session_id, (
    SELECT count(*) FROM zonekeeper.zones AS archive
    WHERE archive.definition_id = agent.definition_id AND archive.archived_at_ms >= 0
)
FROM (
    SELECT DISTINCT definition_id FROM zonekeeper.zones WHERE definition_id > :after ORDER BY definition_id LIMIT :limit
) AS agent
LEFT JOIN zonekeeper.zones AS zone ON zone.definition_id = agent.definition_id AND zone.archived_at_ms = -1
ORDER BY agent.definition_id;

-- name: stat
-- The current sessions of agents, where they have one, and how many archives.
SELECT agent.definition_id, CASE WHEN zone.session_id IS NOT NULL THEN ARRAY[zone.home, zone.session_id] END, zone.session_id, (
    SELECT count(*) FROM zonekeeper.zones AS archive
    WHERE archive.definition_id = agent.definition_id AND archive.archived_at_ms >= 0
)
FROM unnest(:definition_ids::text[]) AS agent (definition_id)
LEFT JOIN zonekeeper.zones AS zone ON zone.definition_id = agent.definition_id AND zone.archived_at_ms = -1;

-- name: origins
-- Where sessions came from; one that was completed from another has several, a line each.
SELECT origin FROM zonekeeper.zones WHERE origin IS NOT NULL;

-- name: origin_of
-- Where one session came from.
SELECT origin, covers_line FROM zonekeeper.zones WHERE definition_id = :zone.definition_id AND session_id = :key.session_id;

-- name: complete_zone
-- A session takes over what another one was known by. Its preview is worked out anew.
UPDATE zonekeeper.zones
SET origin = :origin, covers_line = coalesce(covers_line, :covers_line), preview = NULL, node_count = 0
WHERE definition_id = :zone.definition_id AND session_id = :key.session_id;

-- name: any_session
-- Whether it keeps any session.
SELECT 1 FROM zonekeeper.zones LIMIT 1;

-- name: sessions_after
-- All that is kept of some sessions beside their files, in the order of their ids.
SELECT ARRAY[home, session_id],
    'agent:' || definition_id || CASE WHEN archived_at_ms < 0 THEN ':current' ELSE ':archive:' || archived_at_ms END,
    session_id, created_at_ms, covers_line, preview, node_count, origin
FROM zonekeeper.zones WHERE session_id > :after ORDER BY session_id LIMIT :limit;

-- name: session_facts
-- The same of one session.
SELECT ARRAY[home, session_id],
    'agent:' || definition_id || CASE WHEN archived_at_ms < 0 THEN ':current' ELSE ':archive:' || archived_at_ms END,
    session_id, created_at_ms, covers_line, preview, node_count, origin
FROM zonekeeper.zones WHERE session_id = :session_id;

-- name: take_origin
-- Another session has it no more: in the store that is copied it has gone to this one.
UPDATE zonekeeper.zones SET origin = NULL
WHERE definition_id = :zone.definition_id AND origin = :origin AND session_id <> :session_id;

-- name: set_facts
-- A copy becomes what the session is elsewhere.
UPDATE zonekeeper.zones
SET created_at_ms = :created_at_ms, covers_line = :covers_line, preview = :preview, node_count = :node_count, origin = :origin
WHERE definition_id = :zone.definition_id AND session_id = :key.session_id;

-- name: count_to_compress
-- For the status: none, since parts are compressed as they are written.
SELECT 0;

-- name: count_sessions
-- For the status.
SELECT count(*), count(*) FILTER (WHERE archived_at_ms >= 0), count(*) FILTER (WHERE archived_at_ms >= 0 AND preview IS NULL)
FROM zonekeeper.zones;
