// `varve fsck`: checks all that the branches of a store reach. Needs no server and does one no
// harm, but for --repair, which takes the branches over that it mends.

import { StorageError } from '../base/errors.ts';
import { type FsckOptions, type FsckOutcome, fsckStore } from '../offline.ts';
import type { CommandContext } from './command-context.ts';
import { realComponents } from './components.ts';
import type { Settings } from './settings.ts';
import { formatSize } from './size.ts';

/** Errors that are printed; --json has more of them. */
const LINES_MAX = 50;

export async function runFsck(
  settings: Settings,
  context: CommandContext,
  options: FsckOptions & { readonly json: boolean },
): Promise<void> {
  if (options.repair) {
    context.printError(
      'varve: a server of a branch that needs repair will stop: it is taken over\n',
    );
  }
  const components = await realComponents(settings, context, { newPassphrase: false });
  const outcome = await fsckStore(settings, components, options);
  context.print(options.json ? `${JSON.stringify(outcome, null, 2)}\n` : formatOutcome(outcome));
  if (outcome.errorCount === 0) return;
  const hint = options.repair
    ? 'what is left cannot be repaired; "varve salvage" makes a branch of what can be read'
    : 'see docs/fsck.md; "varve fsck --repair" mends counts and frame tables';
  throw new StorageError('corrupt', `${countOf(outcome.errorCount, 'error')} found: ${hint}`);
}

function formatOutcome({
  branches,
  errors,
  errorCount,
  notes,
  garbage,
  checked,
  repairs,
}: FsckOutcome): string {
  const lines: string[] = [];
  for (const { branch, rebuilt, lost } of repairs) {
    lines.push(
      `repaired branch ${branch}: counts made anew, ${countOf(rebuilt.length, 'frame table')} ` +
        `rebuilt, ${lost.length} of them not to be found`,
    );
  }
  for (const { kind, object, what, branch, root } of errors.slice(0, LINES_MAX)) {
    const where = [branch, root].filter((part) => part !== undefined).join(', ');
    lines.push(`${kind}: ${object}: ${what}${where === '' ? '' : ` (${where})`}`);
  }
  if (errorCount > LINES_MAX) lines.push(`… and ${errorCount - LINES_MAX} more`);
  for (const note of notes) lines.push(`note: ${note}`);
  for (const { name, roots, errors: wrong } of branches) {
    lines.push(`branch ${name}: ${countOf(roots, 'root')}, ${countOf(wrong, 'error')}`);
  }
  lines.push(
    `checked ${countOf(checked.tables, 'table')}, ${countOf(checked.segments, 'segment')}` +
      (checked.objectsRead === 0
        ? ''
        : `, read ${countOf(checked.objectsRead, 'object')} of ${formatSize(checked.bytesRead)}`),
    `garbage: ${countOf(garbage.objects, 'object')} of ${formatSize(garbage.bytes)}`,
  );
  return lines.map((line) => `${line}\n`).join('');
}

function countOf(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
