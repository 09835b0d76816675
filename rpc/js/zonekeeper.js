/**
 * Calls a Zonekeeper daemon with `fetch`: from a page, a web view or Node, and without any other package.
 *
 * What is written about each method stands in zonekeeper.d.ts. What is between the marks below is made by `make types`.
 */

/** A shorter token, which only a parent process can have set, gets no proof: one could be tried against a dictionary. */
const PROVEN_TOKEN_CHARACTERS_MIN = 22;
const NONCE_BYTES = 32;

/** Nothing of a call is kept by a browser, sent on to another address, or sent with more than what stands here. */
const EVERY_REQUEST = { cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" };

export class ZonekeeperError extends Error {
  constructor({ code, message, data = null }) {
    super(message);
    this.name = "ZonekeeperError";
    this.number = code;
    this.code = data?.code ?? null;
    this.hint = data?.hint ?? null;
    this.retry = data?.retry ?? false;
    this.data = data;
  }
}

export class TransportError extends Error {
  constructor(message, { status = null, code = null, retry = false, ...options } = {}) {
    super(message, options);
    this.name = "TransportError";
    this.status = status;
    this.code = code;
    this.retry = retry;
  }
}

export class Zonekeeper {
  #url;
  #token;
  #fetch;
  #crypto;
  #isProven = false;

  constructor({ url, token = null, fetch = globalThis.fetch, crypto = globalThis.crypto }) {
    this.#url = new URL(url);
    // As localhost somebody else may be reached as well, at another address of the loopback, so the daemon proves only its own.
    if (this.#url.hostname === "localhost") this.#url.hostname = "127.0.0.1";
    this.#token = token;
    this.#fetch = fetch;
    this.#crypto = crypto;
  }

  async call(method, params = {}, { signal } = {}) {
    return resultOf(await this.#post({ jsonrpc: "2.0", id: 0, method, params }, signal));
  }

  async batch(calls, { signal } = {}) {
    if (calls.length === 0) return []; // to JSON-RPC an empty batch is an error
    const requests = calls.map(({ method, params = {} }, id) => ({ jsonrpc: "2.0", id, method, params }));
    const answers = await this.#post(requests, signal);
    if (!Array.isArray(answers)) return resultOf(answers); // one error for the batch as a whole
    const byId = new Map(answers.map((answer) => [answer.id, answer]));
    return Promise.allSettled(requests.map(async ({ id }) => resultOf(byId.get(id))));
  }

  // <methods>
  read(params, options) {
    return this.call("agent:session:read", params, options);
  }

  writeState(params, options) {
    return this.call("agent:session:write_state", params, options);
  }

  appendOutput(params, options) {
    return this.call("agent:session:append_output", params, options);
  }

  archive(params, options) {
    return this.call("agent:session:archive", params, options);
  }

  listArchives(params, options) {
    return this.call("agent:session:list_archives", params, options);
  }

  readArchive(params, options) {
    return this.call("agent:session:read_archive", params, options);
  }

  readOutput(params, options) {
    return this.call("agent:session:read_output", params, options);
  }

  mount(params, options) {
    return this.call("agent:session:mount", params, options);
  }

  stat(params, options) {
    return this.call("agent:session:stat", params, options);
  }

  listAgents(params, options) {
    return this.call("agent:session:list_agents", params, options);
  }

  status(options) {
    return this.call("srv:status", {}, options);
  }

  discover(options) {
    return this.call("rpc.discover", {}, options);
  }
  // </methods>

  async #post(body, signal) {
    const headers = { "Content-Type": "application/json" };
    if (this.#token !== null) {
      if (!this.#isProven) await this.#askForProof(signal);
      headers.Authorization = `Bearer ${this.#token}`;
    }
    const { text } = await this.#send("/rpc", { method: "POST", headers, body: JSON.stringify(body), signal });
    return parsed(text);
  }

  /** Let the daemon prove that it knows the token before it is shown, so that whoever took its port learns nothing. */
  async #askForProof(signal) {
    if (this.#token.length >= PROVEN_TOKEN_CHARACTERS_MIN) {
      if (!this.#crypto?.subtle) throw new TransportError("WebCrypto is missing here, so the daemon cannot be checked");
      const nonce = hex(this.#crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
      const { headers } = await this.#send("/healthz", { headers: { "X-AuthNonce": nonce }, signal });
      const proofs = (headers.get("X-AuthProof") ?? "").split(/, */);
      if (!proofs.includes(await this.#proofFor(nonce))) {
        throw new TransportError(
          `what listens at ${this.#url.host} does not prove that it knows this token, which was not sent: ` +
            "it is not the daemon, or was started anew and has another token",
        );
      }
    }
    this.#isProven = true;
  }

  async #proofFor(nonce) {
    const bytes = (text) => new TextEncoder().encode(text);
    const { subtle } = this.#crypto;
    const key = await subtle.importKey("raw", bytes(this.#token), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    // The host as it is sent: a proof that was asked of the daemon at another port does not count here.
    const message = `zonekeeper-proof-1\n${nonce}\n${this.#url.host}`;
    return hex(new Uint8Array(await subtle.sign("HMAC", key, bytes(message))));
  }

  async #send(path, request) {
    const fetch = this.#fetch; // a browser's works only where it is no method
    let response, text;
    try {
      response = await fetch(new URL(path, this.#url), { ...EVERY_REQUEST, ...request });
      text = await response.text();
    } catch (cause) {
      this.#isProven = false; // at the next connection somebody else may listen
      if (request.signal?.aborted) throw cause;
      throw new TransportError(`the daemon at ${this.#url.host} cannot be reached, or broke off`, { cause });
    }
    if (!response.ok) throw refusalOf(response.status, text);
    return { headers: response.headers, text };
  }
}

function resultOf(answer) {
  if (answer?.error !== undefined) throw new ZonekeeperError(answer.error);
  if (answer?.result === undefined) throw new TransportError("the answer is not one of JSON-RPC");
  return answer.result;
}

function refusalOf(status, text) {
  const { error, code, retry } = parsed(text) ?? {};
  return new TransportError(error ?? `the answer is HTTP ${status}`, { status, code, retry });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
