// The small interface that everything durable goes through. Implementations: s3/, directory.ts,
// memory.ts; wrappers: retry.ts, metered.ts, prefix.ts, latency.ts. Keys are '/'-separated ASCII
// without a leading slash.
//
// What the engine relies on, and every implementation is tested for:
//   1. `putIfAbsent` is atomic: of all callers that race for one key exactly one succeeds, the
//      others get `exists`; a crash leaves the whole object or none.
//   2. When a put resolves, the object survives the loss of the machine that called (directory: of
//      the process, the kernel and power).
//   3. `get` after a resolved put sees it; `list` after a resolved put sees it.
//   4. Bytes come back as they were put, or the call fails: length and, where the store gives one,
//      checksum are verified.

/** Why a request was made: the meter adds up requests and bytes by cause. */
export type RequestCause =
  | 'open' // opening, recovery, fencing
  | 'barrier' // log objects, whoever closed them
  | 'flush' // memtable to table, and the manifest that names it
  | 'compaction' // merging tables
  | 'collection' // moving live data, listing and deleting what is dead
  | 'read' // data frames for a client
  | 'lookup' // table blocks for a client
  | 'admin'; // init, keys, volumes' tools

export interface RequestOptions {
  readonly cause: RequestCause;
  readonly signal?: AbortSignal;
}

/** `[start, end)` in bytes, or the last `suffix` bytes (the whole object when it is shorter). */
export type ByteRange =
  | { readonly start: number; readonly end: number }
  | { readonly suffix: number };

export interface GetResult {
  /** Owned by the caller. Exactly the bytes of the range that exist. */
  readonly bytes: Uint8Array;
  /** Size of the whole object. */
  readonly objectBytes: number;
}

export interface ObjectInfo {
  readonly key: string;
  readonly bytes: number;
}

export interface ListOptions extends RequestOptions {
  /** Only keys strictly after this one, in byte order. */
  readonly startAfter?: string;
}

export interface ObjectStore {
  /**
   * Creates the object; `exists` when the key is taken. `body` parts are borrowed until the call
   * settles.
   */
  putIfAbsent(key: string, body: readonly Uint8Array[], options: RequestOptions): Promise<void>;
  /** `notFound` when there is none. A range that starts at or past the end is `invalid`. */
  get(key: string, range: ByteRange | undefined, options: RequestOptions): Promise<GetResult>;
  /** Undefined when there is none. */
  head(key: string, options: RequestOptions): Promise<ObjectInfo | undefined>;
  /** All keys that begin with `prefix`, in byte order, page by page. */
  list(prefix: string, options: ListOptions): AsyncIterable<readonly ObjectInfo[]>;
  /** Succeeds when the object is gone, also when it never was. */
  delete(key: string, options: RequestOptions): Promise<void>;
  /** Frees sockets and handles; no call may be under way. */
  close(): Promise<void>;
}
