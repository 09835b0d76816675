/** What zonekeeper.js promises beyond what each method does: errors, batches, signals, and to whom the token is shown. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { inspect } from "node:util";

import { TransportError, Zonekeeper, ZonekeeperError } from "zonekeeper";

const { DAEMON_URL: url, DAEMON_TOKEN: token } = process.env;
const LONG = "t".repeat(43);
const SHORT = "t".repeat(21);

/** Stand in for a daemon, or for whoever took its port: answers with what `answer` gives, and keeps what was asked. */
async function standIn(t, answer) {
  const asked = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const { method, url: path, headers } = request;
    asked.push({ method, path, headers, body });
    const { status = 200, headers: shown = {}, body: said = "" } = await answer(asked.at(-1), response);
    if (response.destroyed) return;
    response.writeHead(status, shown).end(typeof said === "string" ? said : JSON.stringify(said));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { asked, url: `http://127.0.0.1:${server.address().port}` };
}

const proofOf = (key, { headers: { host, "x-authnonce": nonce } }, of = host) =>
  createHmac("sha256", key).update(`zonekeeper-proof-1\n${nonce}\n${of}`).digest("hex");

/** What a daemon with these tokens answers. */
const knowing = (...tokens) => (request) =>
  request.path === "/healthz"
    ? { headers: { "X-AuthProof": tokens.map((each) => proofOf(each, request)).join(", ") }, body: { status: "alive" } }
    : { body: { jsonrpc: "2.0", id: 0, result: {} } };

const rejection = (promise) => promise.then(() => assert.fail("it did not fail"), (error) => error);

test("an error of the daemon has its word, number, sentence, hint and facts", async () => {
  const zonekeeper = new Zonekeeper({ url, token });
  const content = "";
  const { revision } = await zonekeeper.writeState({ definition_id: "errors", content });
  const error = await rejection(zonekeeper.writeState({ definition_id: "errors", content, expect_revision: 0 }));
  assert(error instanceof ZonekeeperError && error instanceof Error);
  const { name, code, number, retry, data } = error;
  assert.deepEqual({ name, code, number, retry }, {
    name: "ZonekeeperError", code: "REVISION_MISMATCH", number: -32011, retry: false,
  });
  assert.match(error.message, /the stored revision is 1/);
  assert.match(error.hint, /Read it again/);
  assert.equal(data.revision, revision);
});

test("an error of JSON-RPC itself has a number and a sentence only", async () => {
  const { code, number, message, hint, retry, data } = await rejection(
    new Zonekeeper({ url, token }).call("agent:session:delete"),
  );
  assert.deepEqual(
    { code, number, message, hint, retry, data },
    { code: null, number: -32601, message: "Method not found", hint: null, retry: false, data: null },
  );
});

test("a refusal at the door has its status and its sentence", async () => {
  for (const wrong of [SHORT, null]) {
    const error = await rejection(new Zonekeeper({ url, token: wrong }).status());
    assert(error instanceof TransportError && error instanceof Error);
    assert.deepEqual([error.name, error.status, error.code, error.retry], ["TransportError", 401, null, false]);
    assert.match(error.message, /show the token/);
  }
});

test("a limit that was reached has its word and says whether to try again", async (t) => {
  const body = { error: "too much at once", code: "OVERLOADED", retry: true };
  const { url } = await standIn(t, () => ({ status: 503, body }));
  const { status, code, retry, message } = await rejection(new Zonekeeper({ url }).status());
  assert.deepEqual({ status, code, retry, message }, { status: 503, code: "OVERLOADED", retry: true, message: body.error });
});

test("an answer that is not one of JSON-RPC is no result", async (t) => {
  for (const body of ["<html>", "null", "1", "{}", '"result"', "[]"]) {
    const { url } = await standIn(t, () => ({ body }));
    const error = await rejection(new Zonekeeper({ url }).status());
    assert(error instanceof TransportError, body);
  }
  const { url } = await standIn(t, () => ({ status: 502, body: "<html>" }));
  const error = await rejection(new Zonekeeper({ url }).status());
  assert.deepEqual([error.status, error.message], [502, "the answer is HTTP 502"]);
});

