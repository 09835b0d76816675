/** Types of zonekeeper.js. What is between the marks is made by `make types`. */

export interface ZonekeeperOptions {
  /** Where the daemon listens, such as `http://127.0.0.1:8377`. */
  url: string | URL;
  /**
   * What its door asks for. Before it is sent the daemon must prove that it knows it, so that whatever else listens there learns
   * nothing; tokens of fewer than 22 characters are sent without that.
   */
  token?: string | null;
  /** Makes the requests; the global one if absent. */
  fetch?: typeof globalThis.fetch;
  /** Checks the proof; the global one if absent. Node 18 has no global one: pass `webcrypto` of `node:crypto`. */
  crypto?: typeof globalThis.crypto;
}

export interface CallOptions {
  /** Ends the wait. A change that had arrived by then is done all the same. */
  signal?: AbortSignal;
}

/** The daemon answered with an error. Nothing of the call was stored. */
export class ZonekeeperError extends Error {
  /** The stable word; null for the errors of JSON-RPC itself, which have a number only. */
  readonly code: ErrorWord | null;
  readonly number: number;
  /** What to do about it. */
  readonly hint: string | null;
  /** Whether the same call may succeed later, unchanged. */
  readonly retry: boolean;
  /** The facts of the case, such as the stored revision. */
  readonly data: ErrorData | null;
}

/** There was no JSON-RPC answer: nobody listens there, it is not the daemon, or the request was refused at its door. */
export class TransportError extends Error {
  /** The HTTP status; null where there was no HTTP answer. Then nobody knows whether a change was stored. */
  readonly status: number | null;
  /** The word of a limit that was reached, else null. */
  readonly code: ErrorWord | null;
  /** Whether the same call may succeed later, as far as the daemon has said. */
  readonly retry: boolean;
}

/** A member of a batch. */
export type Call<Name extends MethodName = MethodName> = {
  [Each in Name]: { method: Each; params: Methods[Each]["params"] };
}[Name];

/**
 * Calls the methods of one daemon, each with its parameters in one object, by the names they have on the wire.
 *
 * Every call throws a `ZonekeeperError` where the daemon answers with an error, a `TransportError` where there is no such answer, and
 * the reason of the signal where that ended it.
 */
export class Zonekeeper {
  constructor(options: ZonekeeperOptions);

  /** Call a method by the name it has on the wire. */
  call<Name extends MethodName>(
    method: Name,
    params: Methods[Name]["params"],
    options?: CallOptions,
  ): Promise<Methods[Name]["result"]>;

  /**
   * Send several calls as one request. Those that touch the same agent take effect in their order.
   *
   * What became of each is told in their order, as `Promise.allSettled` does it.
   */
  batch<const Names extends readonly MethodName[]>(
    calls: { readonly [Index in keyof Names]: Call<Names[Index]> },
    options?: CallOptions,
  ): Promise<{ -readonly [Index in keyof Names]: PromiseSettledResult<Methods[Names[Index]]["result"]> }>;

  // <methods>
  /**
   * Read the current session's snapshot. A fresh agent is not an error: content, modts and revision are null where
   * there is no snapshot, session_id where there is no session.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE
   */
  read(params: ReadParams, options?: CallOptions): Promise<Snapshot | Unchanged>;

  /**
   * Create or replace the snapshot, whole and atomically. Writing what is stored already changes neither revision
   * nor modts.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE, STALE_SESSION, STORAGE_FULL, OVERLOADED, READ_ONLY, REVISION_MISMATCH
   */
  writeState(params: WriteStateParams, options?: CallOptions): Promise<Written>;

  /**
   * Append to the output, line by line. Each text gets one newline only if it does not end with one. If the bytes
   * stored at expect_offset are the ones sent, the append succeeds as a duplicate. By position, line and lines
   * share one place: a string is line, an array lines.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE, STALE_SESSION, STORAGE_FULL, OVERLOADED, READ_ONLY, OFFSET_MISMATCH
   */
  appendOutput(params: AppendOutputParams, options?: CallOptions): Promise<Appended>;

