// The journals of a branch on this machine: what an earlier process left there is taken up, and a
// fresh one is made (RFC 0004).
//
//   before the claim   look at what is there: may this process write the branch?
//   behind recovery    records past the bucket's position are applied, one by one
//   then               the store has everything: a fresh journal is named, the old files go

import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Rng } from '../../base/rng.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { Sealer } from '../../codec/sealer.ts';
import { decodeChange } from '../format/journal-change.ts';
import type { FileWriter } from '../file-writer.ts';
import { Spool } from '../log/spool.ts';
import type { JournalName, Manifest } from '../manifest/manifest.ts';
import type { JournalOptions } from '../settings.ts';
import { admitAbandoned, admitHolding } from './admit.ts';
import { Journal } from './journal.ts';
import type { JournalDisk } from './journal-disk.ts';
import { encodePosition, JOURNAL_META, sequenceIn } from './journal-position.ts';
import { putStoredMark } from './stored-mark.ts';
import { findJournals, type FoundJournal, removeSlots } from './read-journal.ts';

/**
 * The record that a journal begins with: it changes nothing, so that its slot may be gone before
 * the bucket knows of the journal.
 */
const FIRST_SEQUENCE = 1;

export interface LocalJournalComponents {
  readonly disk: JournalDisk;
  readonly sealer: Sealer;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export class LocalJournal {
  readonly options: JournalOptions;
  readonly spool: Spool | undefined;
  readonly #c: LocalJournalComponents;
  readonly #branch: string;
  readonly #directory: string;
  #found: readonly FoundJournal[] = [];
  /** Found ones whose files stay. */
  #kept: readonly FoundJournal[] = [];
  /** The one that was taken up. */
  #taken: FoundJournal | undefined;
  #mark: string | undefined;

  constructor(components: LocalJournalComponents, branch: string, options: JournalOptions) {
    this.#c = components;
    this.#branch = branch;
    this.options = options;
    this.#directory = `${options.directory}/${branch}`;
    const { disk, log } = components;
    const spool = { directory: this.#directory, bytesMax: options.bytesMax };
    if (options.used) this.spool = new Spool(disk, log, spool);
  }

  /** What recovery shall ask before it claims an epoch. */
  async look(): Promise<(manifest: Manifest) => JournalName | undefined> {
    this.#found = await findJournals(this.#c, this.#directory, this.#branch);
    const summaries = [];
    for (const journal of this.#found) summaries.push(await journal.summary());
    if (!this.options.abandon) return admitHolding(summaries);
    // What is gone on without is not thrown away: `varve journal` shows, saves or discards it.
    const unsaved = summaries.filter((one) => one.lastSequence > one.stored).map(({ id }) => id);
    this.#kept = this.#found.filter(({ id }) => unsaved.includes(id));
    return admitAbandoned;
  }

  /**
   * Applies what the journal that `name` names holds behind the state. Returns the count of
   * records. `corrupt` for a damaged one.
   */
  async takeUp(
    name: JournalName | undefined,
    meta: (name: string) => Promise<Uint8Array | undefined>,
    files: FileWriter,
  ): Promise<number> {
    const mine = this.#found.find((one) => one.id === name?.id);
    if (mine === undefined || this.options.abandon) return 0;
    this.#taken = mine;
    const after = Math.max(FIRST_SEQUENCE, sequenceIn(await meta(JOURNAL_META), mine.id));
    let applied = 0;
    for await (const { sequence, plain } of mine.records(after)) {
      const change = decodeChange(plain, `record ${sequence} of the journal`);
      await files.apply(change, encodePosition({ journal: mine.id, sequence }));
      applied += 1;
    }
    this.#c.log.info('journal.replayed', { journal: mine.id, after, records: applied });
    return applied;
  }

  /**
   * The store has all that the one says that was taken up: noted there before a manifest names
   * another, since a crash may leave both. A full disk does not keep the branch from being opened:
   * then it is for people to see that nothing is missing.
   */
  async markTaken(): Promise<void> {
    const taken = this.#taken;
    if (taken === undefined) return;
    const { lastSequence } = await taken.summary();
    const sequence = lastSequence + 1;
    try {
      this.#mark = await putStoredMark(this.#c, this.#directory, taken.header, sequence);
    } catch (error) {
      this.#c.log.warn('journal.mark.failed', { journal: taken.id, error: messageOf(error) });
    }
  }

  /** A fresh one, with a slot. */
  async create(epoch: number): Promise<Journal> {
    const { options } = this;
    const settings = { directory: this.#directory, bytesMax: options.bytesMax, host: options.host };
    const journal = new Journal(this.#c, settings, { branch: this.#branch, epoch });
    await journal.start();
    return journal;
  }

  /** The bucket has all that earlier journals say: their slots go, but for those of `fresh`. */
  async removeFound(fresh: Journal | undefined): Promise<void> {
    const kept = new Set(this.#kept.flatMap((journal) => journal.names));
    // The newest slot, which says that the store has everything, goes when the others are gone.
    const newest = new Set([this.#mark, ...this.#found.map(({ names }) => names.at(-1))]);
    for (const goes of [(name: string) => !newest.has(name), () => true]) {
      await removeSlots(this.#c.disk, this.#directory, (name) => {
        return goes(name) && !kept.has(name) && fresh?.owns(name) !== true;
      });
    }
  }
}