test("where nobody listens, or an answer breaks off, the status is null and the cause is kept", async (t) => {
  const broken = await standIn(t, async (_, response) => {
    response.writeHead(200, { "Content-Length": 9 });
    await new Promise((resolve) => response.write("{", resolve));
    return response.destroy();
  });
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const { port } = gone.address();
  await new Promise((resolve) => gone.close(resolve));
  for (const url of [broken.url, `http://127.0.0.1:${port}`]) {
    const error = await rejection(new Zonekeeper({ url }).status());
    assert(error instanceof TransportError);
    assert.equal(error.status, null);
    assert(error.cause instanceof Error);
  }
});

test("a batch tells what became of each member, in the order of the calls", async (t) => {
  const zonekeeper = new Zonekeeper({ url, token });
  const params = { definition_id: "batches" };
  const [appended, refused, read] = await zonekeeper.batch([
    { method: "agent:session:append_output", params: { ...params, line: "one" } },
    { method: "agent:session:read_archive", params: { ...params, archived_at_ms: 1 } },
    { method: "agent:session:read_output", params },
  ]);
  assert.deepEqual([appended.status, read.value.lines], ["fulfilled", ["one"]]);
  assert(refused.status === "rejected" && refused.reason instanceof ZonekeeperError);
  assert.equal(refused.reason.code, "ZONE_NOT_FOUND");
  const backwards = await standIn(t, ({ body }) => ({
    body: JSON.parse(body).reverse().map(({ id, method }) => ({ jsonrpc: "2.0", id, result: method })),
  }));
  const settled = await new Zonekeeper({ url: backwards.url }).batch([{ method: "a" }, { method: "b" }]);
  assert.deepEqual(settled.map(({ value }) => value), ["a", "b"]);
});

test("an empty batch sends nothing, and one that is too large is refused as a whole", async (t) => {
  const { asked, url: other } = await standIn(t, () => ({}));
  assert.deepEqual(await new Zonekeeper({ url: other }).batch([]), []);
  assert.deepEqual(asked, []);
  const calls = Array.from({ length: 1001 }, () => ({ method: "srv:status", params: {} }));
  const error = await rejection(new Zonekeeper({ url, token }).batch(calls));
  assert.deepEqual([error.name, error.code, error.data.max], ["ZonekeeperError", "TOO_LARGE", 1000]);
});

test("a signal ends the wait for an answer or a proof, with its reason", async (t) => {
  for (const token of [null, LONG]) {
    const ending = new AbortController();
    const { url } = await standIn(t, () => {
      ending.abort(new Error("the pane was closed"));
      return new Promise(() => {});
    });
    const pending = new Zonekeeper({ url, token }).status({ signal: ending.signal });
    assert.equal((await rejection(pending)).message, "the pane was closed");
  }
});

test("the real daemon proves that it knows the token, once for all calls", async () => {
  const asked = [];
  const counting = (address, request) => {
    asked.push(new URL(address).pathname);
    return fetch(address, request);
  };
  const zonekeeper = new Zonekeeper({ url, token, fetch: counting });
  await zonekeeper.status();
  await zonekeeper.status();
  assert.deepEqual(asked, ["/healthz", "/rpc", "/rpc"]);
});

test("either of the daemon's tokens is proven", async (t) => {
  const other = "r".repeat(43);
  const { asked, url } = await standIn(t, knowing(LONG, other));
  for (const each of [LONG, other]) {
    await new Zonekeeper({ url, token: each }).status();
    assert.equal(asked.at(-1).headers.authorization, `Bearer ${each}`);
  }
});

