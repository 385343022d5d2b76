// Planted bugs: the simulator must find them, or it proves nothing.
//
// Each is an exact replacement of text in a copy of src/ and sim/ in a folder for temporary files.
// Text that is not there exactly once fails the tool: a mutant that no longer fits the code must be
// brought up to date.

import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type RangeResult, runSeeds, type SeedRange } from './run-seeds.ts';

export interface Edit {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
}

const PROJECT = dirname(import.meta.dirname);

/** Runs the seeds on a copy with the bug until one fails. */
export async function tryMutant(
  mutant: Mutant,
  range: SeedRange,
  workers: number,
): Promise<RangeResult> {
  const directory = await mkdtemp(join(tmpdir(), 'varve-mutant-'));
  try {
    await Promise.all(
      ['src', 'sim', 'package.json'].map((name) =>
        cp(join(PROJECT, name), join(directory, name), { recursive: true }),
      ),
    );
    await symlink(join(PROJECT, 'node_modules'), join(directory, 'node_modules'));
    for (const edit of mutant.edits) await plant(mutant.name, join(directory, edit.file), edit);
    return await runSeeds(range, { workers, directory: join(directory, 'sim') });
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function plant(mutant: string, path: string, { file, from, to }: Edit): Promise<void> {
  const text = await readFile(path, 'utf8');
  const places = text.split(from).length - 1;
  if (places !== 1) {
    throw new Error(`mutant "${mutant}" does not fit: its text is ${places} times in ${file}`);
  }
  await writeFile(
    path,
    text.replace(from, () => to),
  );
}
