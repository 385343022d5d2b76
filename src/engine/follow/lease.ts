// The reader's side of a lease (RFC 0003): while it is held, the branch's writer deletes nothing
// that the leased manifest reaches, and no log object from where that manifest says.
//
//   take     PUT branches/<id>/readers/<random id>/1
//   renew    every RENEW_MS: PUT n + 1, then delete n, so that at any moment one of them is there
//   release  delete
//
// A writer voids what it has seen unchanged for LEASE_MS of its clock, and it cannot have seen an
// object before that was sent. We call a lease lost half that time after the last renewal that
// succeeded was sent, by our own clock: however long a request was under way, we stop first, unless
// one of the clocks runs twice as fast as the other. Renewing ends when the lease is lost.

import type { Clock } from '../../base/clock.ts';
import { messageOf, StorageError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Rng } from '../../base/rng.ts';
import type { Keyring } from '../../codec/keyring.ts';
import type { ObjectStore } from '../../objectstore/object-store.ts';
import { LEASE_MS, sealLease } from '../format/lease.ts';
import { leaseName } from '../format/names.ts';

const RENEW_MS = LEASE_MS / 6;
/** After a renewal that failed; bounds the objects that failed ones may have left, too. */
const RETRY_MS = LEASE_MS / 24;
const LOST_MS = LEASE_MS / 2;
const READER_ID_BYTES = 8;

export interface LeaseComponents {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export interface LeaseOptions {
  /** Branch id. */
  readonly branch: string;
  /** Number of the manifest that is read. */
  readonly manifest: number;
  /** For people: what holds the lease. */
  readonly holder: string;
  /** The log behind the manifest is read too. */
  readonly log: boolean;
}

export class Lease {
  readonly #c: LeaseComponents;
  readonly #options: LeaseOptions;
  readonly #reader: string;
  readonly #stop = new AbortController();
  #next = 1;
  /** Numbers that may lie in the store. */
  #present: number[] = [];
  /** When the last renewal that succeeded was sent. */
  #renewedMs = 0;
  #renewing: Promise<void> | undefined;
  #cancel: () => void = () => {};

  private constructor(components: LeaseComponents, options: LeaseOptions) {
    this.#c = components;
    this.#options = options;
    this.#reader = Buffer.from(components.rng.bytes(READER_ID_BYTES)).toString('hex');
    this.#renewedMs = components.clock.monotonicMs();
  }

  /**
   * Resolves when the lease is durable. It protects nothing until the caller has found, after that,
   * that the manifest is still a root: see held-root.ts.
   */
  static async take(components: LeaseComponents, options: LeaseOptions): Promise<Lease> {
    const lease = new Lease(components, options);
    try {
      await lease.#put();
    } catch (error) {
      await lease.release();
      throw error;
    }
    lease.#later(RENEW_MS);
    return lease;
  }

  /** The writer may delete what was leased at any time now, or has. */
  get lost(): boolean {
    return this.ageMs > LOST_MS;
  }

  /** Since the last renewal that succeeded was sent. */
  get ageMs(): number {
    return this.#c.clock.monotonicMs() - this.#renewedMs;
  }

  /** Never rejects: what cannot be deleted becomes void by itself. */
  async release(): Promise<void> {
    this.#cancel();
    this.#stop.abort(new StorageError('aborted', 'the lease is given back'));
    await this.#renewing;
    await this.#deleteAll(this.#present);
  }

  #later(delayMs: number): void {
    if (this.#stop.signal.aborted || this.lost) return;
    this.#cancel = this.#c.clock.after(delayMs, () => {
      this.#renewing = this.#renew().finally(() => {
        this.#renewing = undefined;
      });
    });
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    try {
      await this.#put();
      this.#later(RENEW_MS);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const fields = { error: messageOf(error), retryMs: RETRY_MS };
      this.#c.log.warn('lease.renewal.failed', fields);
      this.#later(RETRY_MS);
      return;
    }
    await this.#deleteAll(this.#present.slice(0, -1));
  }

  /** A number is used once: what became of a put that failed is not known. */
  async #put(): Promise<void> {
    const { store, keyring, rng, clock } = this.#c;
    const sentMs = clock.monotonicMs();
    const number = this.#next;
    this.#next += 1;
    this.#present.push(number);
    const name = this.#nameOf(number);
    const { signal } = this.#stop;
    await store.putIfAbsent(name, [sealLease(keyring, rng, name, this.#options)], {
      cause: 'open',
      signal,
    });
    this.#renewedMs = sentMs;
  }

  async #deleteAll(numbers: readonly number[]): Promise<void> {
    try {
      for (const number of numbers) {
        await this.#c.store.delete(this.#nameOf(number), { cause: 'open' });
        this.#present = this.#present.filter((one) => one !== number);
      }
    } catch (error) {
      this.#c.log.warn('lease.delete.failed', { error: messageOf(error) });
    }
  }

  #nameOf(number: number): string {
    return leaseName(this.#options.branch, this.#reader, number);
  }
}

/** What is told to whoever wants to read under a lost lease. */
export function leaseLostError(cause?: unknown): StorageError {
  return new StorageError(
    'unavailable',
    'the lease ran out; reading goes on as soon as the store grants another',
    { cause },
  );
}