test("what proves nothing is shown neither the token nor the call", async (t) => {
  const squatters = {
    silent: () => ({ body: { status: "alive" } }),
    "with another token": knowing("s".repeat(43)),
    "with a proof for another port": (request) => ({
      headers: { "X-AuthProof": proofOf(LONG, request, "127.0.0.1:8377") },
    }),
    "with an old proof": (request) => ({
      headers: { "X-AuthProof": proofOf(LONG, { headers: { ...request.headers, "x-authnonce": "0".repeat(64) } }) },
    }),
    refusing: () => ({ status: 403, body: { error: "no" } }),
  };
  for (const [name, answer] of Object.entries(squatters)) {
    const { asked, url } = await standIn(t, answer);
    const zonekeeper = new Zonekeeper({ url, token: LONG });
    for (const call of [() => zonekeeper.status(), () => zonekeeper.batch([{ method: "srv:status" }])]) {
      assert((await rejection(call())) instanceof TransportError, name);
    }
    assert.deepEqual(asked.map(({ path, body }) => [path, body]), [["/healthz", ""], ["/healthz", ""]], name);
    assert(!JSON.stringify(asked).includes(LONG), name);
  }
});

test("a squatter that passes the question on to the real daemon is not believed", async (t) => {
  const { asked, url: squatted } = await standIn(t, async ({ headers }) => {
    const { headers: proven } = await fetch(`${url}/healthz`, { headers: { "X-AuthNonce": headers["x-authnonce"] } });
    return { headers: { "X-AuthProof": proven.get("X-AuthProof") ?? assert.fail("the daemon proved nothing") } };
  });
  assert.match((await rejection(new Zonekeeper({ url: squatted, token }).status())).message, /does not prove/);
  assert.deepEqual(asked.map(({ path }) => path), ["/healthz"]);
});

test("after a connection has failed the proof is asked for again", async (t) => {
  const answers = [knowing(LONG), knowing(LONG), (_, response) => response.destroy()];
  const { asked, url } = await standIn(t, (...request) => (answers.shift() ?? knowing(LONG))(...request));
  const zonekeeper = new Zonekeeper({ url, token: LONG });
  await zonekeeper.status();
  await rejection(zonekeeper.status());
  await zonekeeper.status();
  assert.deepEqual(asked.map(({ path }) => path), ["/healthz", "/rpc", "/rpc", "/healthz", "/rpc"]);
});

test("a short token and no token are asked no proof for", async (t) => {
  const { asked, url } = await standIn(t, knowing(LONG));
  await new Zonekeeper({ url, token: SHORT }).status();
  await new Zonekeeper({ url }).status();
  assert.deepEqual(asked.map(({ path, headers }) => [path, headers.authorization]), [
    ["/rpc", `Bearer ${SHORT}`],
    ["/rpc", undefined],
  ]);
});

test("where there is no WebCrypto the token is not sent", async (t) => {
  const { asked, url } = await standIn(t, knowing(LONG));
  assert.match((await rejection(new Zonekeeper({ url, token: LONG, crypto: {} }).status())).message, /WebCrypto/);
  assert.deepEqual(asked, []);
});

test("nothing is sent on to another address", async (t) => {
  const other = await standIn(t, knowing(SHORT));
  const { url } = await standIn(t, () => ({ status: 307, headers: { Location: other.url } }));
  assert((await rejection(new Zonekeeper({ url, token: SHORT }).status())) instanceof TransportError);
  assert.deepEqual(other.asked, []);
});

test("the token does not show where a client is printed", () => {
  const zonekeeper = new Zonekeeper({ url, token: LONG });
  const printed = inspect(zonekeeper, { showHidden: true, depth: 9 }) + JSON.stringify(zonekeeper);
  assert(!printed.includes(LONG));
});

test("the function that makes the requests is called as a function, as browsers want it", async (t) => {
  const { url } = await standIn(t, knowing());
  const calledOn = [];
  const strict = function (...request) {
    calledOn.push(this);
    return fetch(...request);
  };
  await new Zonekeeper({ url, fetch: strict }).status();
  assert.deepEqual(calledOn, [undefined]);
});

test("localhost is taken for the address that the daemon proves", async () => {
  const zonekeeper = new Zonekeeper({ url: url.replace("127.0.0.1", "localhost"), token });
  assert.equal((await zonekeeper.read({ definition_id: "by-name" })).session_id, null);
});
