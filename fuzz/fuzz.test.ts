// Every corpus is run once more, and every target fuzzed for a moment; and the fuzzer must find
// what it is there to find.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSeededRng } from '../src/base/rng.ts';
import { StorageError } from '../src/base/errors.ts';
import { systemClock } from '../src/base/system.ts';
import { createManualClock } from '../src/objectstore/manual-clock.ts';
import { CORPUS_DIRECTORY, readCorpus, writeCorpus } from './corpus.ts';
import { Loop } from './loop.ts';
import { Mutator } from './mutate.ts';
import { runTarget, type TargetRun } from './supervisor.ts';
import { type Failure, roundTrip, type Target } from './target.ts';
import { TARGET_NAMES } from './targets.ts';

/** Of each target: a second's work or less, counted in messages, so that every run is the same. */
const MESSAGES = 4000;
/** Of those whose messages take longer, and of conversations, whose seeds hold many. */
const COSTLY_MESSAGES: Readonly<Record<string, number>> = {
  record: 1000,
  config: 1000,
  'forged-log': 500,
  'forged-table': 500,
  'admin-client': 500,
  'admin-http': 1000,
  's3-http': 200,
  'nbd-connection': 1500,
};
const WORKERS = 2;
const WATCH = { begin: () => {}, end: () => {} };

interface Found {
  readonly failure: Failure;
  readonly input: Uint8Array;
}

async function fuzz(target: Target, messages: number): Promise<{ found: Found[]; loop: Loop }> {
  const found: Found[] = [];
  const onFailure = (failure: Failure, input: Uint8Array): void =>
    void found.push({ failure, input });
  const loop = new Loop({ clock: systemClock, watch: WATCH, onFailure }, target, 1);
  await loop.run([], { seconds: Infinity, messages });
  return { found, loop };
}

const SEED = Uint8Array.of(1, 2, 3, 4);
const REFUSAL = new StorageError('corrupt', 'refused');

test('every corpus is clean, and so is what a moment of fuzzing makes of it', async () => {
  const failures: string[] = [];
  const waiting = [...TARGET_NAMES];
  const common = { seed: 1, corpus: CORPUS_DIRECTORY, save: false };
  const deps = {
    clock: systemClock,
    onFailure: (target: string, { detail }: Failure, input: Uint8Array) =>
      void failures.push(`${target}: ${detail}\n${Buffer.from(input).toString('hex')}`),
  };
  const work = async (): Promise<void> => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const messages = COSTLY_MESSAGES[target] ?? MESSAGES;
      const run: TargetRun = { ...common, target, budget: { seconds: Infinity, messages } };
      const report = await runTarget(deps, run);
      if (report.messages < messages) failures.push(`${target}: ${report.messages} messages`);
      if (report.failures > 0) failures.push(`${target}: ${report.failures} failures`);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  assert.deepEqual(failures, []);
});

test('a wrong kind of error is found, and made small', async () => {
  const target: Target = {
    name: 'planted',
    kinds: ['corrupt'],
    seeds: () => [SEED],
    run(input) {
      if (input.includes(255)) throw new TypeError('planted');
      throw REFUSAL;
    },
  };
  const { found } = await fuzz(target, 5000);
  assert.equal(found.length, 1);
  assert.deepEqual([...found[0]!.input], [255]);
  assert.match(found[0]!.failure.detail, /TypeError/);
});

test('a refusal of another kind, and a value that does not come back, are found', async () => {
  const kind: Target = {
    name: 'kind',
    kinds: ['corrupt'],
    seeds: () => [SEED],
    run: async () => Promise.reject(new StorageError('unavailable', 'no')),
  };
  assert.match((await fuzz(kind, 20)).found[0]!.failure.detail, /StorageError unavailable/);
  const lossy: Target = {
    name: 'lossy',
    kinds: [],
    seeds: () => [SEED],
    run(input) {
      const decode = (bytes: Uint8Array): number => bytes[0] ?? 0;
      roundTrip(input, decode, (value) => Uint8Array.of(value & 127));
    },
  };
  assert.match((await fuzz(lossy, 2000)).found[0]!.failure.detail, /differs/);
});

