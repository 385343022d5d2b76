// Planted bugs of taking a journal up, and of going on without it (RFC 0004): as in mutant-list.ts.

import type { Mutant } from './mutants.ts';

const ADMIT = 'src/engine/journal/admit.ts';
const DATABASE = 'src/engine/database.ts';
const LOCAL_JOURNAL = 'src/engine/journal/local-journal.ts';
const READ_JOURNAL = 'src/engine/journal/read-journal.ts';
const ROOTS = 'src/engine/roots.ts';
const WRITER = 'src/engine/writer.ts';

export const TAKEOVER_MUTANTS: readonly Mutant[] = [
  {
    name: 'the first record is passed over',
    edits: [
      {
        file: LOCAL_JOURNAL,
        from: 'mine.records(after)',
        to: 'mine.records(after + 1)',
      },
    ],
  },
  {
    name: 'the position of what was taken up is one too high',
    edits: [
      {
        file: LOCAL_JOURNAL,
        from: 'encodePosition({ journal: mine.id, sequence })',
        to: 'encodePosition({ journal: mine.id, sequence: sequence + 1 })',
      },
    ],
  },
  {
    name: 'barriers are journaled before the manifest names the journal',
    edits: [
      {
        file: WRITER,
        from:
          '    await this.incumbent.publish(\n' +
          '      () => ({ journal: tier.name }),\n' +
          '      () => {},\n' +
          '    );',
        to:
          '    this.incumbent.publish(\n' +
          '      () => ({ journal: tier.name }),\n' +
          '      () => {},\n' +
          '    ).catch(() => {});',
      },
    ],
  },
  {
    name: 'the manifest names a journal that is not there yet',
    edits: [
      {
        file: WRITER,
        from: '    await tier.begin();\n',
        to: '',
      },
      {
        file: WRITER,
        from: '    this.journal = tier;\n    log.useJournal(tier);',
        to: '    await tier.begin();\n    this.journal = tier;\n    log.useJournal(tier);',
      },
    ],
  },
  {
    name: 'a restore keeps the journal',
    edits: [
      {
        file: ROOTS,
        from:
          '    if (writer.journal === undefined || newJournal === undefined) return ' +
          'publish(undefined);',
        to:
          '    const { name } = writer.journal ?? {};\n' +
          '    if (name !== undefined || newJournal === undefined) return publish(name);\n' +
          '    if (writer.journal === undefined) return publish(undefined);',
      },
    ],
  },
  {
    name: 'who lacks the journal is let in',
    edits: [
      {
        file: ADMIT,
        from:
          '    if (journal !== undefined && !mine) throw heldError(journal);\n' +
          '    return journal;',
        to: '    return mine ? journal : undefined;',
      },
    ],
  },
  {
    name: 'a journal that was gone on without is passed over',
    edits: [
      {
        file: ADMIT,
        from: 'one.id === journal?.id || one.lastSequence <= one.stored',
        to: 'one.id.length > 0',
      },
    ],
  },
  {
    name: 'a journal that was gone on without is replayed',
    edits: [
      {
        file: ADMIT,
        from: 'one.id === journal?.id || one.lastSequence <= one.stored',
        to: 'one.id.length > 0',
      },
      {
        file: LOCAL_JOURNAL,
        from: 'this.#found.find((one) => one.id === name?.id);',
        to: 'this.#found.find((one) => one.id === name?.id) ?? this.#found[0];',
      },
    ],
  },
  {
    name: 'a torn record counts',
    edits: [
      {
        file: READ_JOURNAL,
        from: "if (error instanceof StorageError && error.kind === 'corrupt') return undefined;",
        to: "if (error instanceof StorageError && error.kind === 'corrupt') return target;",
      },
    ],
  },
  {
    name: 'records behind a torn one count',
    edits: [
      {
        file: READ_JOURNAL,
        from: 'if (plain === undefined) break;',
        to: 'if (plain === undefined) continue;',
      },
      {
        file: READ_JOURNAL,
        from: 'if (header.sequence !== expected) continue;',
        to: 'expected = header.sequence;',
      },
    ],
  },
  {
    name: 'a close leaves a journal that seems to hold something',
    edits: [
      {
        file: WRITER,
        from: '      await this.journal?.markStored();\n',
        to: '',
      },
    ],
  },
  {
    name: 'what was taken up seems to be missing',
    edits: [
      {
        file: DATABASE,
        from: '      await local.markTaken();\n',
        to: '',
      },
    ],
  },
  {
    name: 'what was taken up is not waited for',
    edits: [
      {
        file: DATABASE,
        from: '      if (applied > 0) await writer.log.storeBarrier();\n',
        to: '',
      },
    ],
  },
  {
    name: 'old slots go in any order',
    edits: [
      {
        file: LOCAL_JOURNAL,
        from: '[(name: string) => !newest.has(name), () => true]',
        to: '[(name: string) => !newest.has(name) || newest.has(name)]',
      },
    ],
  },
];
