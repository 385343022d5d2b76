// Who keeps a copy of named records, as the volumes do, and must hear when a follower finds that
// they may have changed. One call at a time; again if it fails.

/** Where it is noted that records may have changed since the listener was called last. */
export interface RecordChanges {
  metasChanged: boolean;
}

export class RecordListener {
  readonly #changes: RecordChanges;
  #listener: () => Promise<void> = async () => {};
  #telling: Promise<void> | undefined;

  constructor(changes: RecordChanges) {
    this.#changes = changes;
  }

  set(listener: () => Promise<void>): void {
    this.#listener = listener;
    // What the listener has read may be older than the view by now.
    this.#changes.metasChanged = true;
  }

  /** The listener knows of all that had changed by the time of the call. Rejects as it does. */
  async tell(): Promise<void> {
    // A call that is under way may have read what was there before.
    while (this.#changes.metasChanged || this.#telling !== undefined) {
      this.#telling ??= this.#tell().finally(() => {
        this.#telling = undefined;
      });
      await this.#telling;
    }
  }

  async #tell(): Promise<void> {
    if (!this.#changes.metasChanged) return;
    this.#changes.metasChanged = false;
    try {
      await this.#listener();
    } catch (error) {
      this.#changes.metasChanged = true;
      throw error;
    }
  }
}
