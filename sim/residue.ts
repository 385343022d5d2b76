// What the store must hold when every branch has been collected and closed: what the roots reach,
// and nothing else. Found from the stored bytes, not from the engine's own collection:
//
//   format.json, keys, all indexes of branches
//   a branch   the highest manifest, those of claims, snapshots and branch points
//              the log from `logNumber` on, fences
//              for each of these roots: the tables, and the objects of segments that a pointer in a
//              table names
//   deleted    the last manifest, claims, fences; sleepers may put something after that
//
// On the way every count of live blocks is compared with the pointers that are there.

import { ByteReader } from '../src/base/bytes.ts';
import { createInlineSealer } from '../src/codec/sealer.ts';
import { overlayBlockMap } from '../src/engine/format/block-map.ts';
import { decodeSegmentEntry } from '../src/engine/format/frame-table.ts';
import { KEY_CHUNK, KEY_SEGMENT, segmentOfKey } from '../src/engine/format/keys.ts';
import {
  BRANCH_INDEX_PREFIX,
  dataName,
  FORMAT_NAME,
  KEYS_PREFIX,
  logName,
  logPrefix,
  manifestName,
  numberOf,
  readersPrefix,
  tableName,
} from '../src/engine/format/names.ts';
import { createBlockMap, POINTER_MIN, segmentOf } from '../src/engine/format/pointer.ts';
import { Lineage } from '../src/engine/manifest/lineage.ts';
import type { Manifest } from '../src/engine/manifest/manifest.ts';
import type { SortedRun } from '../src/engine/table/run.ts';
import { Tables } from '../src/engine/tables.ts';
import { branchOfKey } from './inspector.ts';
import type { Simulation } from './simulation.ts';
import { createGatedClock, Gate } from './world.ts';

const IDS_PER_EPOCH = 2 ** 20;

export async function checkResidue(simulation: Simulation): Promise<void> {
  await new Residue(simulation).check();
}

class Residue {
  readonly #simulation: Simulation;
  /** Objects that must be there, and why. */
  readonly #reached = new Map<string, string>();

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  async check(): Promise<void> {
    const { inspector, world } = this.#simulation;
    const { objects } = inspector.memory;
    const names = new Map([...(await inspector.branches())].map(([name, id]) => [id, name]));
    const ids = new Set([...objects.keys()].map(branchOfKey).filter((id) => id !== undefined));
    for (const id of ids) await this.#addBranch(id, names.get(id));
    for (const [key, why] of this.#reached) {
      if (!objects.has(key)) world.fail(`${key} is gone, though ${why} reaches it`);
    }
    for (const key of objects.keys()) {
      if (!this.#reached.has(key) && !isOfStore(key)) world.fail(`${key} is left without a root`);
    }
  }

  #reach(key: string, why: string): void {
    if (!this.#reached.has(key)) this.#reached.set(key, why);
  }

  async #addBranch(id: string, name: string | undefined): Promise<void> {
    const { inspector, world } = this.#simulation;
    const { number, manifest } = await inspector.head(id);
    const what = name ?? id;
    this.#reach(manifestName(id, number), `${what}, whose head it is,`);
    for (const claim of manifest.claims) this.#reach(manifestName(id, claim), `a claim on ${what}`);
    for (const fence of manifest.fences) this.#reach(logName(id, fence), `a fence of ${what}`);
    if (manifest.deleted) {
      // What sleepers put since has no one to look after it: a few objects at most.
      const endedAt = this.#simulation.putAt(manifestName(id, number));
      for (const key of inspector.memory.objects.keys()) {
        const isLate = branchOfKey(key) === id && this.#simulation.putAt(key) > endedAt;
        if (isLate) this.#reach(key, 'a sleeper');
      }
      if (name !== undefined) world.fail(`branch ${name} was deleted, and has its name yet`);
      return;
    }
    if (name === undefined) world.fail(`branch ${id} lives without a name`);
    for (const key of inspector.memory.objects.keys()) {
      const isAhead = key.startsWith(logPrefix(id)) && numberOf(key)! >= manifest.logNumber;
      // A void lease that keeps nothing is not looked at, and stays.
      if (key.startsWith(readersPrefix(id))) this.#reach(key, 'a reader');
      if (isAhead) this.#reach(key, `the log of ${what}`);
    }
    await this.#addRoot(id, manifest, `the head of ${what}`);
    await this.#addJournaled(id, number - 1, what);
    for (const { manifest: older, name: root } of [...manifest.snapshots, ...manifest.points]) {
      this.#reach(manifestName(id, older), `${root} of ${what}`);
      if (!inspector.memory.objects.has(manifestName(id, older))) continue;
      const kept = await inspector.chain(id).loadNumber(older, 'open');
      await this.#addRoot(id, kept, `${root} of ${what}`);
    }
    for (const point of manifest.points) {
      const child = await inspector.head(point.branch).catch(() => undefined);
      if (child?.manifest.deleted === false) continue;
      world.fail(`${what} keeps a point for branch ${point.name}, which is gone`);
    }
  }

