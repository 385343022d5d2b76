// All objects of a store by branch, sort and number, from one listing: which exist and how long
// they are. What roots reach is marked; the rest is garbage.
//
// Memory: two numbers and a bit per object. An object that the listing lacks is asked for by its
// name before it is called missing: a server at work makes new ones all the time.

import type { ObjectStore } from '../../objectstore/object-store.ts';
import { NumberSet } from '../gc/number-set.ts';
import {
  BRANCH_INDEX_PREFIX,
  dataName,
  FORMAT_NAME,
  KEYS_PREFIX,
  logName,
  manifestName,
  numberOf,
  tableName,
} from '../format/names.ts';

export type ObjectKind = 'manifest' | 'log' | 'data' | 'table';

export const OBJECT_KINDS = ['manifest', 'log', 'data', 'table'] as const;

interface Shelf {
  readonly bytes: Map<number, number>;
  readonly reached: NumberSet;
}

export interface BranchObjects {
  readonly kinds: Readonly<Record<ObjectKind, Shelf>>;
  leases: number;
  /** What is not of our making. */
  unknown: number;
}

const KIND_OF_FOLDER: Readonly<Record<string, ObjectKind>> = {
  manifest: 'manifest',
  log: 'log',
  data: 'data',
  tables: 'table',
};

const OPTIONS = { cause: 'admin' } as const;

export class Inventory {
  readonly branches = new Map<string, BranchObjects>();
  unknown = 0;
  readonly #store: ObjectStore;

  private constructor(store: ObjectStore) {
    this.#store = store;
  }

  static async of(store: ObjectStore, onProgress: (objects: number) => void): Promise<Inventory> {
    const inventory = new Inventory(store);
    let objects = 0;
    for await (const page of store.list('', OPTIONS)) {
      for (const { key, bytes } of page) inventory.#add(key, bytes);
      objects += page.length;
      onProgress(objects);
    }
    return inventory;
  }

  #add(key: string, bytes: number): void {
    if (key === FORMAT_NAME || key.startsWith(KEYS_PREFIX)) return;
    if (key.startsWith(BRANCH_INDEX_PREFIX)) return;
    const [top, id, folder, ...rest] = key.split('/');
    if (top !== 'branches' || id === undefined || folder === undefined) {
      this.unknown += 1;
      return;
    }
    const branch = this.branch(id);
    const kind = KIND_OF_FOLDER[folder];
    const number = numberOf(key);
    if (folder === 'readers') branch.leases += 1;
    else if (kind === undefined || number === undefined || rest.length !== 1) branch.unknown += 1;
    else branch.kinds[kind].bytes.set(number, bytes);
  }

  branch(id: string): BranchObjects {
    let branch = this.branches.get(id);
    if (branch === undefined) {
      const shelf = (): Shelf => ({ bytes: new Map(), reached: new NumberSet() });
      const kinds = { manifest: shelf(), log: shelf(), data: shelf(), table: shelf() };
      branch = { kinds, leases: 0, unknown: 0 };
      this.branches.set(id, branch);
    }
    return branch;
  }

  /** Marks an object as reached. Its length; undefined when it is not there. */
  async reach(branch: string, kind: ObjectKind, number: number): Promise<number | undefined> {
    const shelf = this.branch(branch).kinds[kind];
    shelf.reached.add(number);
    const bytes = shelf.bytes.get(number);
    if (bytes !== undefined) return bytes;
    const found = await this.#store.head(nameOf(branch, kind, number), OPTIONS);
    if (found !== undefined) shelf.bytes.set(number, found.bytes);
    return found?.bytes;
  }

  /** Adds up what was not reached; `isKept` speaks for what is needed all the same. */
  garbageOf(
    id: string,
    isKept: (kind: ObjectKind, number: number) => boolean,
  ): { readonly objects: number; readonly bytes: number } {
    let objects = 0;
    let total = 0;
    for (const kind of OBJECT_KINDS) {
      const { bytes, reached } = this.branch(id).kinds[kind];
      for (const [number, size] of bytes) {
        if (reached.has(number) || isKept(kind, number)) continue;
        objects += 1;
        total += size;
      }
    }
    return { objects, bytes: total };
  }
}

export function nameOf(branch: string, kind: ObjectKind, number: number): string {
  switch (kind) {
    case 'manifest':
      return manifestName(branch, number);
    case 'log':
      return logName(branch, number);
    case 'data':
      return dataName(branch, number);
    case 'table':
      return tableName(branch, number);
  }
}
