// The planted bugs. Each breaks one rule that the headers of the edited files state.

import { COLLECTION_MUTANTS } from './mutant-list-collection.ts';
import { JOURNAL_MUTANTS } from './mutant-list-journal.ts';
import { TAKEOVER_MUTANTS } from './mutant-list-takeover.ts';
import type { Mutant } from './mutants.ts';

const BARRIERS = 'src/engine/log/barriers.ts';
const MAINTENANCE = 'src/engine/maintenance.ts';
const RECOVERY = 'src/engine/recovery.ts';
const RETRY = 'src/objectstore/retry.ts';
const UPLOADS = 'src/engine/log/uploads.ts';
const TREE = 'src/engine/tree.ts';
const WRITER = 'src/engine/file-writer.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledge before the put',
    edits: [
      {
        file: BARRIERS,
        from: '    return this.#waiters.add(target, false);',
        to: '    return undefined;',
      },
    ],
  },
  {
    name: 'skip the fence check',
    edits: [
      {
        file: 'src/engine/log/upload.ts',
        from: "if (isStorageError(error, 'exists')) throw fencedError(closed);",
        to: "if (isStorageError(error, 'exists')) return sealed!.table;",
      },
    ],
  },
  {
    name: 'apply half an object',
    edits: [
      {
        file: 'src/engine/log/replay.ts',
        from: '      applyOne(options, position, opened);',
        to:
          '      const isLast = !present.has(position.logNumber + 1);\n' +
          '      if (isLast) Object.assign(opened.record, { half: true });\n' +
          '      applyOne(options, position, opened);',
      },
      {
        file: 'src/engine/format/records.ts',
        from: '      visit(inode, chunk, map);',
        to: "      if (!('half' in commit) || c % 2 === 0) visit(inode, chunk, map);",
      },
    ],
  },
  {
    name: 'apply half of every object',
    edits: [
      {
        file: RECOVERY,
        from: '(inode, chunk, map) => memtable.put(inode, chunk, map)',
        to: '(inode, chunk, map) => void (chunk % 2 === 0 && memtable.put(inode, chunk, map))',
      },
    ],
  },
  {
    name: 'a new writer puts no fence',
    edits: [
      {
        file: RECOVERY,
        from: 'await store.putIfAbsent(name, [object.subarray(0, objectBytes)],',
        to: 'void object.subarray(0, objectBytes);\n    await store.head(name,',
      },
    ],
  },
  {
    name: 'a barrier covers its own segment alone',
    edits: [
      {
        file: UPLOADS,
        from:
          '      const first = this.#queue[0];\n' + '      if (first?.table === undefined) break;',
        to:
          '      const at = this.#queue.findIndex((each) => each.table !== undefined);\n' +
          '      const first = at < 0 ? undefined : this.#queue.splice(at, 1)[0];\n' +
          '      if (first?.table === undefined) break;',
      },
      { file: UPLOADS, from: '      this.#queue.shift();\n', to: '' },
    ],
  },
  {
    name: 'a manifest before the segments that it stands for',
    edits: [{ file: MAINTENANCE, from: '      await log.whenDurable(nextSegment - 1);\n', to: '' }],
  },
  {
    name: 'replay starts one object too far',
    edits: [
      {
        file: MAINTENANCE,
        from:
          '          logNumber,\n          logEpoch: current.epoch,\n' + '          nextSegment,',
        to:
          '          logNumber: logNumber + 1,\n          logEpoch: current.epoch,\n' +
          '          nextSegment: nextSegment + 1,',
      },
    ],
  },
  {
    name: 'compaction lays the oldest on top',
    edits: [
      {
        file: 'src/engine/live-counts.ts',
        from: '  for (const value of values) {',
        to: '  for (const value of values.toReversed()) {',
      },
    ],
  },
  {
    name: 'a lost reply counts as another writer',
    edits: [
      {
        file: RETRY,
        from: '    if (!(await holdsExactly(store, key, body, options))) throw error;',
        to: '    await holdsExactly(store, key, body, options);\n    throw error;',
      },
    ],
  },
  {
    name: 'whatever is there counts as our own',
    edits: [
      {
        file: RETRY,
        from: '    if (!(await holdsExactly(store, key, body, options))) throw error;',
        to: '    await holdsExactly(store, key, body, options);',
      },
    ],
  },
  {
    name: 'an answer with bytes missing counts as whole',
    edits: [
      {
        file: RETRY,
        from: '  if (came === end - start) return result;',
        to: '  if (came >= 0) return result;',
      },
    ],
  },
  {
    name: 'a fence skips one number',
    edits: [
      {
        file: RECOVERY,
        from: 'resumeAt: logNumber + LOG_WINDOW }',
        to: 'resumeAt: logNumber + 1 }',
      },
      {
        file: RECOVERY,
        from: 'position.logNumber += LOG_WINDOW;',
        to: 'position.logNumber += 1;',
      },
    ],
  },
  {
    name: 'a part of a block is merged with what was there before a wait',
    edits: [
      {
        file: WRITER,
        from: '        fetched = pointer;\n        continue;',
        to: '        fetched = pointer;',
      },
    ],
  },
  {
    name: 'cached maps miss what was flushed',
    edits: [
      {
        file: TREE,
        from: 'this.#maps.overlay(inode, chunk, frozen.page(slot), frozen.mapAt(slot));',
        to: 'void slot;',
      },
    ],
  },
  {
    name: 'a map load does not see the flush that overtook it',
    edits: [
      {
        file: TREE,
        from: '    this.frozen = undefined;\n    this.#version += 1;',
        to: '    this.frozen = undefined;',
      },
    ],
  },
  {
    name: 'a manifest is sealed anew when it is tried again',
    edits: [
      {
        file: 'src/engine/manifest/publisher.ts',
        from: 'const put = this.#c.manifests.prepare(number, manifest);',
        to:
          'const put = (why: RequestCause): Promise<void> =>\n' +
          '        this.#c.manifests.publish(number, manifest, why);',
      },
    ],
  },
  {
    name: 'a new writer takes the epoch of the last',
    edits: [{ file: RECOVERY, from: 'epoch: manifest.epoch + 1', to: 'epoch: manifest.epoch' }],
  },
  {
    name: 'a close passes over a log that has stopped',
    edits: [
      {
        file: 'src/engine/writer.ts',
        from:
          '      await this.log.storeBarrier();\n      await this.flushAll();\n' +
          '      this.log.throwIfFailed();',
        to:
          '      if (!this.signal.aborted) {\n' +
          '        await this.log.storeBarrier();\n        await this.flushAll();\n      }',
      },
    ],
  },
  {
    name: 'a close flushes over a flush that failed',
    edits: [
      {
        file: MAINTENANCE,
        from: 'if (tree.frozen === undefined && !signal.aborted) {\n      log.cut',
        to: 'if (!tree.active.empty) {\n      log.cut',
      },
    ],
  },
  {
    name: 'a segment is handed over an await',
    edits: [
      {
        file: 'src/engine/admission.ts',
        from: '    let segment = this.tryAdmit(0);\n    while',
        to: '    let segment = this.tryAdmit(0);\n    await Promise.resolve();\n    while',
      },
    ],
  },
  ...COLLECTION_MUTANTS,
  ...JOURNAL_MUTANTS,
  ...TAKEOVER_MUTANTS,
];
