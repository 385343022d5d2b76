// A memtable as table entries in key order: metas, chunks, segments.

import { ByteWriter, compareBytes } from '../../base/bytes.ts';
import { encodeBlockMap } from '../format/block-map.ts';
import { segmentEntryToBytes } from '../format/frame-table.ts';
import { chunkKey, metaKey, segmentKey } from '../format/keys.ts';
import { CHUNK_BLOCKS, POINTER_MIN, segmentOf } from '../format/pointer.ts';
import { type DroppedSegment, LiveCounts } from '../live-counts.ts';
import type { Memtable } from './memtable.ts';

export interface MemtableEntry {
  readonly key: Uint8Array;
  /** Borrowed until the next entry is asked for. */
  readonly value: Uint8Array;
}

const DELETED = Uint8Array.of(0);

/** Segments that no pointer of the memtable names are left out and told to `onDropped`. */
export function* memtableEntries(
  memtable: Memtable,
  onDropped: (dropped: DroppedSegment) => void,
): Generator<MemtableEntry> {
  const metas = [...memtable.metas].map(([name, value]) => ({ key: metaKey(name), value }));
  metas.sort((a, b) => compareBytes(a.key, b.key));
  for (const { key, value } of metas) {
    yield { key, value: value === undefined ? DELETED : Buffer.concat([Uint8Array.of(1), value]) };
  }
  const out = new ByteWriter(256);
  const counts = new LiveCounts();
  for (const [inode, chunks] of memtable.sortedChunks()) {
    for (const chunk of chunks) {
      const slot = memtable.find(inode, chunk);
      const page = memtable.page(slot);
      const at = memtable.mapAt(slot);
      for (let i = 0; i < CHUNK_BLOCKS; i++) {
        const pointer = page[at + i]!;
        if (pointer >= POINTER_MIN) counts.add(segmentOf(pointer), 1);
      }
      out.reset();
      encodeBlockMap(out, page, at, 0);
      yield { key: chunkKey(inode, chunk), value: out.view() };
    }
  }
  const segments = [...memtable.segments].sort((a, b) => a[0] - b[0]);
  for (const [segment, table] of segments) {
    const live = counts.of(segment);
    if (live === 0) onDropped({ segment, table });
    else yield { key: segmentKey(segment), value: segmentEntryToBytes(table, live) };
  }
}
