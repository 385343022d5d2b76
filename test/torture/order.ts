// Does a volume hold a prefix of what was written to it?
//
// One client writes blocks numbered 1, 2, 3, … round and round over a small volume, one at a time,
// and flushes after every few. A volume that was cut at any moment must hold exactly the state
// after some number of writes, at or past the last one whose flush was answered: no write may be
// there without all those before it, no block may be torn.
//
//     block n lies at (n mod BLOCKS) × 4096: 256 times (magic, n) as little-endian u64

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { runCommand } from '../support/command.ts';

const BLOCKS = 1024;
const BLOCK_BYTES = 4096;
const MAGIC = 0x6f72646572n;
/** Between two flushes, at random. */
const GROUP_MAX = 8;
/** So that this does not take the whole store for itself. */
const PAUSE_SECONDS = 0.02;

const WRITER = `
import nbd, random, struct, sys, time
uri, n, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
h = nbd.NBD()
h.connect_uri(uri)
chance = random.Random(seed)
while True:
    for _ in range(chance.randint(1, ${GROUP_MAX})):
        block = struct.pack('<QQ', ${MAGIC}, n) * ${BLOCK_BYTES / 16}
        h.pwrite(block, n % ${BLOCKS} * ${BLOCK_BYTES})
        n += 1
    h.flush()
    print(n - 1, flush=True)
    time.sleep(chance.random() * ${PAUSE_SECONDS})
`;

/** Of the volume that this wants. */
export const ORDER_VOLUME_SIZE = `${BLOCKS * BLOCK_BYTES}`;

export class OrderedWriter {
  readonly #uri: string;
  readonly #file: string;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  #said = '';
  #flushed = 0;
  #next = 1;

  /** What was flushed is also appended to `file`. */
  constructor(uri: string, file: string) {
    this.#uri = uri;
    this.#file = file;
  }

  /** Goes on after what the last check found. */
  start(seed: number): void {
    // Debian's interpreter: another one that comes first in PATH lacks the module.
    const args = ['-c', WRITER, this.#uri, String(this.#next), String(seed)];
    // In a group of its own, as all that is ended by us and not by Ctrl-C.
    const child = spawn('/usr/bin/python3', args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    this.#said = '';
    child.stderr.on('data', (part: Buffer) => (this.#said += part.toString()));
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#flushed = Number(line);
      appendFileSync(this.#file, `${line}\n`);
    });
    this.#ended = once(child, 'close');
  }

  /** Throws when it has met an error: until it is stopped it never ends by itself. */
  throwIfFailed(): void {
    if (this.#child !== undefined && this.#child.exitCode !== null) {
      throw new Error(`the ordered writer failed: ${this.#said.trim()}`);
    }
  }

  async stop(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
    this.#child = undefined;
  }

  /** Resolves with how many writes are there. `scratch` is a file to use. Throws what is wrong. */
  async check(scratch: string): Promise<number> {
    await rm(scratch, { force: true });
    await runCommand('nbdcopy', [this.#uri, scratch]);
    const bytes = await readFile(scratch);
    const found = prefixOf(bytes);
    if (found < this.#flushed) {
      throw new Error(`ordered writes: flushed up to ${this.#flushed}, but found only ${found}`);
    }
    if (found > this.#flushed + GROUP_MAX) {
      throw new Error(`ordered writes: found ${found}, flushed were ${this.#flushed}`);
    }
    this.#flushed = found;
    this.#next = found + 1;
    return found;
  }
}

/** The number of writes whose state `volume` is. Throws when it is the state of none. */
export function prefixOf(volume: Uint8Array): number {
  const words = new BigUint64Array(volume.buffer, volume.byteOffset, volume.length / 8);
  const wordsPerBlock = BLOCK_BYTES / 8;
  const numbers = Array.from({ length: BLOCKS }, (_, block) => {
    const first = block * wordsPerBlock;
    const [magic, number] = [words[first]!, words[first + 1]!];
    for (let i = 0; i < wordsPerBlock; i += 2) {
      if (words[first + i] !== magic || words[first + i + 1] !== number) {
        throw new Error(`ordered writes: block ${block} is torn`);
      }
    }
    if (magic !== (number === 0n ? 0n : MAGIC)) {
      throw new Error(`ordered writes: block ${block} holds what nobody wrote`);
    }
    return Number(number);
  });
  const last = Math.max(...numbers);
  for (const [block, number] of numbers.entries()) {
    const lastHere = last - ((last - block + BLOCKS) % BLOCKS);
    const expected = Math.max(0, lastHere);
    if (number === expected) continue;
    throw new Error(
      `ordered writes: ${last} is there, but block ${block} holds ${number}, not ${expected}`,
    );
  }
  return last;
}
