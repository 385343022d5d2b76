// Time as a component, so that the simulator can own it. The real one is in system.ts.

export interface Clock {
  /** Milliseconds of a monotonic clock; only differences mean anything. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC: for people and logs, never for a proof. */
  unixMs(): number;
  /** Resolves after `ms` milliseconds; rejects with `aborted` when the signal fires first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /**
   * Calls `callback` once after `ms`. The returned function cancels it. Does not hold the process.
   */
  after(ms: number, callback: () => void): () => void;
  /**
   * Resolves in a later turn of the event loop, so that sockets are served between slices of work.
   */
  yieldTurn(): Promise<void>;
}
