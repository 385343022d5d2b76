// One writer's time on a branch, from the state that its opening found, or that a restore made.

import type { Operation } from './history.ts';
import { type VolumeContent, VolumeModel } from './volume-model.ts';

/** What a state holds: volumes by name. Never changed once it was found. */
export type Found = ReadonlyMap<string, VolumeContent>;

export interface AtomicWrite {
  readonly by: Operation;
  readonly volume: VolumeModel;
  readonly fromSector: number;
  readonly toSector: number;
}

export class Reign {
  readonly epoch: number;
  readonly who: string;
  readonly volumes = new Map<string, VolumeModel>();
  readonly atomicWrites: AtomicWrite[] = [];
  /** Everything that ended before this moment was acknowledged as durable. */
  acknowledged = 0;
  /** The same of what the store acknowledged; less with a journal. */
  stored = 0;
  /** Its machine's name, when barriers wait for a journal there. */
  machine: string | undefined;
  /** Its journal holds what was acknowledged and is in no later state. */
  owes = false;
  /** Its journal is no more. */
  journalLost = false;
  /** Something that ended at this moment is not in the successor's state. */
  lostFrom = Infinity;
  /** When a writer of a higher epoch was seen to have opened. */
  deposedAt = Infinity;
  /** A restore that was begun: the state may become this one at once, or not. */
  restoring: Found | undefined;
  /** Whether a successor found the state that the restore makes; undefined when none has looked. */
  foundRestored: boolean | undefined;
  readonly base: Found;

  constructor(epoch: number, who: string, base: Found) {
    this.epoch = epoch;
    this.who = who;
    this.base = base;
    for (const [name, { bytes, keys }] of base) {
      this.volumes.set(name, new VolumeModel(name, { bytes: bytes.slice(), keys }, bytes.length));
    }
  }
}

export function sameState(a: Found, b: Found): boolean {
  if (a.size !== b.size) return false;
  for (const [name, { bytes }] of a) {
    const other = b.get(name);
    if (other === undefined || Buffer.compare(bytes, other.bytes) !== 0) return false;
  }
  return true;
}
