// What a connection needs of its socket. The real one is socket-wire.ts; the fuzzer has one in
// memory.

export interface Wire {
  /**
   * Sends the chunks in order. They are borrowed until `sent` is called, once, in a later turn or
   * tick.
   */
  send(chunks: readonly Uint8Array[], sent: () => void): void;
  /** Stops `receive` calls; those already under way may still come. */
  pause(): void;
  resume(): void;
  /**
   * Half-closes after everything that was sent. What the client still sends is read and dropped.
   */
  end(): void;
  /** Tears the connection down at once. `closed` follows. */
  destroy(): void;
}
