// Who may change something now: the open segment, or what to wait for. A segment is never handed
// over an await: by the time the waiter runs another may have filled or closed it, so that everyone
// asks again and then acts in that very turn.

import type { StorageError } from '../base/errors.ts';
import type { CommitLog } from './log/commit-log.ts';
import type { Segment } from './log/segment.ts';

/** What the background has to say about changes. */
export interface Pacing {
  /** What to wait for before anything may be changed, if there is something. */
  readonly room: () => Promise<void> | undefined;
  /** So many blocks were let in. */
  readonly admitted: (blocks: number) => void;
}

export class Admission {
  readonly #log: CommitLog;
  readonly #pacing: Pacing;
  /** Rejects what waits for room. */
  readonly #waiting = new Set<(error: StorageError) => void>();

  constructor(log: CommitLog, pacing: Pacing) {
    this.#log = log;
    this.#pacing = pacing;
  }

  /** The open segment with room for `blocks`, or undefined when something must be waited for. */
  tryAdmit(blocks: number): Segment | undefined {
    if (this.#pacing.room() !== undefined) return undefined;
    const segment = this.#log.tryOpen(blocks);
    if (segment !== undefined) this.#pacing.admitted(blocks);
    return segment;
  }

  /** What to wait for when `tryAdmit` gave nothing. Then ask again. */
  room(): Promise<void> {
    const room = this.#pacing.room() ?? this.#log.room();
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      room.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** Who waits now gets the error: it has changed nothing, or a part of what it was to change. */
  refuseWaiting(error: StorageError): void {
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }

  /** Applies a change that takes no blocks in the turn in which a segment is open. */
  async change(apply: (segment: Segment) => void): Promise<void> {
    let segment = this.tryAdmit(0);
    while (segment === undefined) {
      await this.room();
      segment = this.tryAdmit(0);
    }
    apply(segment);
  }
}
