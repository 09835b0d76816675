-- Statements of `zonekeeper doctor` over a database.

-- name: server
-- Which server it is, and what its clock says, in unix milliseconds.
SELECT current_setting('server_version'), floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- name: missing_rights
-- What a daemon does with the tables and this role may not.
SELECT right_name || ' on ' || table_name
FROM (VALUES ('zones'), ('file_parts'), ('agents'), ('batches'), ('version'), ('turn')) AS tables (table_name)
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS rights (right_name)
WHERE NOT has_table_privilege('zonekeeper.' || table_name, right_name)
    AND (right_name IN ('SELECT', 'UPDATE') OR table_name NOT IN ('version', 'turn'));