  /** A close that ended a journal leaves the manifest that named it to the next sweep. */
  async #addJournaled(id: string, number: number, what: string): Promise<void> {
    const { inspector } = this.#simulation;
    const name = manifestName(id, number);
    if (!inspector.memory.objects.has(name)) return;
    const { journal } = await inspector.chain(id).loadNumber(number, 'open');
    if (journal !== undefined) this.#reach(name, `the journal that ${what} had`);
  }

  async #addRoot(id: string, manifest: Manifest, what: string): Promise<void> {
    const { inspector, world } = this.#simulation;
    const { memory, root, rng } = inspector;
    const clock = createGatedClock(world, new Gate(world));
    const components = { store: memory, keyring: root.keyring, rng, clock };
    const lineage = new Lineage(id, manifest.lineage);
    const tables = new Tables({ ...components, sealer: createInlineSealer() }, lineage, 0, 0);
    for (const run of manifest.runs) {
      for (const table of run.tables) {
        const owner = ownerOf(id, manifest, (one) => table.id < (one.epoch + 1) * IDS_PER_EPOCH);
        this.#reach(tableName(owner, table.id), what);
      }
      await this.#addRun(id, manifest, tables.open(run), what);
    }
  }

  /** Segments sort behind chunks: when they come, all pointers of the run are known. */
  async #addRun(id: string, manifest: Manifest, run: SortedRun, what: string): Promise<void> {
    const { world } = this.#simulation;
    const pointers = new Map<number, number>();
    const map = createBlockMap();
    const signal = new AbortController().signal;
    const options = { cause: 'open', keep: false, readAhead: false, signal } as const;
    const cursor = run.cursor(options);
    while (await cursor.next()) {
      const reader = new ByteReader(cursor.value, 'value');
      if (cursor.key[0] === KEY_CHUNK) {
        map.fill(0);
        overlayBlockMap(reader, map, 0, 0);
        for (const pointer of map) {
          if (pointer < POINTER_MIN) continue;
          const segment = segmentOf(pointer);
          pointers.set(segment, (pointers.get(segment) ?? 0) + 1);
        }
      } else if (cursor.key[0] === KEY_SEGMENT) {
        const segment = segmentOfKey(cursor.key);
        const { table, live } = decodeSegmentEntry(reader);
        const count = pointers.get(segment) ?? 0;
        pointers.delete(segment);
        if (live !== count) {
          world.fail(`${what} counts ${live} pointers to segment ${segment}; there are ${count}`);
        }
        const owner = ownerOf(id, manifest, (one) => segment < one.nextSegment);
        const { dataId, logNumber } = table;
        this.#reach(dataId === 0 ? logName(owner, logNumber) : dataName(owner, dataId), what);
      }
    }
    for (const segment of pointers.keys()) {
      world.fail(`${what} points to segment ${segment}, of which a run says nothing`);
    }
  }
}

/** The oldest ancestor that has it, else the branch itself. */
function ownerOf(
  id: string,
  { lineage }: Manifest,
  hasIt: (ancestor: Manifest['lineage'][number]) => boolean,
): string {
  return lineage.find(hasIt)?.branch ?? id;
}

function isOfStore(key: string): boolean {
  return key === FORMAT_NAME || key.startsWith(KEYS_PREFIX) || key.startsWith(BRANCH_INDEX_PREFIX);
}
