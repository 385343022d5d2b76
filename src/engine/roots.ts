// Snapshots, branches and restoring: all of them are entries of a manifest, whatever the size of
// the data (RFC 0003). One change at a time.

import type { Clock } from '../base/clock.ts';
import { StorageError } from '../base/errors.ts';
import type { Rng } from '../base/rng.ts';
import { Semaphore } from '../base/semaphore.ts';
import type { Keyring } from '../codec/keyring.ts';
import type { ObjectStore } from '../objectstore/object-store.ts';
import { readBranchIndex } from './branch-index.ts';
import { deleteBranch } from './branch-removal.ts';
import { type BranchInfo, createBranch, listBranches } from './branches.ts';
import { findGone } from './children.ts';
import type { Grace } from './gc/grace.ts';
import type { Journal } from './journal/journal.ts';
import type { Lineage } from './manifest/lineage.ts';
import type { JournalName, Manifest, SnapshotEntry } from './manifest/manifest.ts';
import type { ManifestChain } from './manifest/manifest-chain.ts';
import { checkRootName } from './root-name.ts';
import { spaceOf } from './space.ts';
import type { StoreFormat } from './store-root.ts';
import { descriptorsOf, type Tables } from './tables.ts';
import type { Tree } from './tree.ts';
import type { Writer } from './writer.ts';

export interface SnapshotInfo {
  readonly name: string;
  readonly createdUnixMs: number;
  /** Stored bytes of this branch that it reaches, and those that only it keeps. */
  readonly reachedBytes: number;
  readonly ownBytes: number;
  /** Names of branches that stand on it. */
  readonly branches: readonly string[];
}

export interface RootsComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly format: StoreFormat;
  readonly lineage: Lineage;
  readonly manifests: ManifestChain;
  readonly tree: Tree;
  readonly tables: Tables;
  readonly grace: Grace;
  readonly writer: Writer;
  /** A fresh one, with a slot; undefined outside the journal tier. */
  readonly newJournal?: (() => Promise<Journal>) | undefined;
}

export class Roots {
  readonly #c: RootsComponents;
  readonly #turn = new Semaphore(1);

  constructor(components: RootsComponents) {
    this.#c = components;
  }

