-- Statements about batches: their locks, what is looked at before they begin, and how one is known to have taken effect.

-- name: lock_agents
-- Agents are locked in one order, so that two daemons never wait for each other. How many there are, which of them somebody else
-- has changed last, and by the way whose the store is, whether our last batch is stored still, and what a commit means now.
WITH locked AS (
    SELECT definition_id, last_writer FROM zonekeeper.agents WHERE definition_id = ANY(:definition_ids)
    ORDER BY definition_id FOR UPDATE
)
SELECT count(*), array_agg(definition_id) FILTER (WHERE last_writer IS DISTINCT FROM :writer),
    (SELECT standing FROM zonekeeper.version), EXISTS (SELECT FROM zonekeeper.batches WHERE id = :last_batch),
    current_setting('fsync', true), current_setting('synchronous_commit', true),
    current_setting('synchronous_standby_names', true)
FROM locked;

-- name: add_agents
-- Agents that were not heard of before. In a transaction of its own, which ends at once.
INSERT INTO zonekeeper.agents (definition_id) SELECT unnest(:definition_ids::text[]) ON CONFLICT DO NOTHING;

-- name: take_agents
-- The current sessions of agents and the ends of their outputs, under their locks; from this batch on it is us who changed them
-- last. What a session has of an output is what `tail_parts` and `end_of_output` tell of one, from its end. Not in one statement
-- with the locks: what it sees would be as it was before the wait for one.
WITH taken AS (
    UPDATE zonekeeper.agents SET last_writer = :writer
    WHERE definition_id = ANY(:definition_ids) AND last_writer IS DISTINCT FROM :writer
)
SELECT zone.definition_id, zone.home, zone.session_id, start_byte, first_line, size_bytes, line_count, revision, crc32, codec,
    CASE
        WHEN place > 1 THEN NULL
        WHEN size_bytes <= :small_bytes OR codec <> 0 THEN data
        ELSE substr(data, greatest(length(data), 1))
    END
FROM zonekeeper.zones AS zone
LEFT JOIN LATERAL (
    SELECT part.*, row_number() OVER (ORDER BY part.start_byte DESC) AS place FROM zonekeeper.file_parts AS part
    WHERE part.home = zone.home AND part.session_id = zone.session_id AND part.name = 'output'
    ORDER BY part.start_byte DESC LIMIT :limit
) AS tail ON true
WHERE zone.definition_id = ANY(:definition_ids) AND zone.archived_at_ms = -1
ORDER BY zone.definition_id, start_byte DESC;

-- name: claim_batch
-- Whoever stores the id first: the transaction that it was given to, or somebody who wants to know that this has no effect. Tells
-- which of the two, also where an earlier claim has stored it and its answer was lost. A row is written either way, so that the
-- commit of the claim waits for the standbys that the batch's own may not have waited for.
INSERT INTO zonekeeper.batches (id, is_claim) VALUES (:id, true)
ON CONFLICT (id) DO UPDATE SET committed_at = now()
RETURNING is_claim, current_setting('fsync', true), current_setting('synchronous_commit', true),
    current_setting('synchronous_standby_names', true);

-- name: delete_old_batches
-- Nobody asks for these any more.
DELETE FROM zonekeeper.batches WHERE id IN (
    SELECT id FROM zonekeeper.batches WHERE committed_at < now() - interval '1 hour'
    ORDER BY committed_at LIMIT :limit FOR UPDATE SKIP LOCKED
);

-- name: facts
-- The server's version, and how large the store is.
SELECT current_setting('server_version'), pg_database_size(current_database());

-- name: durability
-- What an acknowledgement means on this server. Of standbys a role without rights sees how many there are.
SELECT current_setting('fsync', true), current_setting('synchronous_commit', true),
    current_setting('synchronous_standby_names', true), current_setting('full_page_writes', true), pg_is_in_recovery(),
    count(*), CASE WHEN bool_or(state IS NULL) THEN NULL ELSE count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END
FROM pg_stat_replication;

-- name: backend
-- The process that answers: another one than greeted us where a pooler stands between.
SELECT pg_backend_pid();
