// What this machine has seen of each branch that it wrote: `<state>/seen.json`. A store that shows
// less was rolled back, or replaced by an old copy, and whoever can write to the bucket can do that
// unnoticed otherwise (docs/security.md).
//
//   { "<store id>/<branch id>": { "epoch": n, "manifest": n } }

import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import { errorCode } from '../objectstore/directory-errors.ts';

const count = z.number().int().nonnegative();
const schema = z.record(z.string(), z.object({ epoch: count, manifest: count }));

/** What the engine found before it claimed an epoch. */
export interface SeenBranch {
  readonly storeId: string;
  readonly branch: string;
  readonly epoch: number;
  readonly manifest: number;
}

export class Seen {
  readonly #path: string;
  #branches: z.infer<typeof schema>;
  #key = '';

  /** `corrupt` for a file that makes no sense. */
  constructor(stateDir: string) {
    this.#path = join(stateDir, 'seen.json');
    this.#branches = read(this.#path);
  }

  /** `corrupt` when the store shows less than was seen, unless that is accepted. */
  check({ storeId, branch, epoch, manifest }: SeenBranch, accepted: boolean): void {
    this.#key = `${storeId}/${branch}`;
    const before = this.#branches[this.#key];
    if (before === undefined || accepted) return;
    if (epoch >= before.epoch && manifest >= before.manifest) return;
    throw new StorageError(
      'corrupt',
      `the store shows epoch ${epoch} and manifest ${manifest} of the branch, but this machine ` +
        `has seen epoch ${before.epoch} and manifest ${before.manifest}: the bucket was rolled ` +
        'back, or is an old copy. If that is meant, start once with --accept-rollback',
    );
  }

  /** Of the branch that was checked. Durable when it resolves. */
  async note(epoch: number, manifest: number): Promise<void> {
    const before = this.#branches[this.#key];
    if (before?.epoch === epoch && before.manifest === manifest) return;
    this.#branches = { ...this.#branches, [this.#key]: { epoch, manifest } };
    const fresh = `${this.#path}.new`;
    await using file = await open(fresh, 'w', 0o600);
    await file.writeFile(`${JSON.stringify(this.#branches, null, 1)}\n`);
    await file.sync();
    await rename(fresh, this.#path);
  }
}

function read(path: string): z.infer<typeof schema> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return {};
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new StorageError('corrupt', `${path} makes no sense: look at it, then remove it`, {
      cause,
    });
  }
}
