-- The steps that make the stored form, in order. The row of `zonekeeper.version` has the number of the last one taken.
--
-- Every key begins with a definition id, by which a distributed engine would spread the tables. That of a part is the one its
-- session was born with, so that a session which moves to another definition moves by one row.

-- name: schema
-- A schema of its own, and who may migrate it: whoever holds the row of its version.
CREATE SCHEMA IF NOT EXISTS zonekeeper;

-- name: version
-- One row. What the standings mean: `store.records.Standing`. The identity tells a store from every other one; a replica and a
-- restored backup have that of the store they come from.
CREATE TABLE IF NOT EXISTS zonekeeper.version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number   integer NOT NULL,
    identity uuid    NOT NULL,
    standing text    NOT NULL DEFAULT 'own' CHECK (standing IN ('own', 'copying', 'copied'))
);

-- name: step_one_agents
-- A row an agent, to be locked: whoever changes sessions of an agent holds its row until the commit. It has who did so last.
CREATE TABLE zonekeeper.agents (
    definition_id text COLLATE "C" PRIMARY KEY,
    last_writer   uuid
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- name: step_one_turn
-- One row, for nothing but to be locked: whoever migrates old data, or copies sessions to here, holds it all the while.
CREATE TABLE zonekeeper.turn (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);

-- name: step_one_turn_row
-- See the table.
INSERT INTO zonekeeper.turn DEFAULT VALUES;

-- name: step_one_zones
-- One row a session. Archive and move change this row and nothing else. A current session has -1 for its time: so one key
-- holds both that there is one at most, and that no two archives have one time. The preview is UTF-8, which may hold a zero.
CREATE TABLE zonekeeper.zones (
    definition_id  text COLLATE "C" NOT NULL,
    archived_at_ms bigint           NOT NULL,
    created_at_ms  bigint           NOT NULL,
    covers_line    bigint,
    node_count     bigint           NOT NULL DEFAULT 0,
    home           text COLLATE "C" NOT NULL,
    session_id     text COLLATE "C" NOT NULL,
    origin         text COLLATE "C",
    preview        bytea,
    PRIMARY KEY (definition_id, archived_at_ms)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- name: step_one_zones_by_session
-- Where a session is by now, where nobody can tell whose it is. What changes a session knows that, and names it.
CREATE INDEX zones_by_session ON zonekeeper.zones (session_id);

-- name: step_one_zones_by_origin
-- One origin cannot come to an agent twice.
CREATE UNIQUE INDEX zones_by_origin ON zonekeeper.zones (definition_id, origin) WHERE origin IS NOT NULL;

-- name: step_one_zones_without_preview
-- What the background still has to work out; empty most of the time.
CREATE INDEX zones_without_preview ON zonekeeper.zones (archived_at_ms) WHERE preview IS NULL AND archived_at_ms >= 0;

-- name: step_one_file_parts
-- One row a part, what is short before its data. Half a page is left free and a part that still grows stays in the page
-- (`toast_tuple_target`): so an append makes a new version of the row beside the old one, without touching an index, and the
-- old one is cleared away by whoever comes next. The server's own compression is off: it was seen to cost 24 ms a MiB.
CREATE TABLE zonekeeper.file_parts (
    start_byte     bigint           NOT NULL,
    first_line     bigint           NOT NULL,
    modified_at_ms bigint           NOT NULL,
    revision       bigint           NOT NULL,
    crc32          bigint           NOT NULL,
    size_bytes     integer          NOT NULL,
    line_count     integer          NOT NULL,
    codec          smallint         NOT NULL DEFAULT 0,
    home           text COLLATE "C" NOT NULL,
    session_id     text COLLATE "C" NOT NULL,
    name           text COLLATE "C" NOT NULL,
    data           bytea            NOT NULL,
    PRIMARY KEY (home, session_id, name, start_byte)
) WITH (
    fillfactor = 50, toast_tuple_target = 4080,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0
);

-- name: step_one_file_parts_as_they_are
-- See the table.
ALTER TABLE zonekeeper.file_parts ALTER COLUMN data SET STORAGE EXTERNAL;

-- name: step_one_file_parts_by_line
-- Where a page of output begins.
CREATE INDEX file_parts_by_line ON zonekeeper.file_parts (home, session_id, first_line, start_byte) WHERE name = 'output';

-- name: step_one_batches
-- The batches that took effect, for whoever lost the answer to a commit; and those that never will, as their ids were claimed by
-- whoever asked. Kept for an hour.
CREATE TABLE zonekeeper.batches (
    committed_at timestamptz NOT NULL DEFAULT now(),
    is_claim     boolean     NOT NULL DEFAULT false,
    id           uuid        PRIMARY KEY
);

-- name: step_one_batches_by_time
-- What may be deleted.
CREATE INDEX batches_by_time ON zonekeeper.batches (committed_at);
