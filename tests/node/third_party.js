/** Calls a daemon with `json-rpc-2.0`, somebody else's client: for each line of standard input one method, and a line with its answer. */

import { createInterface } from "node:readline";

import { JSONRPCClient } from "json-rpc-2.0";

const { DAEMON_URL: url, DAEMON_TOKEN: token } = process.env;

const client = new JSONRPCClient(async (request) => {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
  const response = await fetch(`${url}/rpc`, { method: "POST", headers, body: JSON.stringify(request) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  client.receive(await response.json());
});

for await (const line of createInterface({ input: process.stdin })) {
  const { method, params } = JSON.parse(line);
  const answer = await client.request(method, params).then(
    (result) => ({ result }),
    ({ code, message, data }) => ({ error: { code, message, data } }),
  );
  console.log(JSON.stringify(answer));
}
