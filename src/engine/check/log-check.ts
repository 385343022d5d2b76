// Checks the log of a branch behind its newest manifest: it can be replayed, the objects of its
// segments are there, and its pointers name blocks that they have.

import type { Log } from '../../base/log.ts';
import { logName } from '../format/names.ts';
import { blockOf, CHUNK_BLOCKS, POINTER_MIN, segmentOf } from '../format/pointer.ts';
import { forEachChunk } from '../format/records.ts';
import { replayLog, type ReplayPosition } from '../log/replay.ts';
import type { Lineage } from '../manifest/lineage.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { Memtable } from '../memtable/memtable.ts';
import { checkObject, type RunCheckComponents } from './run-check.ts';

export interface LogCheckComponents extends RunCheckComponents {
  readonly log: Log;
}

/** Gives what the log says, as far as it could be read. */
export async function checkLog(
  components: LogCheckComponents,
  id: string,
  head: Manifest,
  lineage: Lineage,
): Promise<Memtable> {
  const { findings, objects } = components;
  const memtable = new Memtable();
  await replay(components, id, head, memtable);
  for (const [segment, table] of memtable.segments) {
    findings.checked.segments += 1;
    await checkObject(components, lineage, segment, table, () => {});
  }
  for (const segment of badSegments(memtable)) {
    const what = `the log from here on points at segment ${segment}, which has no such block`;
    findings.error('pointer', logName(id, head.logNumber), what);
  }
  await objects?.settled();
  return memtable;
}

async function replay(
  components: LogCheckComponents,
  branch: string,
  { logNumber, nextSegment, logEpoch }: Manifest,
  memtable: Memtable,
): Promise<void> {
  const position: ReplayPosition = { logNumber, nextSegment, epoch: logEpoch };
  try {
    await replayLog(
      {
        ...components,
        branch,
        ownEpoch: Number.MAX_SAFE_INTEGER,
        apply: ({ commit, name, table }) => {
          forEachChunk(commit, name, (inode, chunk, map) => memtable.put(inode, chunk, map));
          for (const [key, value] of commit.metas) memtable.putMeta(key, value?.slice());
          memtable.putSegment(commit.segment, table);
        },
        onFence: () => {},
        onProgress: (done) => components.onProgress(done),
      },
      position,
    );
  } catch (error) {
    components.findings.caught('log', logName(branch, position.logNumber), error);
  }
}

/** Those that some pointer names without their having the block. */
function badSegments(memtable: Memtable): ReadonlySet<number> {
  const bad = new Set<number>();
  for (const [inode, chunks] of memtable.sortedChunks()) {
    for (const chunk of chunks) {
      const slot = memtable.find(inode, chunk);
      for (let i = 0; i < CHUNK_BLOCKS; i++) {
        const pointer = memtable.pointer(slot, i);
        if (pointer < POINTER_MIN) continue;
        const segment = segmentOf(pointer);
        const table = memtable.segments.get(segment);
        if (table === undefined || blockOf(pointer) >= table.blocks) bad.add(segment);
      }
    }
  }
  return bad;
}
