-- Statements of `zonekeeper doctor` over a database.

-- name: server
-- Which server it is, and what its clock says, in unix milliseconds.
SELECT current_setting('server_version'), floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- name: content_after
-- The sessions that content belongs to, a page of them, and whether each is there. Skips from one to the next, whatever number of
-- parts lies between. Content and session are changed together, so one statement sees either both or neither.
WITH RECURSIVE content (number, home, session_id) AS (
    (
        SELECT 1, home, session_id FROM zonekeeper.file_parts
        WHERE (home, session_id) > (:home, :session_id) ORDER BY home, session_id LIMIT 1
    )
    UNION ALL
    SELECT number + 1, following.home, following.session_id FROM content CROSS JOIN LATERAL (
        SELECT part.home, part.session_id FROM zonekeeper.file_parts AS part
        WHERE (part.home, part.session_id) > (content.home, content.session_id)
        ORDER BY part.home, part.session_id LIMIT 1
    ) AS following
    WHERE number < :limit
)
SELECT home, session_id, EXISTS (
    SELECT FROM zonekeeper.zones AS zone WHERE zone.session_id = content.session_id AND zone.home = content.home
) FROM content ORDER BY number;

-- name: content_of
-- What there is of a session's content, by file.
SELECT name, count(*), sum(size_bytes)::bigint FROM zonekeeper.file_parts
WHERE home = :home AND session_id = :session_id GROUP BY name ORDER BY name;

-- name: missing_rights
-- What a daemon does with the tables and this role may not.
SELECT right_name || ' on ' || table_name
FROM (VALUES ('zones'), ('file_parts'), ('agents'), ('batches'), ('version'), ('turn')) AS tables (table_name)
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS rights (right_name)
WHERE NOT has_table_privilege('zonekeeper.' || table_name, right_name)
    AND (right_name IN ('SELECT', 'UPDATE') OR table_name NOT IN ('version', 'turn'));