  /**
   * Turn the current session into an archive. Nulls where there is nothing to archive. With the session_id of a
   * session that is archived already: that archive again.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE, STALE_SESSION, STORAGE_FULL, OVERLOADED, READ_ONLY
   */
  archive(params: ArchiveParams, options?: CallOptions): Promise<Archived>;

  /**
   * List the agent's archives, newest first. preview is null while it is being worked out.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE
   */
  listArchives(params: ListArchivesParams, options?: CallOptions): Promise<ArchiveSummary[]>;

  /**
   * Read an archive's snapshot.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE, ZONE_NOT_FOUND
   */
  readArchive(params: ReadArchiveParams, options?: CallOptions): Promise<Snapshot>;

  /**
   * Read a page of the output.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE, ZONE_NOT_FOUND, STALE_SESSION
   */
  readOutput(params: ReadOutputParams, options?: CallOptions): Promise<Page>;

  /**
   * Read what a pane needs at once, from one transaction. Lines start at covers_line, or are the last tail_lines
   * where that is fewer; of those the newest that fit max_bytes.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE
   */
  mount(params: MountParams, options?: CallOptions): Promise<Mounted>;

  /**
   * Describe agents without reading any content. In the order asked; zeros and nulls where there is nothing.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE
   */
  stat(params: StatParams, options?: CallOptions): Promise<AgentStat[]>;

  /**
   * List the agents that have a session, current or archived, in order of id.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN, INVALID_DEFINITION_ID, STORAGE_UNAVAILABLE,
   * STORAGE_DAMAGED, TOO_LARGE
   */
  listAgents(params?: ListAgentsParams, options?: CallOptions): Promise<AgentsPage>;

  /**
   * Describe the daemon: versions, uptime, store, migrations, queue, calls, memory, free space. Answers as well
   * where the store cannot be read.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN
   */
  status(options?: CallOptions): Promise<Status>;

  /**
   * Return the OpenRPC document of these methods.
   * @throws ZonekeeperError: INVALID_PARAMS, SHUTTING_DOWN
   */
  discover(options?: CallOptions): Promise<OpenRpcDocument>;
  // </methods>
}

// <types>
/** What each method takes and returns, by its name on the wire. */
export interface Methods {
  "agent:session:read": { params: ReadParams; result: Snapshot | Unchanged };
  "agent:session:write_state": { params: WriteStateParams; result: Written };
  "agent:session:append_output": { params: AppendOutputParams; result: Appended };
  "agent:session:archive": { params: ArchiveParams; result: Archived };
  "agent:session:list_archives": { params: ListArchivesParams; result: ArchiveSummary[] };
  "agent:session:read_archive": { params: ReadArchiveParams; result: Snapshot };
  "agent:session:read_output": { params: ReadOutputParams; result: Page };
  "agent:session:mount": { params: MountParams; result: Mounted };
  "agent:session:stat": { params: StatParams; result: AgentStat[] };
  "agent:session:list_agents": { params: ListAgentsParams; result: AgentsPage };
  "srv:status": { params: Record<string, never>; result: Status };
  "rpc.discover": { params: Record<string, never>; result: OpenRpcDocument };
}

export type MethodName = keyof Methods;

export interface ReadParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** A revision you have: if it is the stored one, no content is sent. */
  if_revision?: number | null;
}

export interface WriteStateParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** The whole snapshot, opaque. */
  content: string;
  /** The session meant; STALE_SESSION if it is not the current one. */
  session_id?: string | null;
  /** The revision that must be stored; 0: there must be none. */
  expect_revision?: number | null;
  /** Number of output lines the snapshot already contains. */
  covers_line?: number | null;
}

export type AppendOutputParams = {
  /** Id of the agent definition. */
  definition_id: string;
  /** The session meant; STALE_SESSION if it is not the current one. */
  session_id?: string | null;
  /** The size in bytes the output must have. */
  expect_offset?: number | null;
} & ({
  /** One text; send either line or lines. */
  line: string;
  lines?: null;
} | {
  line?: null;
  /** Several texts, stored as one change. */
  lines: readonly string[];
});

export interface ArchiveParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** The session meant; STALE_SESSION if it is not the current one. */
  session_id?: string | null;
}

export interface ListArchivesParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** Rows at most. 0 is the default, 20; more than 100 is 100. */
  limit?: number | null;
  /** Only archives older than this, in unix ms. */
  before_ms?: number | null;
}

