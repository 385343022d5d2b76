// How much a directory store holds, by walking it. Objects are immutable, so the size of each is
// asked once: a walk costs a directory listing. Temporary files of puts under way do not count.

import { lstatSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { TEMPORARY_FOLDER } from '../../../src/objectstore/directory.ts';

export interface BucketUse {
  readonly bytes: number;
  readonly objects: number;
  /** By the folder's name: log, data, tables, manifest. */
  readonly byFolder: ReadonlyMap<string, { readonly bytes: number; readonly objects: number }>;
}

export class Bucket {
  readonly #root: string;
  #sizes = new Map<string, number>();

  constructor(root: string) {
    this.#root = root;
  }

  /** At one instant, as far as the thread of this process goes. */
  measure(): BucketUse {
    const sizes = new Map<string, number>();
    const byFolder = new Map<string, { bytes: number; objects: number }>();
    let bytes = 0;
    const folders = [this.#root];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const own = { bytes: 0, objects: 0 };
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) {
          if (entry.name !== TEMPORARY_FOLDER) folders.push(path);
          continue;
        }
        const size = this.#sizes.get(path) ?? sizeOf(path);
        if (size === undefined) continue;
        sizes.set(path, size);
        own.bytes += size;
        own.objects += 1;
      }
      if (own.objects === 0) continue;
      const name = basename(folder);
      const before = byFolder.get(name) ?? { bytes: 0, objects: 0 };
      byFolder.set(name, {
        bytes: before.bytes + own.bytes,
        objects: before.objects + own.objects,
      });
      bytes += own.bytes;
    }
    this.#sizes = sizes;
    return { bytes, objects: sizes.size, byFolder };
  }
}

/** Undefined for an object that was deleted since it was listed. */
function sizeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.size;
}