test('a length that is believed before it is checked is found by the memory it takes', async () => {
  const target: Target = {
    name: 'greedy',
    kinds: [],
    seeds: () => [SEED],
    run(input) {
      const length = (input[0] ?? 0) > 250 ? 2 ** 23 : 1;
      new Uint8Array(length).fill(1);
    },
  };
  const { found } = await fuzz(target, 4000);
  assert.equal(found[0]?.failure.cause, 'memory of one input');
});

/** The varints of src/base/bytes.ts: its longer forms are reached step by step. */
async function varints(onInput: (input: Uint8Array) => void): Promise<Target> {
  const { ByteReader } = await import('../src/base/bytes.ts');
  return {
    name: 'varints',
    kinds: ['corrupt'],
    seeds: () => [new Uint8Array(0)],
    run(input) {
      onInput(input);
      const reader = new ByteReader(input, 'input');
      reader.text();
      reader.expectEnd();
    },
  };
}

test('an input that reaches new code is kept', async () => {
  const { loop } = await fuzz(await varints(() => {}), 5000);
  assert.ok(loop.corpus.length > 3, `${loop.corpus.length} kept`);
});

test('without guidance all is made from what was given, and failures are found', async () => {
  const inputs: string[] = [];
  const target: Target = {
    name: 'planted',
    kinds: [],
    seeds: () => assert.fail('only what was given is needed'),
    run(input) {
      inputs.push(Buffer.from(input).toString('hex'));
      if (input.includes(255)) throw new TypeError('planted');
    },
  };
  const found: Uint8Array[] = [];
  const onFailure = (_failure: Failure, input: Uint8Array): void => void found.push(input);
  const deps = { clock: systemClock, watch: WATCH, onFailure };
  const loop = new Loop(deps, target, 1, false);
  await loop.run([SEED], { seconds: Infinity, messages: 5000 });
  assert.equal(inputs[0], Buffer.from(SEED).toString('hex'));
  assert.deepEqual(loop.corpus, [SEED]);
  assert.equal(loop.report.messages, 5000);
  assert.deepEqual(found.map(String), ['255']);
});

test('one seed makes the same inputs in the same order, however slow the machine is', async () => {
  const inputsAt = async (readingMs: number): Promise<string[]> => {
    const inputs: string[] = [];
    const target = await varints((input) => {
      inputs.push(Buffer.from(input).toString('hex'));
    });
    const clock = createManualClock();
    const monotonicMs = (): number => {
      clock.advance(readingMs);
      return clock.monotonicMs();
    };
    const deps = { clock: { ...clock, monotonicMs }, watch: WATCH, onFailure: () => {} };
    await new Loop(deps, target, 1).run([], { seconds: Infinity, messages: 3000 });
    return inputs;
  };
  const inputs = await inputsAt(0);
  assert.ok(inputs.length >= 3000);
  assert.deepEqual(await inputsAt(1000), inputs);
});

test('one seed makes the same inputs again, none longer than the limit', () => {
  const run = (): string[] => {
    const mutator = new Mutator(createSeededRng(3), 100, ['word']);
    const source = createSeededRng(4).bytes(60);
    return Array.from({ length: 3000 }, () => {
      const input = mutator.mutate(source, SEED);
      assert.ok(input.length <= 100);
      return Buffer.from(input).toString('hex');
    });
  };
  const first = run();
  assert.deepEqual(run(), first);
  assert.ok(new Set(first).size > 2400);
});

test('a corpus is written and read back; regressions stay', () => {
  const directory = mkdtempSync(join(tmpdir(), 'varve-fuzz-'));
  try {
    const inputs = [SEED, Uint8Array.of(9)];
    assert.equal(writeCorpus(directory, 'x', inputs), 2);
    const files = readCorpus(directory, 'x').map((bytes) => bytes.length);
    assert.deepEqual(
      files.toSorted((a, b) => a - b),
      [1, 4],
    );
    writeFileSync(join(directory, 'x', 'regression-y'), SEED);
    assert.equal(writeCorpus(directory, 'x', []), 1);
    assert.deepEqual(readCorpus(directory, 'none'), []);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('every target is named in the README', () => {
  const text = readFileSync(new URL('./README.md', import.meta.url), 'utf8');
  for (const name of TARGET_NAMES) assert.ok(text.includes(`\`${name}\``), name);
});
