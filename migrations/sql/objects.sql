-- Statements about objects.db: `db_block` holds the panes, `db_agent_definitions` the agents and templates.

-- name: blocks
-- Every pane, in row order, which is that of a scan; a table need not have row ids to be ordered by. `data` is JSON, stored as
-- BLOB or as TEXT.
SELECT CAST(oid AS TEXT), CAST(data AS BLOB) FROM db_block NOT INDEXED;

-- name: templates
-- The seeded definitions, in order of id.
SELECT id FROM db_agent_definitions WHERE is_seeded = 1 ORDER BY id;

-- name: definition_exists
-- Whether there is a definition of that id.
SELECT 1 FROM db_agent_definitions WHERE id = :id;

-- name: template_name
-- What a template is called.
SELECT CAST(name AS TEXT) FROM db_agent_definitions WHERE id = :template_id;

-- name: instance_names
-- What the visible instances of a template are called, the most recently started first, of equal times the greatest id.
SELECT CAST(instance_name AS TEXT) FROM db_agent_instances
WHERE definition_id = :template_id AND {visible} ORDER BY {started_at} DESC, id DESC;

-- name: slug_taken
-- Whether a definition has that slug, in letters of either case: the index that keeps slugs unique may not tell them apart.
SELECT 1 FROM db_agent_definitions WHERE slug = :slug COLLATE NOCASE;

-- name: copy_definition
-- The user's definition is made from the template. What is not named gets its column's default.
INSERT INTO db_agent_definitions ({names}) SELECT {values} FROM db_agent_definitions WHERE id = :template_id;

-- name: copy_content
-- The template's texts are copied. A row that an earlier promotion left behind stays as it is.
INSERT INTO db_agent_content ({names}) SELECT {values} FROM db_agent_content WHERE agent_id = :template_id
ON CONFLICT DO NOTHING;

-- name: copy_skills
-- The template's skills are copied.
INSERT INTO db_agent_skills ({names}) SELECT {values} FROM db_agent_skills WHERE agent_id = :template_id
ON CONFLICT DO NOTHING;

-- name: count_content
-- How many texts a template has.
SELECT count(*) FROM db_agent_content WHERE agent_id = :template_id;

-- name: count_skills
-- How many skills a template has.
SELECT count(*) FROM db_agent_skills WHERE agent_id = :template_id;

-- name: repoint_instances
-- The template's instances become the user's.
UPDATE db_agent_instances SET definition_id = :new_id WHERE definition_id = :template_id;

-- name: data_version
-- Changes when another connection has committed.
PRAGMA data_version;
