// `varve journal`: what a server that is gone left in its journal.

import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { StorageError } from '../base/errors.ts';
import {
  discardLocalJournal,
  exportLocalJournal,
  inspectLocalJournals,
  type JournalReport,
} from '../offline.ts';
import type { CommandContext } from './command-context.ts';
import { realComponents } from './components.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';
import { formatTable } from './text-table.ts';

export async function runJournalInspect(
  settings: Settings,
  context: CommandContext,
  asJson: boolean,
): Promise<void> {
  const components = await realComponents(settings, context, { newPassphrase: false });
  const reports = await inspectLocalJournals(settings, components);
  context.print(asJson ? `${JSON.stringify(reports, null, 2)}\n` : formatReports(reports));
}

function formatReports(reports: readonly JournalReport[]): string {
  if (reports.length === 0) return 'no journal\n';
  const rows = reports.map((one) => [
    one.id,
    one.branch,
    String(one.epoch),
    String(one.records),
    formatSize(one.bytes),
    String(Math.max(0, one.lastSequence - one.stored)),
  ]);
  const heads = ['journal', 'branch', 'epoch', 'records', 'bytes', 'the store may lack'];
  return formatTable([heads, ...rows], [2, 3, 4, 5]);
}

/** One JSON object a line: see docs/durability.md. The file must not be there. */
export async function runJournalExport(
  settings: Settings,
  context: CommandContext,
  id: string,
  file: string,
): Promise<void> {
  const components = await realComponents(settings, context, { newPassphrase: false });
  const out = createWriteStream(file, { flags: 'wx', mode: 0o600 });
  let changes = 0;
  try {
    for await (const { data, ...change } of exportLocalJournal(settings, components, id)) {
      const bytes = data === undefined ? {} : { data: Buffer.from(data).toString('base64') };
      const line = `${JSON.stringify({ ...change, ...bytes })}\n`;
      if (!out.write(line)) await new Promise((resolve) => out.once('drain', resolve));
      changes += 1;
    }
  } finally {
    out.end();
    await finished(out);
  }
  context.print(`${changes} changes in ${file}\n`);
}

export async function runJournalDiscard(
  settings: Settings,
  context: CommandContext,
  id: string,
): Promise<void> {
  if (id.length < 8) {
    const why = 'name the journal by 8 digits of its id at least: "varve journal inspect" shows it';
    throw new StorageError('invalid', why);
  }
  const components = await realComponents(settings, context, { newPassphrase: false });
  const { records } = await discardLocalJournal(settings, components, id);
  context.print(`a journal of ${records} records is gone\n`);
}
