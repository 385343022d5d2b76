// Live counts: how many pointers of a run name each segment (RFC 0003).
//
// Whoever writes a run, a flush or a merge, counts the pointers that it writes. Keys of segments
// sort behind those of chunks, so that when a segment's key comes its count is complete: it goes
// into the value, and a segment without pointers is left out and reported.

import { ByteReader, ByteWriter } from '../base/bytes.ts';
import {
  dropHoles,
  encodeBlockMap,
  forEachPointerRun,
  overlayBlockMap,
} from './format/block-map.ts';
import { decodeSegmentEntry, type FrameTable, withLiveCount } from './format/frame-table.ts';
import { KEY_CHUNK, KEY_META, KEY_SEGMENT, segmentOfKey } from './format/keys.ts';
import { createBlockMap } from './format/pointer.ts';
import type { Combine } from './table/merge.ts';

/** A segment that no pointer of the written run names any more. */
export interface DroppedSegment {
  readonly segment: number;
  readonly table: FrameTable;
}

export class LiveCounts {
  readonly #counts = new Map<number, number>();
  #lastSegment = 0;
  #lastCount = 0;

  readonly add = (segment: number, count: number): void => {
    // Neighbouring pointers mostly name one segment: the Map is asked once for a stretch of them.
    if (segment !== this.#lastSegment) {
      this.#settle();
      this.#lastSegment = segment;
      this.#lastCount = this.#counts.get(segment) ?? 0;
    }
    this.#lastCount += count;
  };

  of(segment: number): number {
    this.#settle();
    return this.#counts.get(segment) ?? 0;
  }

  #settle(): void {
    if (this.#lastSegment !== 0) this.#counts.set(this.#lastSegment, this.#lastCount);
    this.#lastSegment = 0;
  }
}

/**
 * How a merge makes one value of those that a key has, newest first: block maps overlay, all else
 * is replaced; segments get their new counts. For one merge only.
 */
export function createRunCombine(onDropped: (dropped: DroppedSegment) => void): Combine {
  const counts = new LiveCounts();
  return (key, values, isBottom) => {
    const newest = values[0]!;
    switch (key[0]!) {
      case KEY_META:
        return isBottom && newest[0] === 0 ? undefined : newest;
      case KEY_CHUNK: {
        const map = values.length === 1 && !isBottom ? newest : mergeMaps(values, isBottom);
        if (map !== undefined) forEachPointerRun(new ByteReader(map, 'block map'), counts.add);
        return map;
      }
      case KEY_SEGMENT: {
        const segment = segmentOfKey(key);
        const live = counts.of(segment);
        if (live > 0) return withLiveCount(newest, live);
        onDropped({ segment, table: decodeSegmentEntry(new ByteReader(newest, 'segment')).table });
        return undefined;
      }
      default:
        return newest;
    }
  };
}

/** Undefined when nothing but holes is left, with nothing below. */
function mergeMaps(values: readonly Uint8Array[], isBottom: boolean): Uint8Array | undefined {
  const map = createBlockMap();
  for (const value of values) {
    if (overlayBlockMap(new ByteReader(value, 'block map in a table'), map, 0, 0) === 0) break;
  }
  if (isBottom && !dropHoles(map, 0)) return undefined;
  const out = new ByteWriter(64);
  encodeBlockMap(out, map, 0, 0);
  return out.finish();
}
