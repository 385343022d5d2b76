import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MUTANTS } from './mutant-list.ts';
import { tryMutant } from './mutants.ts';

const QUICK = ['acknowledge before the put', 'skip the fence check', 'apply half an object'];

for (const name of QUICK) {
  test(`the simulator finds a planted bug: ${name}`, async () => {
    const mutant = MUTANTS.find((each) => each.name === name);
    assert.ok(mutant !== undefined);
    const { failure } = await tryMutant(mutant, { from: 1, to: 200 }, 2);
    assert.ok(failure !== undefined, 'found within 200 seeds');
  });
}

test('every planted bug fits the code', async () => {
  const misfits: string[] = [];
  for (const { name, edits } of MUTANTS) {
    // Edits of one file are made in order: only the first one's text must be there as it is.
    for (const [at, { file, from }] of edits.entries()) {
      if (edits.findIndex((edit) => edit.file === file) !== at) continue;
      const text = await readFile(join(import.meta.dirname, '..', file), 'utf8');
      const places = text.split(from).length - 1;
      if (places !== 1) misfits.push(`${name}: ${places} times in ${file}`);
    }
  }
  assert.deepEqual(misfits, []);
});

test('a mutant whose text is not in the code fails the tool', async () => {
  const edits = [{ file: 'src/engine/db.ts', from: 'no such text', to: '' }];
  const run = tryMutant({ name: 'stale', edits }, { from: 1, to: 1 }, 1);
  await assert.rejects(run, /does not fit/);
});