export interface ReadArchiveParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** Unix ms of the archive. */
  archived_at_ms: number;
}

export interface ReadOutputParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** Unix ms of an archive; absent: the current session. */
  archived_at_ms?: number | null;
  /** Number of the first line, from 0; absent: the last lines. */
  first_line?: number | null;
  /** Lines at most. 0 is the default, 200; more than 10000 is 10000. */
  limit?: number | null;
  /**
   * Bytes of lines at most, unless one line alone is larger. 0 is the default, 1048576; more than 8388608 is
   * 8388608.
   */
  max_bytes?: number | null;
  /** The session that must be found there; STALE_SESSION if it is not. */
  session_id?: string | null;
}

export interface MountParams {
  /** Id of the agent definition. */
  definition_id: string;
  /** Lines at most. 0 is the default, 5000; more than 10000 is 10000. */
  tail_lines?: number | null;
  /**
   * Bytes of lines at most, unless one line alone is larger. 0 is the default, 1048576; more than 8388608 is
   * 8388608.
   */
  max_bytes?: number | null;
}

export interface StatParams {
  /** Ids of agent definitions. */
  definition_ids: readonly string[];
}

export interface ListAgentsParams {
  /** Agents at most. 0 is the default, 100; more than 1000 is 1000. */
  limit?: number | null;
  /** Only ids beyond this one: `next` of the page before. */
  after?: string | null;
}

export interface Snapshot {
  /** The whole snapshot. */
  content: string | null;
  /** Unix ms of the last change. */
  modts: number | null;
  /** Revision of the snapshot, to be sent as expect_revision or if_revision. */
  revision: number | null;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string | null;
}

export interface Unchanged {
  unchanged: true;
  /** Unix ms of the last change. */
  modts: number;
  /** Revision of the snapshot, to be sent as expect_revision or if_revision. */
  revision: number;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string;
}

export interface Written {
  /** Size of the snapshot. */
  bytes_written: number;
  /** Unix ms of the last change. */
  modts: number;
  /** Revision of the snapshot, to be sent as expect_revision or if_revision. */
  revision: number;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string;
}

export interface Appended {
  /** Bytes of the texts sent, with their newlines. */
  bytes_written: number;
  /** Where in the output they begin. */
  offset: number;
  /** Size of the whole output. */
  size_bytes: number;
  /** Lines of the whole output that are not blank. */
  total_lines: number;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string;
  /** The very bytes were stored there already, by an earlier try. */
  duplicate: boolean;
}

export interface Archived {
  /** Name of the archive's zone. */
  archive_zoneid: string | null;
  /** Unix ms. */
  archived_at_ms: number | null;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string | null;
}

export interface ArchiveSummary {
  /** Name of the archive's zone. */
  archive_zoneid: string;
  /** Unix ms. */
  archived_at_ms: number;
  /** The first message; null while not worked out. */
  preview: string | null;
  /** Nodes of the snapshot. */
  node_count: number;
  /** Lines of the whole output that are not blank. */
  total_lines: number;
  /** Size of all files together. */
  size_bytes: number;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string;
}

export interface Page {
  lines: string[];
  /** Number of the first line returned, from 0; blank lines are not counted. */
  first_line: number;
  /** first_line of the page that follows. */
  next_line: number;
  /** Lines of the whole output that are not blank. */
  total_lines: number;
  /** Size of the whole output. */
  size_bytes: number;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string | null;
}

export interface MountedSnapshot {
  /** The whole snapshot. */
  content: string;
  /** Unix ms of the last change. */
  modts: number;
  /** Revision of the snapshot, to be sent as expect_revision or if_revision. */
  revision: number;
  /** Number of output lines the snapshot already contains. */
  covers_line: number | null;
}

export interface MountedOutput {
  lines: string[];
  /** Number of the first line returned, from 0; blank lines are not counted. */
  first_line: number;
  /** Lines of the whole output that are not blank. */
  total_lines: number;
  /** Size of the whole output. */
  size_bytes: number;
}

export interface Mounted {
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string | null;
  snapshot: MountedSnapshot | null;
  output: MountedOutput;
}

