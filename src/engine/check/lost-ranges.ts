// Which bytes of which files are lost: a cursor that passes a run's entries on and looks at the
// pointers in them.

import { ByteReader } from '../../base/bytes.ts';
import { overlayBlockMap } from '../format/block-map.ts';
import { chunkOfKey, inodeOfKey, KEY_CHUNK, KEY_META, metaNameOf } from '../format/keys.ts';
import {
  ABSENT,
  BLOCK_BYTES,
  CHUNK_BLOCKS,
  createBlockMap,
  POINTER_MIN,
  segmentOf,
} from '../format/pointer.ts';
import type { Cursor } from '../table/cursor.ts';

export interface LostRange {
  readonly inode: number;
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/** Bounds the report; what is past it is only counted. */
export const LOST_RANGES_MAX = 10_000;

export class LostRanges {
  readonly ranges: LostRange[] = [];
  lostBytes = 0;
  /** Segments that are lost and that something points at. */
  readonly segments = new Set<number>();
  /** The records of the state, by name. */
  readonly records = new Map<string, Uint8Array>();
  readonly #isLost: (segment: number) => boolean;
  readonly #map = createBlockMap();
  #last: { inode: number; from: number; to: number } | undefined;

  constructor(isLost: (segment: number) => boolean) {
    this.#isLost = isLost;
  }

  /** `source` itself, with an eye on it. */
  watching(source: Cursor): Cursor {
    const see = (more: boolean): boolean => {
      if (more) this.#see(source.key, source.value);
      return more;
    };
    return {
      get key() {
        return source.key;
      },
      get value() {
        return source.value;
      },
      next() {
        const step = source.next();
        return typeof step === 'boolean' ? see(step) : step.then(see);
      },
    };
  }

  #see(key: Uint8Array, value: Uint8Array): void {
    if (key[0] === KEY_META && value[0] === 1) this.records.set(metaNameOf(key), value.slice(1));
    if (key[0] !== KEY_CHUNK) return;
    const map = this.#map.fill(ABSENT);
    overlayBlockMap(new ByteReader(value, 'a block map'), map, 0, 0);
    for (let i = 0; i < CHUNK_BLOCKS; i++) {
      if (map[i]! < POINTER_MIN) continue;
      const segment = segmentOf(map[i]!);
      if (!this.#isLost(segment)) continue;
      this.segments.add(segment);
      this.#add(inodeOfKey(key), (chunkOfKey(key) * CHUNK_BLOCKS + i) * BLOCK_BYTES);
    }
  }

  #add(inode: number, from: number): void {
    this.lostBytes += BLOCK_BYTES;
    const to = from + BLOCK_BYTES;
    if (this.#last?.inode === inode && this.#last.to === from) {
      this.#last.to = to;
      return;
    }
    this.#last = { inode, from, to };
    if (this.ranges.length < LOST_RANGES_MAX) this.ranges.push(this.#last);
  }
}
