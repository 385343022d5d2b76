// Planted bugs of the journal, while it is written (RFC 0004): the same as in mutant-list.ts.

import type { Mutant } from './mutants.ts';

const COMMIT_LOG = 'src/engine/log/commit-log.ts';
const JOURNAL = 'src/engine/journal/journal.ts';
const JOURNALER = 'src/engine/journal/journaler.ts';
const JOURNAL_TIER = 'src/engine/journal/journal-tier.ts';
const SEGMENT = 'src/engine/log/segment.ts';
const SLOT_SET = 'src/engine/journal/slot-set.ts';
const UPLOADS = 'src/engine/log/uploads.ts';

export const JOURNAL_MUTANTS: readonly Mutant[] = [
  {
    name: 'a journaled barrier does not wait',
    edits: [
      {
        file: JOURNALER,
        from: '    this.#start();\n    return waiting;',
        to: '    this.#start();\n    waiting.catch(() => {});\n    return undefined;',
      },
    ],
  },
  {
    name: 'no fdatasync',
    edits: [
      {
        file: JOURNAL,
        from: 'await slot.file.append(target, slot.at, durable);',
        to: 'await slot.file.append(target, slot.at, false);',
      },
    ],
  },
  {
    name: 'a slot is left unsynced',
    edits: [
      {
        file: JOURNAL,
        from: '      await current.file.sync();\n',
        to: '',
      },
    ],
  },
  {
    name: 'a barrier passes over what is under way',
    edits: [
      {
        file: JOURNALER,
        from: 'this.#assigned + 1 : this.#assigned;',
        to: 'this.#assigned + 1 : this.#durable;',
      },
    ],
  },
  {
    name: 'the position is one too high',
    edits: [
      {
        file: JOURNAL_TIER,
        from: 'encodePosition({ journal: journal.id, sequence })',
        to: 'encodePosition({ journal: journal.id, sequence: sequence + 1 })',
      },
    ],
  },
  {
    name: 'a slot is used again before the store has it',
    edits: [
      {
        file: SLOT_SET,
        from: 'this.#used[0]!.lastSequence <= stored',
        to: 'stored >= 0',
      },
    ],
  },
  {
    name: 'what was journaled once is never journaled again',
    edits: [
      {
        file: SEGMENT,
        from: '      this.#deltaMasks[at] = 0;\n',
        to: '',
      },
    ],
  },
  {
    name: 'the rest of a closing segment is not journaled',
    edits: [
      {
        file: JOURNALER,
        from: 'delta: segment.takeDelta() });',
        to: 'delta: (segment.takeDelta(), segment.takeDelta()) });',
      },
    ],
  },
  {
    name: 'records are not journaled',
    edits: [
      {
        file: SEGMENT,
        from:
          'const metas = [...this.#deltaMetas].map((name) => [name, this.metas.get(name)] ' +
          'as const);',
        to: "const metas: SegmentDelta['metas'] = [];",
      },
    ],
  },
  {
    name: "a closed segment's delta is taken late",
    edits: [
      {
        file: JOURNALER,
        from: 'delta: segment.takeDelta() });',
        to: 'get delta() {\n        return segment.takeDelta();\n      } });',
      },
    ],
  },
  {
    name: 'a spool file goes before the put',
    edits: [
      {
        file: UPLOADS,
        from: '      const body = [await spool.read(name, 0, spool.bytesOf(name))];',
        to:
          '      const body = [await spool.read(name, 0, spool.bytesOf(name))];\n' +
          '      spool.remove(name);',
      },
      {
        file: UPLOADS,
        from: '    spool.remove(name);\n    return sealed.table;',
        to: '    return sealed.table;',
      },
    ],
  },
  {
    name: 'an arena is given back before the journal has it',
    edits: [
      {
        file: COMMIT_LOG,
        from: 'taken: journal === undefined || !segment.awaitsJournal,',
        to: 'taken: true,',
      },
    ],
  },
  {
    name: 'spooled puts overrun the window of the log',
    edits: [
      {
        file: UPLOADS,
        from: 'while (logNumber > this.#durableLogNumber + LOG_WINDOW)',
        to: 'while (logNumber > this.#durableLogNumber + 1000 * LOG_WINDOW)',
      },
    ],
  },
  {
    name: 'a record that was left unsynced is missed',
    edits: [
      {
        file: JOURNAL,
        from: 'synced: this.#synced }',
        to: 'synced: sequence - 1 }',
      },
    ],
  },
  {
    name: 'a failed append is tried again in its place',
    edits: [
      {
        file: JOURNAL,
        from: '      await this.#append(plain, sequence, durable);',
        to:
          '      const again = () => this.#append(plain, sequence, durable);\n' +
          '      await again().catch(again);',
      },
    ],
  },
  {
    name: 'the journal answers who wants the store',
    edits: [
      {
        file: COMMIT_LOG,
        from: '    this.throwIfFailed();\n    return this.#barriers.waitForStore();',
        to: '    return this.barrier();',
      },
    ],
  },
  {
    name: 'a failed journal begins afresh too early',
    edits: [
      {
        file: JOURNAL_TIER,
        from: 'sequence === assigned && waiting.length === 0',
        to: 'waiting.length === 0',
      },
    ],
  },
  {
    name: 'a fresh slot lacks what the failed one had',
    edits: [
      {
        file: JOURNAL_TIER,
        from: '    commitLog.open?.resetDelta();\n',
        to: '',
      },
    ],
  },
];
