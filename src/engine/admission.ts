// Who may change something now: the open segment, or what to wait for. A segment is never handed
// over an await: by the time the waiter runs another may have filled or closed it, so that everyone
// asks again and then acts in that very turn.

import type { CommitLog } from './log/commit-log.ts';
import type { Segment } from './log/segment.ts';

export class Admission {
  readonly #log: CommitLog;
  readonly #memtableRoom: () => Promise<void> | undefined;

  /** `memtableRoom` gives what to wait for before the memtable may grow, if anything. */
  constructor(log: CommitLog, memtableRoom: () => Promise<void> | undefined) {
    this.#log = log;
    this.#memtableRoom = memtableRoom;
  }

  /** The open segment with room for `blocks`, or undefined when something must be waited for. */
  tryAdmit(blocks: number): Segment | undefined {
    return this.#memtableRoom() === undefined ? this.#log.tryOpen(blocks) : undefined;
  }

  /** What to wait for when `tryAdmit` gave nothing. Then ask again. */
  room(): Promise<void> {
    return this.#memtableRoom() ?? this.#log.room();
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
