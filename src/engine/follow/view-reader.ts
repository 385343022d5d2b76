// From a root to something that can be read: its runs, and the log from there on in a memtable.
//
// What a log object holds is applied in one turn, in order, so a memtable is always the state after
// some prefix of the commits. One that is full takes no more: the view stays behind until the
// branch's writer has moved its log into tables.

import { isStorageError, StorageError } from '../../base/errors.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { replayLog, type ReplayPosition } from '../log/replay.ts';
import type { ManifestChain } from '../manifest/manifest-chain.ts';
import { Memtable } from '../memtable/memtable.ts';
import { applyCommit } from '../recovery.ts';
import type { Run, SortedRun } from '../table/run.ts';
import { descriptorsOf, type Tables } from '../tables.ts';
import type { HeldRoot } from './held-root.ts';

export interface View {
  readonly root: HeldRoot;
  /** Newest first. */
  readonly runs: readonly SortedRun[];
  readonly memtable: Memtable;
  /** Behind the last commit that the memtable holds. Moves on with it. */
  readonly position: ReplayPosition;
  /** Whether the memtable had room for all that the log held when it was last read. */
  atEnd: boolean;
}

export interface ViewReaderComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  /** Branch id. */
  readonly branch: string;
  readonly manifests: ManifestChain;
  readonly tables: Tables;
}

export interface ViewReaderSettings {
  /** At this size a memtable takes no further commit. */
  readonly memtableBytesMax: number;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export class ViewReader {
  readonly #c: ViewReaderComponents;
  readonly #settings: ViewReaderSettings;
  /** Named records were applied since it was last taken back. */
  metasChanged = false;

  constructor(components: ViewReaderComponents, settings: ViewReaderSettings) {
    this.#c = components;
    this.#settings = settings;
  }

  /** What a snapshot holds is in its runs. */
  openSnapshot(root: HeldRoot): View {
    return this.#view(root, [], new Memtable(), startOf(root));
  }

  /**
   * The newest state behind `root`. A view `from` which replay began at the same place lends its
   * memtable: nothing is fetched twice.
   */
  async open(root: HeldRoot, from: View | undefined): Promise<View> {
    const { manifest } = root;
    const before = from?.root.manifest;
    const runs = from?.runs ?? [];
    const startsAlike =
      manifest.restores === before?.restores && manifest.logNumber === before.logNumber;
    const view =
      from !== undefined && startsAlike
        ? this.#view(root, runs, from.memtable, from.position)
        : this.#view(root, runs, new Memtable(), startOf(root));
    await this.advance(view);
    return view;
  }

  /** Applies what the log has by now, as far as the memtable takes it. */
  async advance(view: View): Promise<void> {
    const { root, memtable, position } = view;
    const { store, keyring, branch } = this.#c;
    const { memtableBytesMax, onProgress } = this.#settings;
    const full = new StorageError('noSpace', 'the memtable is full');
    try {
      await replayLog(
        {
          store,
          keyring,
          branch,
          ownEpoch: Number.MAX_SAFE_INTEGER,
          apply: (commit) => {
            if (memtable.bytes >= memtableBytesMax) throw full;
            if (commit.commit.metas.length > 0) this.metasChanged = true;
            applyCommit(memtable, commit);
          },
          beforeApply: () => this.#throwIfRestored(root),
          onFence: () => {},
          onProgress,
        },
        position,
      );
    } catch (error) {
      if (error !== full) throw error;
      view.atEnd = false;
      return;
    }
    view.atEnd = true;
  }

  /**
   * `corrupt` when the state that `root` holds was replaced by an older one: what the log has from
   * there on belongs to that. A restore's manifest is there before any of it, so that asking behind
   * the listing is soon enough.
   */
  async #throwIfRestored(root: HeldRoot): Promise<void> {
    if (!(await this.isRestored(root))) return;
    throw new StorageError('corrupt', 'the branch was restored to an older state');
  }

  /** Whether there is a newer manifest behind a restore. */
  async isRestored(root: HeldRoot): Promise<boolean> {
    const { manifests } = this.#c;
    for (;;) {
      const highest = await manifests.highest('open', root.newest);
      if (highest <= root.newest) return false;
      try {
        const { restores } = await manifests.loadNumber(highest, 'open');
        return restores !== root.manifest.restores;
      } catch (error) {
        // Replaced since the listing.
        if (!isStorageError(error, 'notFound')) throw error;
      }
    }
  }

  /** Runs that `known` has open already are taken over, with what they have in memory. */
  #view(
    root: HeldRoot,
    known: readonly SortedRun[],
    memtable: Memtable,
    position: ReplayPosition,
  ): View {
    const open = new Map(known.map((run) => [idsOf(descriptorsOf(run)), run]));
    const runs = root.manifest.runs.map((run) => open.get(idsOf(run)) ?? this.#c.tables.open(run));
    return { root, runs, memtable, position, atEnd: true };
  }
}

function startOf({ manifest }: HeldRoot): ReplayPosition {
  const { logNumber, nextSegment, logEpoch } = manifest;
  return { logNumber, nextSegment, epoch: logEpoch };
}

function idsOf(run: Run): string {
  return run.tables.map((table) => table.id).join(' ');
}
