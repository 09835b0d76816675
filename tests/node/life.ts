/** What a pane and its agent do, typed: every method once. Prints each method's result under its name on the wire. */

import assert from "node:assert/strict";

import {
  Zonekeeper,
  ZonekeeperError,
  type AgentsPage,
  type AgentStat,
  type Appended,
  type Archived,
  type ArchiveSummary,
  type Call,
  type MethodName,
  type Methods,
  type Mounted,
  type OpenRpcDocument,
  type Page,
  type Snapshot,
  type Status,
  type Unchanged,
  type Written,
} from "zonekeeper";

const { DAEMON_URL: url = "", DAEMON_TOKEN: token = "" } = process.env;
const zonekeeper = new Zonekeeper({ url, token });
const definition_id = "maks";
const results: { [Name in MethodName]?: Methods[Name]["result"] } = {};

const mounted: Mounted = await zonekeeper.mount({ definition_id, tail_lines: 100 });

// What a fresh agent has no id of yet can be sent on as it is: null is the same as absent.
const written: Written = await zonekeeper.writeState({
  definition_id,
  content: JSON.stringify({ nodes: [{ type: "user_message", message: "Grüße 👋" }] }),
  session_id: mounted.session_id,
  expect_revision: mounted.snapshot?.revision ?? 0,
});
assert.equal(written.revision, 1);
results["agent:session:write_state"] = written;
const { session_id, revision } = written;

const line = JSON.stringify({ type: "assistant", message: "zwei\nZeilen" });
const appended: Appended = await zonekeeper.appendOutput({ definition_id, line, session_id, expect_offset: 0 });
const again: Appended = await zonekeeper.appendOutput({ definition_id, lines: [line], session_id, expect_offset: 0 });
assert.deepEqual([appended.duplicate, again.duplicate], [false, true]);
results["agent:session:append_output"] = again;

const read: Snapshot | Unchanged = await zonekeeper.read({ definition_id, if_revision: revision });
assert("unchanged" in read && read.unchanged);
results["agent:session:read"] = read;

results["agent:session:mount"] = await zonekeeper.mount({ definition_id });
assert.deepEqual(results["agent:session:mount"].output.lines, [line]);

const page: Page = await zonekeeper.readOutput({ definition_id, first_line: 0, limit: 10 });
assert.equal(page.next_line, 1);
results["agent:session:read_output"] = page;

const conflict = await zonekeeper.writeState({ definition_id, content: "", expect_revision: 0 }).then(
  () => assert.fail("the snapshot was there already"),
  (error: unknown) => error,
);
assert(conflict instanceof ZonekeeperError);
assert.equal(conflict.code, "REVISION_MISMATCH");
assert.equal(conflict.data?.revision, revision);

const archived: Archived = await zonekeeper.archive({ definition_id, session_id });
assert(archived.archived_at_ms !== null);
results["agent:session:archive"] = archived;

const archives: ArchiveSummary[] = await zonekeeper.listArchives({ definition_id, limit: 1 });
assert.equal(archives[0]?.preview, "Grüße 👋");
results["agent:session:list_archives"] = archives;

const { archived_at_ms } = archived;
const kept: Snapshot = await zonekeeper.readArchive({ definition_id, archived_at_ms });
assert.equal(kept.content?.length, written.bytes_written - 4);
results["agent:session:read_archive"] = kept;

const definition_ids = ["maks", "lena"] as const;
const stats: AgentStat[] = await zonekeeper.stat({ definition_ids });
assert.deepEqual(stats.map((stat) => stat.archives), [1, 0]);
results["agent:session:stat"] = stats;

const agents: AgentsPage = await zonekeeper.listAgents();
assert.equal(agents.next, null);
results["agent:session:list_agents"] = agents;

const status: Status = await zonekeeper.status({ signal: AbortSignal.timeout(60_000) });
results["srv:status"] = status;

const document: OpenRpcDocument = await zonekeeper.call("rpc.discover", {});
assert.deepEqual(document, await zonekeeper.discover());
results["rpc.discover"] = document;

const [opened, refused] = await zonekeeper.batch([
  { method: "agent:session:mount", params: { definition_id } },
  { method: "agent:session:read_archive", params: { definition_id, archived_at_ms: 1 } },
]);
assert(opened.status === "fulfilled" && opened.value.output.total_lines === 0);
assert(refused.status === "rejected" && refused.reason instanceof ZonekeeperError);
assert.equal(refused.reason.code, "ZONE_NOT_FOUND");

const calls: Call[] = stats.map((stat) => ({ method: "agent:session:read", params: stat }));
for (const settled of await zonekeeper.batch(calls)) assert.equal(settled.status, "rejected", "stat has other members");

console.log(JSON.stringify(results));
