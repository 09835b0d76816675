/** What must not type-check. A line after `@ts-expect-error` that has no error is one itself. */

import { TransportError, Zonekeeper, type Call, type ErrorWord, type Methods, type Page } from "zonekeeper";

// @ts-expect-error: no url
new Zonekeeper({ token: "" });
// @ts-expect-error: an unknown option
new Zonekeeper({ url: "", tokn: "" });

const zonekeeper = new Zonekeeper({ url: new URL("http://127.0.0.1:8377") });
const definition_id = "maks";

// @ts-expect-error: a parameter is missing
await zonekeeper.read({});
// @ts-expect-error: no parameters at all
await zonekeeper.read();
// @ts-expect-error: an unknown parameter
await zonekeeper.read({ definition_id, revision: 1 });
// @ts-expect-error: the wrong type
await zonekeeper.readOutput({ definition_id, first_line: "1" });
// @ts-expect-error: null where there must be a value
await zonekeeper.readArchive({ definition_id, archived_at_ms: null });
// @ts-expect-error: not a list
await zonekeeper.stat({ definition_ids: "maks" });
// @ts-expect-error: both line and lines
await zonekeeper.appendOutput({ definition_id, line: "1", lines: ["2"] });
const both = { definition_id, line: "1", lines: ["2"] };
// @ts-expect-error: both, in an object that was put together before
await zonekeeper.appendOutput(both);
// @ts-expect-error: neither of them
await zonekeeper.appendOutput({ definition_id });
// @ts-expect-error: parameters where there are none
await zonekeeper.status({ definition_id });
// @ts-expect-error: an option that is none
await zonekeeper.status({ timeout_ms: 5 });
// @ts-expect-error: the name on the wire
await zonekeeper.write_state({ definition_id, content: "" });
// @ts-expect-error: no such method
await zonekeeper.call("agent:session:delete", { definition_id });
// @ts-expect-error: parameters of another method
await zonekeeper.call("agent:session:archive", { definition_id, content: "" });
// @ts-expect-error: parameters of another method, in a batch
await zonekeeper.batch([{ method: "agent:session:archive", params: { definition_id, content: "" } }]);
// @ts-expect-error: parameters of another method, in a batch that was put together before
const call: Call = { method: "agent:session:archive", params: { definition_id, content: "" } };

// @ts-expect-error: perhaps unchanged, and then without content
(await zonekeeper.read({ definition_id })).content;
// @ts-expect-error: perhaps there is no snapshot
(await zonekeeper.mount({ definition_id })).snapshot.content;
// @ts-expect-error: perhaps there was nothing to archive
(await zonekeeper.archive({ definition_id })).archived_at_ms.toFixed();
// @ts-expect-error: no such member
(await zonekeeper.readOutput({ definition_id })).offset;
// @ts-expect-error: a result of another method
const page: Page = await zonekeeper.call("agent:session:mount", { definition_id });

const [settled] = await zonekeeper.batch([{ method: "agent:session:mount", params: { definition_id } }]);
// @ts-expect-error: perhaps rejected
settled.value;
// @ts-expect-error: the batch has one member
(await zonekeeper.batch([{ method: "srv:status", params: {} }]))[1];

// @ts-expect-error: no such word
const word: ErrorWord = "NO_SUCH_WORD";
// @ts-expect-error: no such method
type Missing = Methods["agent:session:delete"];
const error = new Error() as TransportError;
// @ts-expect-error: not to be changed
error.status = 500;