  get #manifest(): Manifest {
    return this.#c.writer.publisher.current.manifest;
  }

  /** The state as it is now, durable under a name. `exists`, or `invalid` for a bad name. */
  createSnapshot(name: string): Promise<SnapshotEntry> {
    return this.#alone(async () => {
      checkRootName('snapshot', name);
      this.#mustBeFree(name);
      await this.#c.writer.flushAll();
      const createdUnixMs = this.#c.clock.unixMs();
      let entry: SnapshotEntry | undefined;
      await this.#publish(({ snapshots }, number) => {
        entry = { name, manifest: number, createdUnixMs };
        return { snapshots: [...snapshots, entry] };
      });
      return entry!;
    });
  }

  /** `notFound`; `invalid` while a branch stands on it. What only it kept goes. */
  deleteSnapshot(name: string): Promise<void> {
    return this.#alone(async () => {
      const entry = this.#find(name);
      await this.#reap();
      const on = this.#manifest.points.filter((point) => point.manifest === entry.manifest);
      if (on.length > 0) {
        const names = on.map((point) => `"${point.name}"`).join(', ');
        throw new StorageError(
          'invalid',
          `snapshot "${name}" is what branch ${names} stands on: delete that first`,
        );
      }
      await this.#publish(({ snapshots }) => ({
        snapshots: snapshots.filter((one) => one.name !== name),
      }));
      this.#c.writer.collector.sweepSoon();
    });
  }

  /** With their space; walks what every root reaches. */
  listSnapshots(): Promise<readonly SnapshotInfo[]> {
    return this.#alone(() => this.#listSnapshots());
  }

  async #listSnapshots(): Promise<readonly SnapshotInfo[]> {
    const { snapshots, points } = this.#manifest;
    const spaces = await this.#spaces();
    return snapshots.map(({ name, createdUnixMs, manifest }, i) => {
      const on = points.filter((point) => point.manifest === manifest);
      return { name, createdUnixMs, ...spaces[i]!, branches: on.map((point) => point.name) };
    });
  }

  /** A branch from a snapshot, or from the state as it is now. It can be written at once. */
  createBranch(name: string, from?: string): Promise<BranchInfo> {
    return this.#alone(async () => {
      checkRootName('branch', name);
      const branches = await this.#branchesWithout(name);
      const source = from === undefined ? undefined : this.#find(from).manifest;
      return createBranch(this.#c, name, source, branches);
    });
  }

  /**
   * The index, which does not have `name`: `exists`. What an earlier creation of that name left
   * undone is done or undone first: it would come back when the new one is deleted.
   */
  async #branchesWithout(name: string): Promise<ReadonlyMap<string, string>> {
    const { store, keyring } = this.#c;
    for (;;) {
      const { branches } = await readBranchIndex(store, keyring, 'admin');
      if (branches.has(name)) throw new StorageError('exists', `branch "${name}" exists`);
      if (!this.#manifest.points.some((point) => point.name === name)) return branches;
      await this.#reap();
    }
  }

  listBranches(): Promise<readonly BranchInfo[]> {
    return this.#alone(async () => {
      const { branches } = await readBranchIndex(this.#c.store, this.#c.keyring, 'admin');
      const manifest = this.#manifest;
      const spaces = await this.#spaces();
      const ofPoints = spaces.slice(manifest.snapshots.length);
      return listBranches(this.#c, branches, manifest, ofPoints);
    });
  }

  /**
   * Deletes a branch with its snapshots. `notFound`; `invalid` for the one that is served, and for
   * one that others stand on. A server that has it open is deposed.
   */
  deleteBranch(name: string): Promise<void> {
    return this.#alone(async () => {
      await deleteBranch(this.#c, name);
      await this.#reap();
    });
  }

  /** The head becomes what the snapshot holds. Everything written since is dropped. */
  restore(name: string): Promise<void> {
    return this.#alone(async () => {
      const { writer, manifests, tables, tree } = this.#c;
      const { manifest: number } = this.#find(name);
      const root = await manifests.loadNumber(number, 'admin');
      const runs = root.runs.map((run) => tables.open(run));
      await writer.exclusively(async () => {
        await writer.log.storeBarrier();
        await writer.flushAll();
        const { logNumber, nextSegment } = writer.log.position;
        await this.#renewJournal((journal) =>
          this.#publish(
            (current) => ({
              journal,
              logNumber,
              nextSegment,
              logEpoch: current.epoch,
              restores: current.restores + 1,
              runs: runs.map(descriptorsOf),
            }),
            () => {
              tree.replace(runs);
              writer.trash.forget();
            },
          ),
        );
      });
      writer.collector.sweepSoon();
    });
  }

  /** What the snapshot says of the journal is old: the state goes on with another. */
  async #renewJournal(publish: (name: JournalName | undefined) => Promise<void>): Promise<void> {
    const { writer, newJournal } = this.#c;
    if (writer.journal === undefined || newJournal === undefined) return publish(undefined);
    await writer.journal.renew(await newJournal(), publish);
  }

  /** Drops branch points whose child is gone. True when there was one. */
  reap(): Promise<boolean> {
    return this.#alone(() => this.#reap());
  }

  async #reap(): Promise<boolean> {
    const { points } = this.#manifest;
    if (points.length === 0) return false;
    const gone = await findGone(this.#c, points);
    if (gone.size === 0) return false;
    await this.#publish(({ points }) => ({
      points: points.filter((point) => !gone.has(point.branch)),
    }));
    this.#c.writer.collector.sweepSoon();
    return true;
  }

  #publish(
    change: (current: Manifest, number: number) => Partial<Manifest>,
    install: () => void = () => {},
  ): Promise<void> {
    return this.#c.writer.incumbent.publish(change, install);
  }

  /** Of the snapshots, then of the branch points, then of the head. */
  async #spaces(): Promise<Awaited<ReturnType<typeof spaceOf>>> {
    const { grace, manifests, tables, tree, lineage, writer } = this.#c;
    const { snapshots, points } = this.#manifest;
    const generation = grace.enter();
    try {
      const roots = [];
      for (const { manifest } of [...snapshots, ...points]) {
        const root = await manifests.loadNumber(manifest, 'admin');
        roots.push(root.runs.map((run) => tables.open(run)));
      }
      return await spaceOf([...roots, tree.runs], lineage, writer.signal);
    } finally {
      grace.leave(generation);
    }
  }

  #find(name: string): SnapshotEntry {
    const { snapshots } = this.#manifest;
    const entry = snapshots.find((one) => one.name === name);
    if (entry !== undefined) return entry;
    const known = snapshots.map((one) => one.name).join(', ') || 'none';
    throw new StorageError('notFound', `there is no snapshot "${name}"; there is: ${known}`);
  }

  #mustBeFree(name: string): void {
    if (this.#manifest.snapshots.some((one) => one.name === name)) {
      throw new StorageError('exists', `snapshot "${name}" exists`);
    }
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    await this.#turn.acquire();
    try {
      return await this.#c.writer.incumbent.unlessDeposed(work());
    } finally {
      this.#turn.release();
    }
  }
}
