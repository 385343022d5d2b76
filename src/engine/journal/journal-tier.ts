// What the log uses as its journal: which barriers go there, and what happens when it fails.
//
//   ok ──a write or fdatasync fails──► failed ──the store has everything──► fresh slots: ok
//
// While it has failed barriers wait for the store, or are refused, as the settings say. A barrier
// also waits for the store when the bucket trails by more than it may.

import type { Clock } from '../../base/clock.ts';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { CommitLog } from '../log/commit-log.ts';
import type { LogJournal, LogLag } from '../log/log-journal.ts';
import type { Segment } from '../log/segment.ts';
import type { JournalName } from '../manifest/manifest.ts';
import type { Journal } from './journal.ts';
import { encodePosition, JOURNAL_META } from './journal-position.ts';
import { Journaler } from './journaler.ts';

export interface JournalTierSettings {
  /** The oldest change that the bucket lacks may be so old, before barriers wait for the store. */
  readonly secondsMax: number;
  /** What a barrier does while the journal's disk fails: wait for the store, or fail. */
  readonly onFailure: 'store' | 'fail';
}

export interface JournalTierComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly commitLog: CommitLog;
}

/** Between two tries to begin a failed journal afresh. */
const RESTART_DELAY_MS = 5000;

export interface JournalStatus {
  readonly id: string;
  readonly bytes: number;
  readonly records: number;
  readonly syncs: number;
  /** The newest record that is durable here, and the newest that the bucket includes. */
  readonly sequence: number;
  readonly stored: number;
  readonly failure: string | undefined;
  /** Barriers that waited for the store although there is a journal. */
  readonly overflows: number;
}

export class JournalTier implements LogJournal {
  readonly #c: JournalTierComponents;
  readonly #settings: JournalTierSettings;
  #journaler: Journaler;
  #preparing: Promise<void> | undefined;
  #preparedMs = -Infinity;
  #stopped = false;
  #overflows = 0;

  constructor(components: JournalTierComponents, settings: JournalTierSettings, journal: Journal) {
    this.#c = components;
    this.#settings = settings;
    this.#journaler = this.#createJournaler(journal, 0);
  }

