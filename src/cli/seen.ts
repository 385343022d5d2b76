// What this machine has seen of each branch that it wrote: `<state>/seen.json`. A store that shows
// less was rolled back, or replaced by an old copy, and whoever can write to the bucket can do that
// unnoticed otherwise (docs/security.md).
//
//   { "<store id>/<branch id>": { "epoch": n, "manifest": n, "endedClean": "<write verifier>" } }
//
// `endedClean` is there while no server runs that might lose what it answers (RFC 0005).

import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { StorageError } from '../base/errors.ts';
import { errorCode } from '../objectstore/directory-errors.ts';

const count = z.number().int().nonnegative();
const branch = z.object({
  epoch: count,
  manifest: count,
  endedClean: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
});
const schema = z.record(z.string(), branch);
type Branches = z.infer<typeof schema>;

/** What the engine found before it claimed an epoch. */
export interface SeenBranch {
  readonly storeId: string;
  readonly branch: string;
  readonly epoch: number;
  readonly manifest: number;
}

export class Seen {
  readonly #path: string;
  #branches: Branches;
  #key = '';
  #written = Promise.resolve();
  /** What is written of the past may not be what the store shows. */
  #rolledBack = false;

  /** `corrupt` for a file that makes no sense. */
  constructor(stateDir: string) {
    this.#path = join(stateDir, 'seen.json');
    this.#branches = read(this.#path);
  }

  /** `corrupt` when the store shows less than was seen, unless that is accepted. */
  check({ storeId, branch, epoch, manifest }: SeenBranch, accepted: boolean): void {
    this.#key = `${storeId}/${branch}`;
    const before = this.#branches[this.#key];
    this.#rolledBack = accepted;
    if (before === undefined || accepted) return;
    if (epoch >= before.epoch && manifest >= before.manifest) return;
    throw new StorageError(
      'corrupt',
      `the store shows epoch ${epoch} and manifest ${manifest} of the branch, but this machine ` +
        `has seen epoch ${before.epoch} and manifest ${before.manifest}: the bucket was rolled ` +
        'back, or is an old copy. If that is meant, start once with --accept-rollback',
    );
  }

  /**
   * The write verifier that the server with this epoch takes over from the one before it. Undefined
   * when that one may have lost what it answered, or another came in between.
   */
  endedClean(epoch: number): string | undefined {
    const before = this.#branches[this.#key];
    return this.#rolledBack || before?.epoch !== epoch - 1 ? undefined : before.endedClean;
  }

  /**
   * Of the branch that was checked. With the write verifier when all that was answered is durable
   * and nothing more will be. Durable when it resolves.
   */
  async note(epoch: number, manifest: number, endedClean?: string): Promise<void> {
    const before = this.#branches[this.#key];
    const same = before?.epoch === epoch && before.manifest === manifest;
    if (same && before.endedClean === endedClean) return;
    this.#branches = { ...this.#branches, [this.#key]: { epoch, manifest, endedClean } };
    // The last note of a branch comes while an earlier one may still be written.
    const written = this.#written.then(() => this.#write());
    this.#written = written.catch(() => {});
    return written;
  }

  async #write(): Promise<void> {
    const fresh = `${this.#path}.new`;
    {
      await using file = await open(fresh, 'w', 0o600);
      await file.writeFile(`${JSON.stringify(this.#branches, null, 1)}\n`);
      await file.sync();
    }
    await rename(fresh, this.#path);
  }
}

function read(path: string): Branches {
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