export interface AgentStat {
  /** Id of the agent definition. */
  definition_id: string;
  /** Opaque id of the session; it stays with the session through archive. */
  session_id: string | null;
  /** Size of the snapshot. */
  snapshot_bytes: number;
  /** Revision of the snapshot, to be sent as expect_revision or if_revision. */
  revision: number | null;
  /** Size of the output. */
  output_bytes: number;
  /** Lines of the whole output that are not blank. */
  total_lines: number;
  /** Unix ms of the last change of any file of the current session. */
  modts: number | null;
  /** Number of archived sessions. */
  archives: number;
}

export interface AgentsPage {
  agents: AgentStat[];
  /** Send it as `after` for the next page; null where this is the last. */
  next: string | null;
}

/**
 * Versions, uptime, store (sizes in bytes), migrations, queue, calls by outcome, what goes on with callers,
 * memory, free space and the event loop; members may be added.
 */
export interface Status {
  /** Of Zonekeeper. */
  version: string;
  /** Version of Python. */
  python: string;
  /** The process. */
  pid: number;
  /** Unix ms. */
  started_at_ms: number;
  /** Milliseconds since then. */
  uptime_ms: number;
  store: {
    /** Its kind, such as sqlite. */
    engine: string;
    /** Version of the stored form. */
    schema_version: number;
    durability: {
      /** What an acknowledgement means: none, disk, replica-received, replica-disk or replica-applied. */
      level: string;
      /** The same for people. */
      words: string;
      [member: string]: unknown;
    };
    /** All of them; null where the store cannot be read, as the next three. */
    sessions: number | null;
    /** Those of them that are archived. */
    archives: number | null;
    /** Archives whose preview is not worked out yet. */
    previews_waiting: number | null;
    /** Archives that are still to be compressed. */
    compressions_waiting: number | null;
    [member: string]: unknown;
  };
  /** By name, each migration of this start: its outcome and its statistics. */
  migrations: {
    [member: string]: {
      /** How it went. */
      outcome: string;
      [member: string]: unknown;
    };
  };
  writer: {
    /** Changes waiting for the disk. */
    queued_changes: number;
    /** Bytes waiting for the disk. */
    queued_bytes: number;
    /** How long the batch that is being applied has been; 0 where none is. */
    applying_ms: number;
    /** Commits so far. */
    batches: number;
    /** Changes in them. */
    changes: number;
    [member: string]: unknown;
  };
  [member: string]: unknown;
}

/** An OpenRPC document. */
export interface OpenRpcDocument {
  /** Version of the OpenRPC specification. */
  openrpc: string;
  info: {
    /** Of the service. */
    title: string;
    /** Of the wire contract. */
    version: string;
    [member: string]: unknown;
  };
  methods: Array<{
    /** Of the method. */
    name: string;
    [member: string]: unknown;
  }>;
  [member: string]: unknown;
}

/** The stable word. */
export type ErrorWord =
  | "INVALID_PARAMS"
  | "INVALID_DEFINITION_ID"
  | "STALE_SESSION"
  | "REVISION_MISMATCH"
  | "OFFSET_MISMATCH"
  | "ZONE_NOT_FOUND"
  | "TOO_LARGE"
  | "STORAGE_FULL"
  | "STORAGE_UNAVAILABLE"
  | "OVERLOADED"
  | "SHUTTING_DOWN"
  | "STORAGE_DAMAGED"
  | "READ_ONLY"
  | "INTERNAL";

/** What `error.data` holds, whatever the method. */
export interface ErrorData {
  code: ErrorWord;
  /** What to do about it. */
  hint: string;
  /** Whether the same call may succeed later, unchanged. */
  retry: boolean;
  /** The parameter meant (INVALID_PARAMS, INVALID_DEFINITION_ID). */
  param?: string;
  /** The stored revision (REVISION_MISMATCH). */
  revision?: number;
  /** The size of the output (OFFSET_MISMATCH). */
  size_bytes?: number;
  /** The limit (TOO_LARGE). */
  limit?: string;
  /** Its maximum (TOO_LARGE). */
  max?: number;
  /** Where the log tells the rest (INTERNAL). */
  error_id?: string;
  [member: string]: unknown;
}
// </types>