  #createJournaler(journal: Journal, sequence: number): Journaler {
    const { commitLog, log } = this.#c;
    return new Journaler(journal, sequence, {
      open: () => commitLog.open,
      taken: (segment) => commitLog.uploads.taken(segment),
      onFailed: (error) => {
        const { onFailure } = this.#settings;
        log.error('journal.stopped', { error: error.message, barriers: onFailure });
      },
    });
  }

  /** To be awaited before a manifest names it: whoever opens the branch must find it. */
  begin(): Promise<void> {
    return this.#journaler.markStored();
  }

  get name(): JournalName {
    return nameOf(this.#journaler.journal);
  }

  takesBarriers({ sinceMs }: LogLag): boolean {
    const { journal } = this.#journaler;
    if (journal.failure !== undefined) return this.#settings.onFailure === 'fail';
    const ageMs = sinceMs === undefined ? 0 : this.#c.clock.monotonicMs() - sinceMs;
    const trails = journal.full || ageMs > this.#settings.secondsMax * 1000;
    if (trails) this.#overflows += 1;
    return !trails;
  }

  barrier(): void | Promise<void> {
    const { journal } = this.#journaler;
    if (journal.failure === undefined) return this.#journaler.barrier();
    const { kind, message } = journal.failure;
    const why = `the journal has failed, and barriers shall not wait for the store: ${message}`;
    return Promise.reject(new StorageError(kind, why, { cause: journal.failure }));
  }

  changed(): void {
    const { journal } = this.#journaler;
    if (journal.failure === undefined && !journal.full) this.#journaler.changed();
  }

  closing(segment: Segment): number {
    const { journal } = this.#journaler;
    const failed = journal.failure !== undefined;
    const sequence = failed ? this.#journaler.assigned : this.#journaler.closing(segment);
    segment.putOwnMeta(JOURNAL_META, encodePosition({ journal: journal.id, sequence }));
    return sequence;
  }

  onStored(sequence: number): void {
    const { journal } = this.#journaler;
    journal.release(sequence);
    if (journal.failure === undefined || this.#stopped) return;
    // The store has every record that was ever given a sequence, whatever the old slots hold of
    // them, and nothing that is closed waits for it: what is open is all that fresh slots must say.
    const { assigned } = this.#journaler;
    const { waiting } = this.#c.commitLog.uploads;
    const isAllStored = sequence === assigned && waiting.length === 0;
    if (journal.restartable && isAllStored) this.#restart();
    else if (!journal.restartable) this.#prepareSoon();
  }

  #restart(): void {
    const { commitLog, log } = this.#c;
    const { journal, assigned } = this.#journaler;
    commitLog.open?.resetDelta();
    journal.restart();
    this.#journaler = this.#createJournaler(journal, assigned);
    this.#journaler.beginWithMark(() => journal.dropStale());
    log.info('journal.restarted', { journal: journal.id });
  }

  #prepareSoon(): void {
    const now = this.#c.clock.monotonicMs();
    if (this.#preparing !== undefined || now - this.#preparedMs < RESTART_DELAY_MS) return;
    this.#preparedMs = now;
    const { journal } = this.#journaler;
    this.#preparing = journal
      .prepareRestart()
      .catch((error: unknown) => {
        this.#c.log.warn('journal.restart.failed', { error: messageOf(error) });
      })
      .finally(() => {
        this.#preparing = undefined;
      });
  }

  /**
   * Goes on in another journal. The store has everything, and nobody may change anything until it
   * resolves; `publish` names the fresh one in the manifest.
   */
  async renew(fresh: Journal, publish: (name: JournalName) => Promise<void>): Promise<void> {
    await this.#preparing;
    const old = this.#journaler;
    const next = this.#createJournaler(fresh, 0);
    await next.markStored();
    // Whoever finds the old one beside a manifest that names the fresh one must see that nothing of
    // it is missing from the store.
    if (old.journal.failure === undefined) await old.markStored();
    await publish(nameOf(fresh));
    this.#journaler = next;
    this.#c.commitLog.uploads.forgetSequence();
    await old.settled();
    await old.journal.close(true);
  }

  /** The store has everything: said in the journal before the manifest stops naming it. */
  async markStored(): Promise<void> {
    const { journal } = this.#journaler;
    if (journal.failure !== undefined) return;
    // A failure is logged, and leaves it to people to see that nothing is missing.
    await this.#journaler.markStored().catch(() => {});
  }

  stop(error: StorageError): void {
    if (this.#stopped) return;
    this.#stopped = true;
    const { journal, durable } = this.#journaler;
    // Deposed: what was acknowledged from here and is not in the store is not in the branch.
    if (error.kind === 'fenced' && durable > journal.stored) {
      const hint = 'save them with "varve journal export"';
      const fields = { journal: journal.id, from: journal.stored + 1, to: durable, hint };
      this.#c.log.error('journal.left.behind', fields);
    }
    this.#journaler.stop(error);
  }

  /** With `remove`, its files go: the bucket holds everything. */
  async close(remove: boolean): Promise<void> {
    this.stop(new StorageError('aborted', 'the engine has stopped'));
    await this.#preparing;
    await this.#journaler.settled();
    await this.#journaler.journal.close(remove);
  }

  status(): JournalStatus {
    const { journal, durable } = this.#journaler;
    const { failure, counters } = journal;
    return {
      id: journal.id,
      bytes: journal.usedBytes,
      records: counters.records,
      syncs: counters.syncs,
      sequence: durable,
      stored: journal.stored,
      failure: failure?.message,
      overflows: this.#overflows,
    };
  }
}

function nameOf({ id, host, createdUnixMs }: Journal): JournalName {
  return { id, host, sinceUnixMs: createdUnixMs };
}
