// Bytes that writers may still write while the collector is behind. Without limit while it is not.

export class Credit {
  #bytes = Infinity;
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  /** How often someone was told to wait. */
  waits = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** May take the credit below nought: whoever comes next waits. */
  spend(bytes: number): void {
    this.#bytes -= bytes;
  }

  /** From now on so many bytes, and what is granted later. */
  limit(bytes: number): void {
    this.#bytes = 0;
    this.grant(bytes);
  }

  /** Infinity ends the limit. */
  grant(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= 0) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** What to wait for before anything may be written, if there is something. */
  room(): Promise<void> | undefined {
    if (this.#bytes > 0) return undefined;
    this.waits += 1;
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }
}
