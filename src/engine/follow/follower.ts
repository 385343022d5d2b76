// Serving a branch that another process writes: a view of it under a lease, kept up to date.
//
//   every intervalMs  1. Apply what the log has by now to the view's memtable.
//                     2. If that was something, or it is time: is there a newer manifest? Move
//                        there.
//   moving            a. Take a lease on the newest manifest (held-root.ts).
//                     b. Open its runs; replay from there to where we are, or further, in a fresh
//                        memtable, unless ours begins at the same place.
//                     c. In one turn: the tree becomes that.
//                     d. When the readers that had begun before are through, drop the old lease.
//
// A lost lease, or damage while there is a newer manifest, means that the writer may have deleted
// what we reach: clients are refused (leased-store.ts) until we have moved. Without a newer
// manifest damage is damage: nothing is deleted before a manifest says so.
//
// Invariants
// 1. What is served is the state after some prefix of the branch's commits, and never an older one
//    than before, but for a restore.
// 2. Who reads is covered by a lease from its first request to its last, or is refused.
// 3. A store that does not answer stops nothing: what memory holds is served, status says how old
//    it is. A branch or snapshot that is no more, and damage, end it.

import type { Clock } from '../../base/clock.ts';
import { asStorageError, isStorageError, messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { Semaphore } from '../../base/semaphore.ts';
import type { Grace } from '../gc/grace.ts';
import type { ReplayPosition } from '../log/replay.ts';
import type { Tables } from '../tables.ts';
import type { Tree } from '../tree.ts';
import type { HeldRoot } from './held-root.ts';
import { RecordListener } from './record-listener.ts';
import { isOutdated, takeView, type TakeViewComponents } from './take-view.ts';
import type { View } from './view-reader.ts';

/** A quiet log still lets a manifest change, by a restore or a merge: looked for so often. */
const QUIET_REFRESHES = 10;

export interface FollowerComponents extends TakeViewComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly tables: Tables;
  readonly tree: Tree;
  readonly grace: Grace;
}

export interface FollowerSettings {
  /** Between refreshes. */
  readonly intervalMs: number;
  /** The root is a snapshot: there is nothing to follow. */
  readonly snapshot: boolean;
}

export interface FollowerStatus {
  /** Since the last refresh that found the end of the log was begun. */
  readonly refreshedAgoMs: number;
  /** Since the last renewal of the lease that succeeded was sent. */
  readonly leaseAgoMs: number;
  /** Number of the manifest that is read. */
  readonly manifest: number;
}

export class Follower {
  readonly #c: FollowerComponents;
  readonly #settings: FollowerSettings;
  readonly #turn = new Semaphore(1);
  readonly #failed = Promise.withResolvers<StorageError>();
  readonly #leaving = new Set<Promise<void>>();
  #view: View;
  #refreshedMs: number;
  /** Refreshes since manifests were looked at, or enough of them when the log has moved on. */
  #quiet = 0;
  /** A refresh failed, and was logged. */
  #behind = false;
  #stopped = false;
  #failure: StorageError | undefined;
  #cancel: () => void = () => {};
  readonly #listener: RecordListener;

  private constructor(c: FollowerComponents, settings: FollowerSettings, view: View) {
    this.#c = c;
    this.#settings = settings;
    this.#view = view;
    this.#listener = new RecordListener(c.views);
    this.#refreshedMs = c.clock.monotonicMs();
  }

  /** Opens what `first` names, or what came after it; the tree holds it then. */
  static async open(
    components: FollowerComponents,
    settings: FollowerSettings,
    first: HeldRoot,
  ): Promise<Follower> {
    const { tree, tables } = components;
    const view = await takeView(components, settings, undefined, first, (taken) =>
      tables.preload(taken.runs),
    );
    tree.rebase(view.memtable, view.runs, false);
    const follower = new Follower(components, settings, view);
    follower.#later();
    return follower;
  }

  /** Resolves when following has ended by itself. */
  get failed(): Promise<StorageError> {
    return this.#failed.promise;
  }

  /** The manifest and the end of the log that are served. */
  get root(): HeldRoot {
    return this.#view.root;
  }

  get position(): Readonly<ReplayPosition> {
    return this.#view.position;
  }

  /** What clients ask of the store now may be gone. */
  get isLost(): boolean {
    return this.#view.root.lease.lost;
  }

  status(): FollowerStatus {
    const { number, lease } = this.#view.root;
    const refreshedAgoMs = this.#c.clock.monotonicMs() - this.#refreshedMs;
    return { refreshedAgoMs, leaseAgoMs: lease.ageMs, manifest: number };
  }

  /** Called, one call at a time, when named records may have changed; again if it fails. */
  onRecords(listener: () => Promise<void>): void {
    this.#listener.set(listener);
  }

  /**
   * Reads on to what the store holds at the time of the call. Rejects with what kept it from that.
   */
  async refresh(): Promise<void> {
    await this.#refresh(true);
  }

  /** The view now: for `hasMoved`. */
  get view(): object {
    return this.#view;
  }

