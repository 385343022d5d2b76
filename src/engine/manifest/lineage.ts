// Whose objects a branch's tree names. A branch that was created from another shares that one's
// tables and segments; both then count on from the same numbers, under names of their own.

import type { FrameTable } from '../format/frame-table.ts';
import { dataName, logName, tableName } from '../format/names.ts';
import type { Ancestor } from './manifest.ts';

/**
 * A writer's ids of tables and data objects are its epoch × 2^20 + a counter: no two writers of a
 * branch ever use the same.
 */
export const IDS_PER_EPOCH = 2 ** 20;

export class Lineage {
  readonly own: string;
  readonly #ancestors: readonly Ancestor[];

  /** `ancestors` from the oldest to the parent. */
  constructor(own: string, ancestors: readonly Ancestor[]) {
    this.own = own;
    this.#ancestors = ancestors;
  }

  /** The branch id under whose name a segment's object lies. */
  branchOfSegment(segment: number): string {
    return this.#ancestors.find((a) => segment < a.nextSegment)?.branch ?? this.own;
  }

  /** The branch id under whose name the table, or data object, with that id lies. */
  branchOfId(id: number): string {
    const epoch = Math.floor(id / IDS_PER_EPOCH);
    return this.#ancestors.find((a) => epoch <= a.epoch)?.branch ?? this.own;
  }

  ownsSegment(segment: number): boolean {
    return segment >= (this.#ancestors.at(-1)?.nextSegment ?? 0);
  }

  ownsId(id: number): boolean {
    return Math.floor(id / IDS_PER_EPOCH) > (this.#ancestors.at(-1)?.epoch ?? -1);
  }

  tableName(id: number): string {
    return tableName(this.branchOfId(id), id);
  }

  /** The object that holds a segment's frames. */
  segmentName(segment: number, table: Pick<FrameTable, 'logNumber' | 'dataId'>): string {
    const branch = this.branchOfSegment(segment);
    return table.dataId === 0 ? logName(branch, table.logNumber) : dataName(branch, table.dataId);
  }
}
