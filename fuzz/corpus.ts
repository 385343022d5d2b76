// Inputs in files: `corpus/<target>/<digest>`, and `corpus/<target>/regression-…` for those that
// once broke something. A corpus is small, since it lies in the repository.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const CORPUS_DIRECTORY = join(import.meta.dirname, 'corpus');
export const FINDINGS_DIRECTORY = join(import.meta.dirname, 'findings');

const FILES_MAX = 40;
const BYTES_MAX = 8 * 1024;
const REGRESSION = 'regression-';
const DIGEST_DIGITS = 12;

/** In a fixed order. Empty when there is no such directory. */
export function readCorpus(directory: string, target: string): Uint8Array[] {
  const folder = join(directory, target);
  return names(folder).map((name) => new Uint8Array(readFileSync(join(folder, name))));
}

/** Replaces the files of a corpus, but for regressions. The first ones are kept when it is full. */
export function writeCorpus(
  directory: string,
  target: string,
  inputs: readonly Uint8Array[],
): number {
  const folder = join(directory, target);
  for (const name of names(folder)) {
    if (!name.startsWith(REGRESSION)) rmSync(join(folder, name));
  }
  mkdirSync(folder, { recursive: true });
  let files = names(folder).length;
  let bytes = 0;
  for (const input of inputs) {
    if (files >= FILES_MAX || bytes + input.length > BYTES_MAX) break;
    writeFileSync(join(folder, digestOf(input)), input);
    files += 1;
    bytes += input.length;
  }
  return files;
}

/** Where the input was put. */
export function writeFinding(target: string, input: Uint8Array): string {
  mkdirSync(FINDINGS_DIRECTORY, { recursive: true });
  const path = join(FINDINGS_DIRECTORY, `${target}-${digestOf(input)}`);
  writeFileSync(path, input);
  return path;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function digestOf(input: Uint8Array): string {
  return createHash('sha256').update(input).digest('hex').slice(0, DIGEST_DIGITS);
}