  /**
   * Someone who began to read under `view` met damage. True when there is another view by now,
   * under which to look again. Rejects when following has ended: then nobody knows whether it is.
   */
  async hasMoved(view: object): Promise<boolean> {
    await this.#turn.acquire();
    try {
      if (this.#view !== view) return true;
      this.#throwIfOver();
      if (!(await isOutdated(this.#c, this.#view.root))) return false;
      await this.#move();
      return true;
    } finally {
      this.#turn.release();
    }
  }

  /** No refresh is under way when it resolves, and the leases are given back. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#turn.acquire();
    this.#turn.release();
    await this.#view.root.lease.release();
    await Promise.all(this.#leaving);
  }

  #later(): void {
    if (this.#stopped) return;
    this.#cancel = this.#c.clock.after(this.#settings.intervalMs, () => void this.#tick());
  }

  /** Never rejects. */
  async #tick(): Promise<void> {
    try {
      await this.#refresh(false);
      if (this.#behind) this.#c.log.info('follow.resumed', {});
      this.#behind = false;
    } catch (error) {
      if (this.#stopped) return;
      if (isFatal(error)) return this.#fail(asStorageError(error, 'following the branch'));
      if (!this.#behind) this.#c.log.warn('follow.behind', { error: messageOf(error) });
      this.#behind = true;
    }
    this.#later();
  }

  #throwIfOver(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stopped) throw new StorageError('aborted', 'the follower has stopped');
  }

  #fail(error: StorageError): void {
    this.#failure = error;
    this.#c.log.error('follow.stopped', { kind: error.kind, error: error.message });
    this.#failed.resolve(error);
  }

  async #refresh(thorough: boolean): Promise<void> {
    await this.#turn.acquire();
    let full: StorageError | undefined;
    try {
      this.#throwIfOver();
      await this.#catchUp(thorough);
    } catch (error) {
      // What did fit is shown, and whoever keeps a copy of records must hear of that.
      if (!isStorageError(error, 'noSpace')) throw error;
      full = error;
    } finally {
      this.#turn.release();
    }
    // Not in turn: it reads, and whoever reads may have to wait for a move.
    await this.#listener.tell();
    if (full !== undefined) throw full;
  }

  async #catchUp(thorough: boolean): Promise<void> {
    const startMs = this.#c.clock.monotonicMs();
    const { snapshot } = this.#settings;
    if (this.isLost) await this.#move();
    else if (!snapshot) await this.#follow(thorough);
    if (!this.#view.atEnd)
      throw new StorageError('noSpace', 'the memtable is full: the log must be flushed');
    this.#refreshedMs = startMs;
  }

  async #follow(thorough: boolean): Promise<void> {
    const { position, root } = this.#view;
    const before = position.logNumber;
    await this.#advance();
    if (this.#view.root !== root) return;
    this.#quiet = position.logNumber === before ? this.#quiet + 1 : QUIET_REFRESHES;
    if (!thorough && this.#view.atEnd && this.#quiet < QUIET_REFRESHES) return;
    // Whoever still reads under the last lease but one holds it: no third one then.
    if (this.#leaving.size > 0) {
      // All that was written is there, as the log has it; a restore is not.
      if (!thorough || !(await this.#c.views.isRestored(root))) return;
      throw new StorageError('unavailable', 'readers of an earlier view are not through yet');
    }
    if (await isOutdated(this.#c, root)) await this.#move();
    this.#quiet = 0;
  }

  /** As `ViewReader.advance`; moves on when what it reads has fallen to the writer meanwhile. */
  async #advance(): Promise<void> {
    try {
      await this.#c.views.advance(this.#view);
    } catch (error) {
      const { root } = this.#view;
      if (!isStorageError(error, 'corrupt') || !(await isOutdated(this.#c, root))) throw error;
      await this.#move();
    }
  }

  /** To the newest root. */
  async #move(): Promise<void> {
    const { tree } = this.#c;
    const old = this.#view;
    const next = await takeView(this.#c, this.#settings, old, undefined, async () => {});
    const isRestored = next.root.manifest.restores !== old.root.manifest.restores;
    const reached = old.position.nextSegment;
    if (!isRestored && next.position.nextSegment < reached) {
      await next.root.lease.release();
      throw new StorageError('unavailable', `the log was read to segment ${reached} before`);
    }
    this.#view = next;
    if (next.memtable === old.memtable) tree.installCompacted(next.runs);
    else {
      // From where the new runs end, the fresh memtable says all that the old one did.
      const continues = !isRestored && reached >= next.root.manifest.nextSegment;
      tree.rebase(next.memtable, next.runs, continues);
      if (!continues) this.#c.views.metasChanged = true;
    }
    this.#c.log.debug('follow.moved', { manifest: next.root.number, log: next.position.logNumber });
    const leaving = this.#leave(old, next);
    this.#leaving.add(leaving);
    void leaving.finally(() => this.#leaving.delete(leaving));
  }

  async #leave(old: View, next: View): Promise<void> {
    const { grace, tables } = this.#c;
    await grace.quiesced();
    const kept = new Set(next.runs);
    tables.forget(old.runs.filter((run) => !kept.has(run)));
    await old.root.lease.release();
  }
}

/** No later refresh can mend it. */
function isFatal(error: unknown): boolean {
  if (!isStorageError(error)) return true;
  return error.kind === 'corrupt' || error.kind === 'notFound';
}
